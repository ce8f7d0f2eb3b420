"""The figure of the sweep: validation metric of every configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.evaluation.drawing import ORANGE, PAPER, WIDE, Files, figure, legend_above, looks
from components.evaluation.metric import Metric
from components.evaluation.notation import MINUS
from components.evaluation.order import SHOWN
from components.evaluation.ranking import merit
from components.evaluation.results import SweptConfiguration
from components.schedulers.names import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACY = Metric()
GRID_LIMIT = 8  # more peak lrs than this were sampled, not laid out on a grid
ON_DARK, ON_LIGHT = "#fdfdfd", "#10161d"  # text on cells, which are the same on a dark page


def sweep_overview(
    configurations: Sequence[SweptConfiguration], path: Files, metric: Metric = ACCURACY
) -> None:
    """Validation metric of every configuration with a peak lr, the chosen ones framed; of the
    schedulers with the best of them, where there are more than there is room for."""
    own = [c for c in configurations if c.peak_lr is not None]
    best = dict.fromkeys(c.scheduler for c in sorted(own, key=merit, reverse=True))
    own = [c for c in own if c.scheduler in list(best)[:SHOWN]]
    if len({c.peak_lr for c in own}) <= GRID_LIMIT:
        _heatmap(own, path, metric)
    else:
        _sampled(own, path, metric)


def _heatmap(configurations: Sequence[SweptConfiguration], path: Files, metric: Metric) -> None:
    names = sorted({c.scheduler for c in configurations}, key=label)
    rates = sorted({c.peak_lr for c in configurations if c.peak_lr is not None})
    grid = np.full((len(names), len(rates)), np.nan)
    for c in configurations:
        if c.peak_lr is not None and c.validation.mean is not None:
            grid[names.index(c.scheduler), rates.index(c.peak_lr)] = c.validation.mean
    # the darker the better, mostly for the better half, or a few broken ones take all of the scale
    low, high = np.nanmedian(grid), np.nanmax(grid)
    most = max(c.runs for c in configurations)
    with figure(path, WIDE, 0.8 + 0.5 * len(names)) as axes:
        axes.pcolormesh(
            grid,
            cmap="Blues",
            vmin=low - (high - low) * 0.5 - 1e-9,
            vmax=high,
            edgecolors=PAPER,
            linewidth=2,
        )
        axes.invert_yaxis()
        for c in configurations:
            if c.peak_lr is not None and c.validation.mean is not None:
                dark = c.validation.mean > low + 0.5 * (high - low)
                note = _note(c, most)
                place = names.index(c.scheduler), rates.index(c.peak_lr)
                _cell(axes, c, *place, dark, metric, note)
        axes.set_xticks(np.arange(len(rates)) + 0.5, [f"{rate:g}" for rate in rates])
        axes.set_yticks(np.arange(len(names)) + 0.5, [label(name) for name in names])
        axes.set_xlabel("peak learning rate")
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _note(of: SweptConfiguration, most: int) -> str:
    """What is to be known beside the value: runs that diverged, or that it has fewer than others,
    as after a race."""
    if of.diverged:
        return f"\n{of.diverged} diverged"
    return f"\nn = {of.runs}" if of.runs < most else ""


def _cell(
    axes: Axes,
    of: SweptConfiguration,
    row: int,
    column: int,
    dark: bool,
    metric: Metric,
    note: str,
) -> None:
    """The value, on a dark or a light ground, what is to be known beside it, and the frame."""
    from matplotlib.patches import Rectangle

    mean = of.validation.mean or 0.0
    drawn = metric.factor * mean
    value = f"{drawn:.1f}" if metric.percent else f"{drawn:.4g}".replace("-", MINUS)
    axes.text(
        column + 0.5,
        row + 0.5,
        value + note,
        ha="center",
        va="center",
        linespacing=1.1,
        color=ON_DARK if dark else ON_LIGHT,
        fontsize=7.5 if note else 9.5,
    )
    if of.chosen:
        corner = (column + 0.04, row + 0.06)
        axes.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=ORANGE, linewidth=2))


def _sampled(configurations: Sequence[SweptConfiguration], path: Files, metric: Metric) -> None:
    names = sorted({c.scheduler for c in configurations}, key=label)
    styles = looks(names)
    with figure(path, WIDE, 3.4) as axes:
        for i, name in enumerate(names):
            own = [
                c for c in configurations if c.scheduler == name and c.validation.mean is not None
            ]
            axes.errorbar(
                [c.peak_lr for c in own],
                [metric.factor * (c.validation.mean or 0) for c in own],
                [metric.scale * (c.validation.std or 0) for c in own],
                linestyle="none",
                marker="os^DvPX"[i % 7],
                markersize=5,
                linewidth=1,
                color=styles[name].color,
                label=label(name),
            )
        axes.set_xscale("log")
        axes.set_xlabel("peak learning rate")
        axes.set_ylabel(metric.axis("validation"))
        legend_above(axes)
