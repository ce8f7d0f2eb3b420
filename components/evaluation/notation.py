"""How numbers, counts and configurations are written in sentences and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from components.evaluation.statistics import PairedDifference, Summary
from components.schedulers.names import label

MINUS, NONE = "−", "–"


def configuration(scheduler: str, peak_lr: float | None) -> str:
    """`OneCycle 0.05`."""
    return label(scheduler) + ("" if peak_lr is None else f" {peak_lr:g}")


def with_peak(scheduler: str, peak_lr: float | None) -> str:
    """`OneCycle (peak lr 0.05)`, for sentences."""
    return label(scheduler) + ("" if peak_lr is None else f" (peak lr {peak_lr:g})")


def percent(summary: Summary) -> str:
    """`93.24`: the mean of fractions in per cent."""
    return NONE if summary.mean is None else f"{100 * summary.mean:.2f}"


def signed(fraction: float) -> str:
    """`+0.12` or `−0.12`: a difference of fractions in percentage points."""
    return f"{100 * fraction:+.2f}".replace("-", MINUS)


def interval(pair: PairedDifference) -> str:
    """`−0.01 to +0.25`, or a dash."""
    if pair.low is None or pair.high is None:
        return NONE
    return f"{signed(pair.low)} to {signed(pair.high)}"


def p_value(p: float | None) -> str:
    """`0.012`, `< 0.001`, or a dash."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def spread(summary: Summary, factor: float = 100, digits: int = 2) -> str:
    """`93.24 ± 0.12`: mean and standard deviation times `factor`."""
    if summary.mean is None:
        return NONE
    text = f"{factor * summary.mean:.{digits}f}"
    return text if summary.std is None else f"{text} ± {factor * summary.std:.{digits}f}"


def measured(summary: Summary) -> str:
    """Three significant digits of the mean, the spread to the same place."""
    if summary.mean is None:
        return NONE
    size = abs(summary.mean)
    digits = max(0, 2 - math.floor(math.log10(size))) if size > 0 else 2
    return spread(summary, 1, min(digits, 6))


def count(number: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def place(rank: int) -> str:
    """`the best`, `the 2nd best`."""
    if rank == 1:
        return "the best"
    teen = 10 <= rank % 100 <= 20
    return f"the {rank}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')} best"


def seeds(numbers: Sequence[int]) -> str:
    """`100–119`, or a list where they do not follow each other."""
    ordered = sorted(numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ", ".join(map(str, ordered))


def unbroken(text: str) -> str:
    """No line ends between a number and its sign."""
    space = "\N{NO-BREAK SPACE}"
    return re.sub(r"(?<=\d) (?=[%×])|(?<=[np]) (?=[=<])|(?<=[=<±]) ", space, text)
