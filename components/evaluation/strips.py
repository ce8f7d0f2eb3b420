"""Figures with a row per scheduler: values of all its runs, or an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.evaluation.drawing import (
    COLUMN,
    GREY,
    PAPER,
    Files,
    Look,
    figure,
    log_ticks,
    looks,
    plain,
)
from components.evaluation.statistics import Comparison, paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW, _MARGIN = 0.42, 0.9  # inches


def strips(
    values: Mapping[str, Sequence[float]],
    names: Mapping[str, str],
    path: Files,
    what: str,
    *,
    interval: bool = True,
    log: bool = False,
) -> None:
    """A row per scheduler, the first on top: its values as dots, mean and 95 % interval below.

    Args:
        names: of the rows. what: under the axis, in plain words.
        log: a log axis, where all values are above 0.
    """
    with figure(path, COLUMN, _MARGIN + _ROW * len(values)) as axes:
        styles = looks(list(values))
        for i, (row, found) in enumerate(values.items()):
            _strip(axes, i, np.asarray(found, float), styles[row], interval)
        _rows(axes, [names[row] for row in values], what)
        if log and min((v for found in values.values() for v in found), default=0) > 0:
            axes.set_xscale("log")
            log_ticks(axes.xaxis, *axes.get_xlim())


def intervals(
    pairs: Mapping[str, Comparison],
    names: Mapping[str, str],
    path: Files,
    what: str,
    scale: float,
) -> None:
    """A row per comparison: its mean and interval beside a line at zero; filled where it is told
    from zero."""
    with figure(path, COLUMN, _MARGIN + 0.32 * len(pairs)) as axes:
        styles = looks(list(pairs))
        axes.axvline(0, color=GREY, linewidth=1)
        for i, (row, pair) in enumerate(pairs.items()):
            color = styles[row].color
            if pair.low is not None and pair.high is not None:
                axes.plot([scale * pair.low, scale * pair.high], [i, i], color=color, linewidth=2.2)
            face = color if pair.significant else PAPER
            mean = scale * (pair.mean or 0.0)
            axes.plot(mean, i, "D", color=color, markersize=6.5, markerfacecolor=face)
        _rows(axes, [names[row] for row in pairs], what)


def _strip(axes: Axes, row: int, found: np.ndarray, look: Look, interval: bool) -> None:
    # a fixed zigzag keeps equal values apart, without chance
    heights = row - 0.14 - 0.09 * (np.arange(len(found)) % 3)
    axes.plot(found, heights, "o", color=look.color, markersize=4, alpha=0.5, markeredgewidth=0)
    # the interval of a mean is that of the difference to zero
    mean = paired_difference(dict(enumerate(found)), dict.fromkeys(range(len(found)), 0.0))
    if mean.mean is None:
        return
    if interval and mean.low is not None and mean.high is not None:
        axes.plot([mean.low, mean.high], [row + 0.14] * 2, color=look.color, linewidth=2.2)
    at = mean.mean, row + 0.14
    axes.plot(*at, "D", color=look.color, markersize=6.5, markeredgecolor=PAPER)


def _rows(axes: Axes, names: Sequence[str], what: str) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(plain(what))
