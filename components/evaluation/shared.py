"""Rows of the comparison that stand for the same runs, to the bit.

A LODE that kept the sweep's best schedule trains as that schedule does; a finer search that found
nothing better has its very runs. Such rows are one line in a figure and one note on the page.
"""

from __future__ import annotations

from components.evaluation.results import Evaluation, SchedulerEntry
from components.schedulers.names import FINER_SEARCH, LODE, label


def together(evaluation: Evaluation) -> dict[str, tuple[str, ...]]:
    """By the first of them, rows of the same runs; most are alone. LODE goes before the others,
    a finer search after."""
    entries = evaluation.schedulers
    order = sorted(entries, key=lambda row: (row != LODE, row == FINER_SEARCH))
    found: dict[str, tuple[str, ...]] = {}
    for row in order:
        first = next((one for one in found if same_runs(entries[one], entries[row])), row)
        found[first] = (*found.get(first, ()), row)
    return found


def named(rows: tuple[str, ...]) -> str:
    """`LODE = OneCycle`, a third on a line of its own."""
    first, *others = (" = ".join(map(label, rows[i : i + 2])) for i in range(0, len(rows), 2))
    return "\n= ".join([first, *others])


def same_runs(one: SchedulerEntry, other: SchedulerEntry) -> bool:
    """Equal to the last bit, in validation too: a test set of few samples has equals by chance."""
    completed = one.validation.mean is not None  # two that always diverged have nothing in common
    same = one.test_by_seed == other.test_by_seed and one.validation == other.validation
    return completed and same


def finer_search_shares(evaluation: Evaluation) -> str | None:
    """The row whose runs the finer search's are too, as it chose that configuration."""
    entries = evaluation.schedulers
    if FINER_SEARCH not in entries:
        return None
    own = entries[FINER_SEARCH]
    same = (
        row
        for row, entry in entries.items()
        if row != FINER_SEARCH and (entry.scheduler, entry.peak_lr) == (own.scheduler, own.peak_lr)
    )
    return next(same, None)
