"""What the LODE predicts of a run it was not fitted on, beside what happened (paper, Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.training.history import History

SHARES = (5, 50)  # per cent of the training that the LODE observes


@dataclass(frozen=True)
class Trajectories:
    """One run and its predictions.

    Attributes:
        history: the run.
        predicted: by share observed (%): number of observed points and array (T, 3) of train
            loss, validation metric and learning rate.
        held_out: the LODE was not fitted on the run.
    """

    history: History
    predicted: dict[int, tuple[int, np.ndarray]]
    held_out: bool

    def describe(self) -> dict[str, Any]:
        """For evaluation.json: which run is drawn."""
        return {
            "run_id": self.history.run_id,
            "run": self.history.describe(),
            "held_out": self.held_out,
            "observed_points": {str(share): n for share, (n, _) in self.predicted.items()},
        }


def predict_held_out(
    lode_dir: Path,
    config: Mapping[str, Any],
    sweep: Sequence[History],
    evaluation: Mapping[str, Any],
) -> Trajectories | None:
    return None
