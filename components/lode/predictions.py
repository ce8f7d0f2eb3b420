"""What the LODE predicts of a run it was not fitted on, beside what happened (paper, Figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.ranking import best_configuration
from components.evaluation.trajectories import Trajectories
from components.lode.fit_data import held_out_runs
from components.lode.model import LODE
from components.lode.names import WEIGHTS
from components.lode.table_a1 import OBSERVED, window_points
from components.training.history import History


def predict_held_out(lode_dir: Path, sweep: Sequence[History]) -> Trajectories | None:
    """Predictions for a run of the sweep's best configuration, held out of the fit if any is.

    Args:
        lode_dir: the fitted LODE. sweep: the sweep's histories.

    Returns:
        None if the folder has no weights, or the best configuration no completed run.

    Raises:
        LODEError: weights and config.json are not of one fit.
    """
    best = best_configuration(sweep)
    wanted = (best.scheduler, best.peak_lr)
    runs = sorted(
        (h for h in sweep if h.completed and h.configuration == wanted),
        key=lambda h: h.meta["seed"],
    )
    if not runs or not (Path(lode_dir) / WEIGHTS).exists():
        return None
    lode = LODE.load(lode_dir)
    held_out = _held_out(lode.config.fit, sweep)
    run = next((h for h in runs if h.run_id in held_out), runs[-1])
    points, series = int(run.meta["points"]), run.series()[None]
    times = np.arange(1, points + 1) / points
    predicted = {}
    for share in OBSERVED:
        seen = window_points(share, points)
        predicted[round(100 * share)] = seen, lode.predict(times[:seen], series[:, :seen], times)[0]
    return Trajectories(run, predicted, run.run_id in held_out)


def _held_out(fit: Mapping[str, Any] | None, sweep: Sequence[History]) -> set[str]:
    """Ids of the runs the fit kept for judging itself.

    Args:
        fit: the summary of the fit in the LODE's config.
    """
    count = int(((fit or {}).get("settings") or {}).get("held_out_seeds") or 0)
    return held_out_runs(sweep, count)
