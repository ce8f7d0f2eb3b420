"""Which configuration of each scheduler to compare, chosen on validation, and its test results."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.evaluation.statistics import Summary, summarize
from components.evaluation.walltime import seconds_per_epoch
from components.training.history import History

LODE = "lode"


class EvaluationError(ValueError):
    """The comparison cannot be made; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Configuration:
    """One scheduler × peak lr of the sweep, judged by validation alone.

    Attributes:
        validation: mean ± std over seeds of the validation metric at the best validation point,
            where a diverged run counts as the worst value any run of the sweep ever logged.
        diverged: how many of the seeds diverged.
    """

    scheduler: str
    peak_lr: float
    validation: Summary
    diverged: int


def configurations(sweep: Sequence[History]) -> list[Configuration]:
    """Every configuration of a sweep, by scheduler and peak lr.

    A diverged run may have been good just before it broke, but nobody can rely on it: it counts
    as the worst validation metric in the sweep, about chance level, so a configuration that
    diverges on one seed in five loses to one that never does.

    Raises:
        EvaluationError: no run has logged a validation metric.
    """
    worst = _worst_validation(sweep)
    runs: dict[tuple[str, float], list[History]] = defaultdict(list)
    for history in sweep:
        scheduler, peak_lr = history.configuration
        if peak_lr is not None:
            runs[scheduler, float(peak_lr)].append(history)
    found = []
    for scheduler, peak_lr in sorted(runs):
        group = runs[scheduler, peak_lr]
        score = summarize(_reliable_validation(h, worst) for h in group)
        diverged = sum(not h.completed for h in group)
        found.append(Configuration(scheduler, peak_lr, score, diverged))
    return found


def best_configurations(sweep_histories: Sequence[History]) -> dict[str, float]:
    """The peak lr of each baseline scheduler with the best mean validation metric over seeds.

    The test metric plays no part. Ties go to the smaller peak lr. Schedulers are in alphabetical
    order. A scheduler all of whose runs diverged still gets its (smallest) peak lr, so that the
    comparison shows it rather than hides it.

    Raises:
        EvaluationError: no run has logged a validation metric.
    """
    return {name: best.peak_lr for name, best in _best(sweep_histories).items()}


def best_baseline(sweep_histories: Sequence[History]) -> tuple[str, float]:
    """(scheduler, peak lr) of the best configuration of the whole sweep, by the same rule."""
    return ranked_baselines(sweep_histories)[0]


def ranked_baselines(sweep_histories: Sequence[History]) -> list[tuple[str, float]]:
    """(scheduler, peak lr) of every scheduler's best configuration, best scheduler first."""
    best = _best(sweep_histories)
    if not best:
        raise EvaluationError("the sweep has no baseline run; run `lode sweep` first")
    names = sorted(best, key=lambda scheduler: (-_score(best[scheduler]), scheduler))
    return [(name, best[name].peak_lr) for name in names]


def best_run(sweep_histories: Iterable[History]) -> History:
    """The completed run with the highest validation metric at its best point; ties by run id."""
    completed = [h for h in sweep_histories if h.completed]
    if not completed:
        raise EvaluationError("no run of the sweep is completed; look at `lode sweep`'s output")
    return min(completed, key=lambda h: (-_best_validation(h), h.run_id))


@dataclass(frozen=True)
class SchedulerResult:
    """What the evaluation found for one scheduler.

    Attributes:
        peak_lr: of its chosen configuration; None where there is none to choose (LODE, PBT).
        test_by_seed: test metric at the best validation point; None where the run diverged.
        test, validation: mean ± std over the completed runs, at the best validation point.
        final_validation: the validation metric of the same runs at their last point.
        sharpness: λ_max at the end of the completed runs, `sharpness_residual` the largest
            residual of the eigenpairs.
        seconds_per_epoch: over the completed runs.
        diverged: number of runs without a result.
    """

    scheduler: str
    peak_lr: float | None
    test_by_seed: dict[int, float | None]
    test: Summary
    validation: Summary
    final_validation: Summary
    sharpness: Summary
    sharpness_residual: float | None
    seconds_per_epoch: Summary
    diverged: int


def results(runs: Sequence[History]) -> dict[str, SchedulerResult]:
    """Results by scheduler, LODE last, of runs with one configuration per scheduler."""
    groups: dict[str, list[History]] = defaultdict(list)
    for history in runs:
        groups[history.meta["scheduler"]].append(history)
    names = sorted(groups, key=lambda name: (name == LODE, name))
    return {name: _result(name, groups[name]) for name in names}


def _result(name: str, runs: list[History]) -> SchedulerResult:
    runs = sorted(runs, key=lambda h: h.meta["seed"])
    completed = [h for h in runs if h.completed]
    by_seed = {h.meta["seed"]: h.meta.get("test_metric") if h.completed else None for h in runs}
    sharpness = [found for h in completed if (found := h.meta.get("sharpness"))]
    residuals = [s["residual"] for s in sharpness if s.get("residual") is not None]
    return SchedulerResult(
        scheduler=name,
        peak_lr=runs[0].meta["peak_lr"],
        test_by_seed=by_seed,
        test=summarize(by_seed.values()),
        validation=summarize(_best_validation(h) for h in completed),
        final_validation=summarize(float(h.points["val_metric"].iloc[-1]) for h in completed),
        sharpness=summarize(s["lambda_max"] for s in sharpness),
        sharpness_residual=max(residuals, default=None),
        seconds_per_epoch=seconds_per_epoch(runs),
        diverged=len(runs) - len(completed),
    )


def _best(sweep: Sequence[History]) -> dict[str, Configuration]:
    best: dict[str, Configuration] = {}
    for configuration in configurations(sweep):  # by peak lr: a tie keeps the smaller one
        name = configuration.scheduler
        if name not in best or _score(configuration) > _score(best[name]):
            best[name] = configuration
    return best


def _score(configuration: Configuration) -> float:
    mean = configuration.validation.mean
    return -math.inf if mean is None else mean


def _best_validation(history: History) -> float:
    """From the points, not the metadata: what the file shows is what is compared."""
    return float(history.points["val_metric"].max())


def _reliable_validation(history: History, worst: float) -> float:
    value = _best_validation(history) if history.completed else worst
    return value if math.isfinite(value) else worst


def _worst_validation(sweep: Sequence[History]) -> float:
    logged = [float(h.points["val_metric"].min()) for h in sweep if len(h.points)]
    finite = [value for value in logged if math.isfinite(value)]
    if not finite:
        raise EvaluationError(
            f"none of the {len(sweep)} sweep runs has logged a validation metric; "
            "delete their histories and run `lode sweep` again"
        )
    return min(finite)
