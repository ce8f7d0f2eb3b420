"""Which configuration of a sweep is the best: the one rule, for pilots, opening, report and search.

A configuration (scheduler × peak lr) is worth the mean over its seeds of the validation metric at
the best validation point. A diverged run may have been good just before it broke, but nobody can
rely on it: it counts as the worst validation metric any of the runs logged, about chance level, so
a configuration that diverges on one seed in five loses to one that never does. Ties go to the
smaller peak lr. The test metric plays no part. What a race dropped after its first seed comes after
all that went on, however easy that seed was, unless it was better there than the best of those.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.evaluation.errors import EvaluationError
from components.evaluation.statistics import Summary, summarize
from components.training.history import History


@dataclass(frozen=True)
class Configuration:
    """One scheduler × peak lr, judged by validation alone.

    Attributes:
        peak_lr: None for a scheduler that has none.
        validation: mean ± std over seeds of what each run is worth.
        diverged: how many of the seeds diverged.
        dropped: it has fewer than half of the runs that others have, as a race went on without it,
            and was no better on them than the best of those others on the same seeds.
    """

    scheduler: str
    peak_lr: float | None
    validation: Summary
    diverged: int
    dropped: bool = False


def best_validation(history: History) -> float:
    """The validation metric at a run's best point; from the points, not the metadata: what the file
    shows is what is compared."""
    return float(history.points["val_metric"].max())


def worst_validation(histories: Iterable[History]) -> float | None:
    """The worst finite validation metric that any of the runs logged; None if none logged one."""
    logged = [float(h.points["val_metric"].min()) for h in histories if len(h.points)]
    return min((value for value in logged if math.isfinite(value)), default=None)


def worth(runs: Iterable[History], worst: float | None) -> Summary:
    """Mean ± std over runs of one configuration; `worst`: what a diverged run counts as."""

    def of(history: History) -> float | None:
        value = best_validation(history) if history.completed else math.nan
        return value if math.isfinite(value) else worst

    return summarize(of(history) for history in runs)


def configurations(sweep: Sequence[History]) -> list[Configuration]:
    """Every configuration of a sweep, by scheduler and peak lr.

    Raises:
        EvaluationError: no run has logged a validation metric.
    """
    worst = worst_validation(sweep)
    if worst is None:
        raise EvaluationError(
            f"none of the {len(sweep)} sweep runs has logged a validation metric: all diverged "
            "before their first log point; lower sweep.peak_lrs and run `lode sweep`"
        )
    runs: dict[tuple[str, float | None], list[History]] = defaultdict(list)
    for history in sweep:
        runs[history.configuration].append(history)
    most = max(map(len, runs.values()))
    full = [group for group in runs.values() if 2 * len(group) >= most]
    best = max(full, key=lambda group: _mean(group, worst))
    return [
        Configuration(
            scheduler,
            peak_lr,
            worth(group, worst),
            sum(not h.completed for h in group),
            dropped=2 * len(group) < most and not _beats(group, best, worst),
        )
        for (scheduler, peak_lr), group in sorted(runs.items(), key=lambda item: _order(item[0]))
    ]


def _beats(few: list[History], best: list[History], worst: float) -> bool:
    """On the seeds of `few`; a run on a seed of its own is compared with all."""
    seeds = {run.meta["seed"] for run in few}
    same = [run for run in best if run.meta["seed"] in seeds]
    return _mean(few, worst) > _mean(same or best, worst)


def _mean(runs: list[History], worst: float) -> float:
    found = worth(runs, worst).mean
    assert found is not None, "a run without a value counts as the worst"
    return found


def best_configuration(sweep: Sequence[History]) -> Configuration:
    """The best configuration of the whole sweep; equals go to the first scheduler by name.

    Raises:
        EvaluationError: no run, or none has logged a validation metric.
    """
    if not sweep:
        raise EvaluationError("the sweep has no run; run `lode sweep` first")
    return min(_best(sweep).values(), key=_rank)


def ranked_peaks(sweep: Sequence[History]) -> list[tuple[str, float]]:
    """(scheduler, peak lr) of each scheduler's best configuration, best scheduler first.

    Schedulers without a peak are left out. Errors as of `best_configuration`.
    """
    best_configuration(sweep)
    ranked = sorted(_best(sweep).values(), key=_rank)
    return [(best.scheduler, best.peak_lr) for best in ranked if best.peak_lr is not None]


def best_configurations(sweep: Sequence[History]) -> dict[str, float]:
    """The peak lr of each scheduler's best configuration; schedulers in alphabetical order.

    A scheduler all of whose runs diverged still gets its (smallest) peak lr, so that the comparison
    shows it rather than hides it. Errors as of `best_configuration`.
    """
    return dict(sorted(ranked_peaks(sweep)))


def _best(sweep: Sequence[History]) -> dict[str, Configuration]:
    best: dict[str, Configuration] = {}
    for configuration in configurations(sweep):  # by peak lr: a tie keeps the smaller one
        name = configuration.scheduler
        if name not in best or standing(configuration) > standing(best[name]):
            best[name] = configuration
    return best


def merit(configuration: Configuration) -> float:
    """Its mean validation metric; −∞ where none is known."""
    mean = configuration.validation.mean
    return -math.inf if mean is None else mean


def standing(configuration: Configuration) -> tuple[bool, float]:
    """What configurations are ordered by, the best being the largest."""
    return not configuration.dropped, merit(configuration)


def _rank(configuration: Configuration) -> tuple[bool, float, str]:
    return configuration.dropped, -merit(configuration), configuration.scheduler


def _order(configuration: tuple[str, float | None]) -> tuple[str, float]:
    scheduler, peak_lr = configuration
    return scheduler, -math.inf if peak_lr is None else float(peak_lr)
