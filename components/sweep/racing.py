"""Racing: after its first seed a configuration goes on only if it is promising.

One rung of successive halving (Jamieson and Talwalkar 2016) whose resource is seeds, not updates: a
run is never stopped, since a schedule that warms up looks bad where a constant one looks good.
"""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.ranking import worst_validation, worth
from components.training.history import History


def survivors(
    tried: Sequence[tuple[str, float]], runs: Sequence[History], count: int
) -> list[tuple[str, float]]:
    """The configurations that go on, in the order in which they were tried.

    Every scheduler's best is among them: it has its row in the comparison, and a LODE learns from
    several kinds of schedule. Equals go to the one tried first.

    Args:
        tried: (scheduler, peak lr) of each of the runs. count: at least as many as schedulers.
    """
    worst = worst_validation(runs)
    means = [worth([run], worst).mean for run in runs]  # None where nobody has logged anything
    order = sorted(range(len(tried)), key=lambda i: -(means[i] or 0.0))
    best: dict[str, int] = {}
    for i in order:
        best.setdefault(tried[i][0], i)
    kept = set(list(dict.fromkeys([*best.values(), *order]))[:count])
    return [one for i, one in enumerate(tried) if i in kept]
