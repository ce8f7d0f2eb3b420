"""What a task's metric is called and how its values are written: per cent, or their own unit.

Of a metric that is to be small, as a loss, histories hold the negative, so that more is better in
all of them; here it becomes what people know it as.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from components.evaluation import notation
from components.evaluation.notation import MINUS, NONE
from components.evaluation.statistics import PairedDifference, Summary
from components.training.facts import MINIMIZE
from components.training.history import History


@dataclass(frozen=True)
class Metric:
    """A metric as histories have it, of which more is better.

    Attributes:
        name: as the task has it, e.g. `accuracy`, `R²`.
        percent: it is a share in [0, 1], written in per cent, differences in points.
        lower: less of what people know is better; histories have its negative.
    """

    name: str = "accuracy"
    percent: bool = True
    lower: bool = False

    @classmethod
    def of(cls, histories: Iterable[History]) -> Metric:
        """What the first history that says so says; older ones say nothing, and are of shares of
        right answers."""
        for history in histories:
            name = history.meta.get("metric_name")
            if isinstance(name, str):
                meta = history.meta
                percent, lower = meta.get("metric_percent"), meta.get("metric_goal") == MINIMIZE
                return cls(name, percent is not False, lower)
        return cls()

    @property
    def sign(self) -> float:
        """From what histories have to what people know, and back."""
        return -1.0 if self.lower else 1.0

    @property
    def factor(self) -> float:
        """From the metric to what is drawn."""
        return self.sign * self.scale

    @property
    def scale(self) -> float:
        """Of differences without a sign: 100 where it is drawn in per cent."""
        return 100 if self.percent else 1

    @property
    def better(self) -> str:
        """`higher is better`."""
        return f"{'lower' if self.lower else 'higher'} is better"

    @property
    def unit(self) -> str:
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
        return self.titled(what).replace("$", r"\$")

    def titled(self, what: str) -> str:
        """`validation accuracy (%)`."""
        return f"{what} {self.name}{self.column}"

    def value(self, value: float, digits: int = 2) -> str:
        """`93.24`, `−0.01234`; `digits` are those of per cent."""
        value = self.sign * value
        return f"{100 * value:.{digits}f}" if self.percent else _number(value)

    def mean(self, summary: Summary) -> str:
        """`93.24`, or a dash."""
        return NONE if summary.mean is None else self.value(summary.mean)

    def spread(self, summary: Summary, digits: int = 2) -> str:
        """`93.24 ± 0.12`: mean and standard deviation; `digits` are those of per cent."""
        if self.percent and not self.lower:
            return notation.spread(summary, digits=digits)
        if summary.mean is None or not summary.std:
            return self.mean(summary)
        mean, std = self.factor * summary.mean, self.scale * summary.std
        # two digits of the spread, the mean to the same place
        places = digits if self.percent else 1 - math.floor(math.log10(std))
        if places > 6:
            return f"{_number(mean)} ± {std:.2g}"
        places = max(places, 0)
        return f"{_signless(mean, places)} ± {std:.{places}f}"

    def difference(self, value: float) -> str:
        """`+0.12`, with its sign: of what people know, so that less of a loss is negative."""
        value = self.sign * value
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
        low, high = sorted((pair.low, pair.high), key=lambda value: self.sign * value)
        return f"{self.difference(low)} to {self.difference(high)}"


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
