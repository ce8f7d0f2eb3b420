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
            **{key: self.history.meta[key] for key in ("scheduler", "peak_lr", "seed")},
            "held_out": self.held_out,
            "observed_points": {str(share): n for share, (n, _) in self.predicted.items()},
        }


def predict_held_out(
    lode_dir: Path,
    config: Mapping[str, Any],
    sweep: Sequence[History],
    configuration: tuple[str, float],
) -> Trajectories | None:
    """Predictions for one run of the best baseline's configuration, held out of the fit if any is.

    Args:
        lode_dir: the fitted LODE; `config` is its config.json.
        sweep: the sweep's histories.
        configuration: (scheduler, peak lr) of the run to draw.

    Returns:
        None if there are no weights beside config.json, or the configuration has no completed run.

    Raises:
        LODEError: the weights are not those of config.json.
    """
    runs = sorted(
        (h for h in sweep if h.completed and h.configuration == configuration),
        key=lambda h: h.meta["seed"],
    )
    if not runs or not (Path(lode_dir) / "lode.safetensors").exists():
        return None
    from components.lode.model import LODE

    held_out = held_out_seeds(config, sweep)
    run = next((h for h in runs if h.meta["seed"] in held_out), runs[-1])
    lode, points = LODE.load(lode_dir), int(run.meta["points"])
    series = run.points[["train_loss", "val_metric", "lr"]].to_numpy(np.float64, copy=True)[None]
    times = np.arange(1, points + 1) / points
    predicted = {}
    for share in SHARES:
        observed = max(2, round(share * points / 100))
        predicted[share] = (
            observed,
            lode.predict(times[:observed], series[:, :observed], times)[0],
        )
    return Trajectories(run, predicted, run.meta["seed"] in held_out)


def held_out_seeds(config: Mapping[str, Any], sweep: Sequence[History]) -> set[int]:
    """Seeds the fit kept for judging itself: the last ones of the completed runs."""
    settings = (config.get("fit") or {}).get("settings") or {}
    count = int(settings.get("held_out_seeds") or 0)
    seeds = sorted({int(h.meta["seed"]) for h in sweep if h.completed})
    return set(seeds[-count:]) if count else set()
