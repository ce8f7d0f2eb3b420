"""What a task's metric is called and how its values are written: per cent, or their own unit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from components.evaluation import notation
from components.evaluation.notation import MINUS, NONE
from components.evaluation.statistics import PairedDifference, Summary
from components.training.history import History


@dataclass(frozen=True)
class Metric:
    """A metric of which more is better.

    Attributes:
        name: as the task has it, e.g. `accuracy`, `R²`.
        percent: it is a share in [0, 1], written in per cent, differences in points.
    """

    name: str = "accuracy"
    percent: bool = True

    @classmethod
    def of(cls, histories: Iterable[History]) -> Metric:
        """What the first history that says so says; older ones say nothing, and are of shares of
        right answers."""
        for history in histories:
            name = history.meta.get("metric_name")
            if isinstance(name, str):
                return cls(name, history.meta.get("metric_percent") is not False)
        return cls()

    @property
    def factor(self) -> float:
        """From the metric to what is drawn."""
        return 100 if self.percent else 1

    @property
    def sign(self) -> str:
        """After a value: ` %`."""
        return " %" if self.percent else ""

    @property
    def points(self) -> str:
        """After a difference: ` points`."""
        return " points" if self.percent else ""

    @property
    def column(self) -> str:
        """After a column's or an axis's title: ` (%)`."""
        return " (%)" if self.percent else ""

    def axis(self, what: str) -> str:
        """`validation accuracy (%)`, for Matplotlib, to which a dollar would begin a formula."""
        return f"{what} {self.name}{self.column}".replace("$", r"\$")

    def value(self, value: float, digits: int = 2) -> str:
        """`93.24`, `−0.01234`; `digits` are those of per cent."""
        return f"{100 * value:.{digits}f}" if self.percent else _number(value)

    def mean(self, summary: Summary) -> str:
        """`93.24`, or a dash."""
        return NONE if summary.mean is None else self.value(summary.mean)

    def spread(self, summary: Summary, digits: int = 2) -> str:
        """`93.24 ± 0.12`: mean and standard deviation; `digits` are those of per cent."""
        if self.percent:
            return notation.spread(summary, digits=digits)
        if summary.mean is None or not summary.std:
            return self.mean(summary)
        # two digits of the spread, the mean to the same place
        places = 1 - math.floor(math.log10(summary.std))
        if places > 6:
            return f"{_number(summary.mean)} ± {summary.std:.2g}"
        places = max(places, 0)
        return f"{_signless(summary.mean, places)} ± {summary.std:.{places}f}"

    def difference(self, value: float) -> str:
        """`+0.12`, with its sign."""
        if self.percent:
            return notation.signed(value)
        return (MINUS if value < 0 else "+") + f"{abs(value):.3g}"

    def size(self, value: float) -> str:
        """`0.12`: a difference, or an error of one, without its sign."""
        return f"{100 * abs(value):.2f}" if self.percent else f"{abs(value):.3g}"

    def interval(self, pair: PairedDifference) -> str:
        """`−0.01 to +0.25`, or a dash."""
        if pair.low is None or pair.high is None:
            return NONE
        return f"{self.difference(pair.low)} to {self.difference(pair.high)}"


def _number(value: float) -> str:
    """Four significant digits."""
    size = abs(value)
    if size and not 1e-4 <= size < 1e7:
        return (MINUS if value < 0 else "") + f"{size:.3e}"
    places = 3 - math.floor(math.log10(size)) if size else 1
    return _signless(value, max(places, 0))


def _signless(value: float, places: int) -> str:
    """With the sign that sentences have."""
    return f"{value:.{places}f}".replace("-", MINUS)
