"""What a reader must know before believing the table."""

from __future__ import annotations

from collections.abc import Iterator

from components.evaluation.metric import Metric
from components.evaluation.notation import configuration
from components.evaluation.results import Evaluation, SchedulerEntry
from components.evaluation.shared import finer_search_shares, same_runs
from components.schedulers.names import FINER_SEARCH, LODE, label

# A mean that falls by more than this from best to last point is no noise of the best point.
COLLAPSE = 0.05
COLLAPSE_OF_VALUE = 0.1  # the same for a metric that is no share, relative to its size


def notes(evaluation: Evaluation) -> list[str]:
    """Sentences, empty where nothing is unusual."""
    entries = dict(evaluation.schedulers)
    shared = finer_search_shares(evaluation)
    if shared:
        del entries[FINER_SEARCH]  # what is to be said of its runs is said of the other row
    found = [
        *_kept(entries),
        *_lacking(entries, len(evaluation.setup.seeds)),
        *_diverged(entries),
        *_collapsed(entries, evaluation.shown),
    ]
    if shared:
        entry = evaluation.schedulers[shared]
        found.append(
            "The finer search found nothing better than "
            f"{configuration(entry.scheduler, entry.peak_lr)} of the sweep: the two rows are of "
            "the same runs."
        )
    if evaluation.lode.fit is None:
        found.append("The LODE's config.json has no `fit` summary: its errors are not shown.")
    if len(evaluation.provenance.devices) > 1:
        found.append(
            "The runs come from different hardware, so their seconds per epoch do not compare: "
            + ", ".join(evaluation.provenance.devices)
        )
    if evaluation.trajectories is None:
        found.append(
            "No prediction is drawn: the LODE's weights are missing, or the best baseline's "
            "configuration has no completed run."
        )
    return found


def _kept(entries: dict[str, SchedulerEntry]) -> Iterator[str]:
    """Where LODE changed nothing."""
    for row, entry in entries.items():
        if row == LODE or entry.peak_lr is None or not same_runs(entry, entries[LODE]):
            continue
        name, peak = label(entry.scheduler), f"(peak lr {entry.peak_lr:g})"
        if row == FINER_SEARCH:
            whose, why = f"the finer search's {name} {peak}", ""
        else:
            whose = f"{name}'s {peak}"
            why = "LODE kept the best schedule of its sweep, and "
        yield (
            f"Every LODE run ends as {whose} of that seed: {why}what it is ahead of or behind "
            "others is that schedule's doing."
        )


def _lacking(entries: dict[str, SchedulerEntry], seeds: int) -> Iterator[str]:
    for row, entry in entries.items():
        if (n := len(entry.test_by_seed)) < seeds:
            yield (
                f"{label(row)} was trained on {n} of the {seeds} seeds: its mean is over these, "
                "and its comparisons are over the seeds that both rows have."
            )


def _diverged(entries: dict[str, SchedulerEntry]) -> Iterator[str]:
    for row, entry in entries.items():
        if entry.diverged:
            yield (
                f"{entry.diverged} of {len(entry.test_by_seed)} {label(row)} runs diverged or have "
                "no finite test metric, so its mean is over the others and its comparisons leave "
                "those seeds out."
            )


def _collapsed(entries: dict[str, SchedulerEntry], metric: Metric) -> Iterator[str]:
    for row, entry in entries.items():
        best, last = entry.validation.mean, entry.final_validation.mean
        if best is None or last is None:
            continue
        much = COLLAPSE if metric.percent else COLLAPSE_OF_VALUE * max(abs(best), abs(last))
        if best - last > much:
            low, high = (f"{metric.value(value, 1)}{metric.unit}" for value in (last, best))
            yield (
                f"The {label(row)} runs end at {low} validation {metric.name}, far below the "
                f"{high} of their best points, whose weights the table reports."
            )
