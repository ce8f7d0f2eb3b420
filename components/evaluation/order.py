"""In which order the rows of a comparison stand, and which are shown where there are many."""

from __future__ import annotations

import math

from components.evaluation.results import Evaluation
from components.schedulers.names import FINER_SEARCH, LODE

SHOWN = 12  # rows that a table shows at once, and a figure with a row each has room for
LINES = 6  # lines that can be told apart in one figure


def ranked(evaluation: Evaluation) -> list[str]:
    """The rows, best test mean first; those without one last. Of equals, which may be the same
    runs, the schedule stands before the searches that found it."""

    def key(row: str) -> tuple[float, bool, str]:
        mean = evaluation.schedulers[row].test.mean
        return (math.inf if mean is None else -mean, row in (LODE, FINER_SEARCH), row)

    return sorted(evaluation.schedulers, key=key)


def shown_first(evaluation: Evaluation, most: int = SHOWN) -> list[str]:
    """The first so many of `ranked`, and wherever they stand LODE and the best baseline."""
    order, own = ranked(evaluation), {LODE, evaluation.best_baseline}
    return [row for i, row in enumerate(order) if i < most or row in own]
