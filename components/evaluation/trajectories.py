"""What a LODE makes of runs: of one what it predicts (paper, Figure 2), of some where it finds them
to be (Figure A1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluation.latent_space import LatentSpace
from components.training.history import History


@dataclass(frozen=True)
class Trajectories:
    """One run and its predictions.

    Attributes:
        history: the run.
        predicted: by share observed (%): number of observed points and array (T, 3) of train
            loss, validation metric and learning rate.
        held_out: the LODE was not fitted on the run.
        latents: states of several runs, the LODE's own among them; None: not drawn.
    """

    history: History
    predicted: dict[int, tuple[int, np.ndarray]]
    held_out: bool
    latents: LatentSpace | None = None

    def describe(self) -> dict[str, Any]:
        """For evaluation.json: which run is drawn."""
        return {
            "run_id": self.history.run_id,
            **{key: self.history.meta[key] for key in ("scheduler", "peak_lr", "seed")},
            "held_out": self.held_out,
            "observed_points": {str(share): n for share, (n, _) in self.predicted.items()},
        }
