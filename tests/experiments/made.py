"""Made-up evaluations and runs whose arithmetic can be done by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from components.evaluation.ranking import Configuration
from components.evaluation.results import (
    SCHEMA_VERSION,
    BaselinePlan,
    Decisions,
    Evaluation,
    Gain,
    LodeEntry,
    PilotResult,
    Price,
    Provenance,
    SchedulerEntry,
    Setup,
    SweepEntry,
    SweptConfiguration,
)
from components.evaluation.statistics import Summary, compare, summarize
from components.schedulers.names import FINER_SEARCH, LODE
from components.training.history import COMPLETED, History

SEEDS = (100, 101, 102, 103)
GAINED = Gain(0.0072, 0.0022, 20)
PEAKS = {"onecycle": 0.05, "constant": 0.01, "linear": 0.02, "schedule-free": 0.05}


def evaluation(
    tests: Mapping[str, Sequence[float | None]],
    *,
    seeds: Sequence[int] = SEEDS,
    sweep: str = "a",
    finer: tuple[str, float] = ("onecycle", 0.07),
    best: str = "onecycle",
    controller: str = "default",
    sharpness: float | None = 6.48,
) -> Evaluation:
    """Rows with these test metrics by seed; the sweep's best is OneCycle 0.05.

    Args:
        sweep: names the sweep's digest. finer: what a finer search chose.
    """
    entries = {row: _entry(row, values, seeds, finer, sharpness) for row, values in tests.items()}
    swept = [row for row in tests if row in ("onecycle", "constant")]
    return Evaluation(
        schema=SCHEMA_VERSION,
        task="digits-mlp",
        metric="accuracy",
        setup=Setup(300, 100, None, list(seeds)),
        best_baseline=best,
        schedulers=entries,
        comparisons=compare({row: one.test_by_seed for row, one in entries.items()}),
        sweep=SweepEntry(100, 0, [0, 1, 2], 130.4, [_swept(row) for row in swept]),
        lode=LodeEntry("d", {"controller": controller}, Decisions(40, {"no gain": 38}), None),
        validation=None,
        provenance=Provenance("make demo", ["cpu"], [1], {}, sweep, sweep),
        pilots=pilots(),
    )


def pilots(gain: Gain = GAINED, adopted: bool = True) -> PilotResult:
    plan = [0.01, 0.06, 0.0]
    return PilotResult(
        runs=100,
        seconds=113.7,
        baseline=BaselinePlan("onecycle", 0.05, [0.002, 0.05, 0.0]),
        finalist=plan,
        gain=gain,
        adopted=adopted,
        plan=plan if adopted else [],
    )


def _entry(
    row: str,
    values: Sequence[float | None],
    seeds: Sequence[int],
    finer: tuple[str, float],
    sharpness: float | None,
) -> SchedulerEntry:
    scheduler, peak = finer if row == FINER_SEARCH else (row, PEAKS.get(row))
    searched = 200 if row in (FINER_SEARCH, LODE) else 25
    lost = sum(value is None for value in values)
    none = Summary(None, None, 0)
    return SchedulerEntry(
        scheduler=scheduler,
        peak_lr=peak,
        test_by_seed={str(s): v for s, v in zip(seeds, values, strict=True)},
        test=summarize(values),
        validation=summarize(values),
        final_validation=summarize(values),
        sharpness=none if sharpness is None else Summary(sharpness, 1.0, len(values) - lost),
        sharpness_residual=None,
        seconds_per_epoch=Summary(0.2, 0.01, len(values)),
        diverged=lost,
        price=Price(searched, 0.0, 1.0, ""),
    )


def _swept(row: str) -> SweptConfiguration:
    one = Configuration(row, PEAKS[row], Summary(0.9, 0.01, 3), 0)
    return SweptConfiguration(**vars(one), chosen=True)


def run(metric: Sequence[float], *, seed: int, peak: float = 0.05, **meta: object) -> History:
    """A run of OneCycle with this validation metric, whose loss is 1 less it."""
    points = len(metric)
    facts = {
        "run_id": f"{peak:g} {seed}",
        "task": "digits-mlp",
        "scheduler": "onecycle",
        "peak_lr": peak,
        "seed": seed,
        "updates": 10 * points,
        "points": points,
        "status": COMPLETED,
    }
    values = np.asarray(metric, np.float64)
    table = {"train_loss": 1 - values, "val_metric": values, "lr": np.linspace(peak, 0.1, points)}
    return History(pd.DataFrame(table), facts | meta)
