"""What the LODE predicts of a run it was not fitted on (paper, Figure 2), and its states of some
(Figure A1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.ranking import best_configuration, best_configurations
from components.evaluation.trajectories import Trajectories
from components.lode.fit_data import held_out_runs
from components.lode.latents import latent_space
from components.lode.model import LODE
from components.lode.names import WEIGHTS
from components.lode.settings import window_points
from components.lode.table_a1 import OBSERVED
from components.schedulers.names import LODE as LODE_SCHEDULER
from components.training.history import History

OF_EACH = 5  # runs of a kind in the figure of the latent space: the paper's has 20 in all


def predict_held_out(
    lode_dir: Path, sweep: Sequence[History], runs: Sequence[History] = ()
) -> Trajectories | None:
    """Predictions for a run of the sweep's best configuration, held out of the fit if any is, and
    the latent states of runs of each kind.

    Args:
        lode_dir: the fitted LODE. sweep: the sweep's histories. runs: on fresh seeds; of them the
            LODE's are shown beside the sweep's.

    Returns:
        None if the folder has no weights, or the best configuration no completed run.

    Raises:
        LODEError: weights and config.json are not of one fit.
    """
    best = best_configuration(sweep)
    wanted = (best.scheduler, best.peak_lr)
    own = _completed(sweep, wanted)
    if not own or not (Path(lode_dir) / WEIGHTS).exists():
        return None
    lode = LODE.load(lode_dir)
    held_out = _held_out(lode.config.fit, sweep)
    run = next((h for h in own if h.run_id in held_out), own[-1])
    points, series = int(run.meta["points"]), run.series()[None]
    times = np.arange(1, points + 1) / points
    predicted = {}
    for share in OBSERVED:
        seen = window_points(share, points)
        predicted[round(100 * share)] = seen, lode.predict(times[:seen], series[:, :seen], times)[0]
    states = latent_space(lode, of_each_kind(sweep, runs))
    return Trajectories(run, predicted, run.run_id in held_out, states)


def of_each_kind(sweep: Sequence[History], runs: Sequence[History]) -> list[History]:
    """Up to `OF_EACH` runs of every scheduler's best configuration in the sweep, and of LODE's."""
    best = best_configurations(sweep)
    kinds = [_completed(sweep, (name, peak)) for name, peak in best.items()]
    kinds.append(_completed(runs, (LODE_SCHEDULER, None)))
    return [run for kind in kinds for run in kind[:OF_EACH]]


def _completed(runs: Sequence[History], configuration: tuple[str, float | None]) -> list[History]:
    """A configuration's completed runs, by seed; those with values that are not finite are none
    that a LODE can read."""
    found = [h for h in runs if h.completed and h.configuration == configuration]
    readable = [h for h in found if np.isfinite(h.series()).all()]
    return sorted(readable, key=lambda h: int(h.meta["seed"]))


def _held_out(fit: Mapping[str, Any] | None, sweep: Sequence[History]) -> set[str]:
    """Ids of the runs the fit kept for judging itself.

    Args:
        fit: the summary of the fit in the LODE's config.
    """
    count = int(((fit or {}).get("settings") or {}).get("held_out_seeds") or 0)
    return held_out_runs(sweep, count)
