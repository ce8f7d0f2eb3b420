"""The figures of training loss and validation metric: every row's mean over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.evaluation.drawing import (
    COLUMN,
    End,
    Files,
    figure,
    log_scale,
    looks,
    name_lines,
    percent_of_training,
    progress,
)
from components.evaluation.metric import Metric
from components.schedulers.names import LODE
from components.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Band = tuple[np.ndarray, np.ndarray, np.ndarray]


def curves(
    rows: Mapping[str, Sequence[History]],
    names: Mapping[str, str],
    column: str,
    path: Files,
    metric: Metric,
) -> None:
    """`train_loss` or `val_metric` over training: mean per row, LODE's with a band of ± 1 std.

    Of the loss they are taken of its logarithm, as the axis is logarithmic.

    Args:
        names: what stands at the lines' ends. metric: of the task, in whose unit it is drawn.
    """
    styles, of = looks(list(rows)), metric if column == "val_metric" else None
    bands = {row: band for row, runs in rows.items() if (band := _band(runs, column, of))}
    with figure(path, COLUMN, 3.4) as axes:
        for row, (low, mean, high) in bands.items():
            x, own = progress(next(h for h in rows[row] if h.completed)), row == LODE
            look = {"color": styles[row].color, "linestyle": styles[row].dash}
            axes.plot(x, mean, zorder=3 if own else 2, linewidth=2.0 if own else 1.4, **look)
            if own:  # more bands than one would cover each other
                axes.fill_between(x, low, high, color=styles[row].color, alpha=0.16, linewidth=0)
        percent_of_training(axes)
        if of:
            _metric_axis(axes, [mean for _, mean, _ in bands.values()], metric)
        else:
            axes.set_ylabel("training loss")
            log_scale(axes, 1e-9)
        ends = [End(mean[-1], names[row], styles[row].color) for row, (_, mean, _) in bands.items()]
        name_lines(axes, ends)


def _band(runs: Sequence[History], column: str, metric: Metric | None) -> Band | None:
    """Low, mean and high (T,) of completed runs, of the logarithm where it is no metric; None
    without any."""
    completed = [h.points[column].to_numpy() for h in runs if h.completed]
    if not completed:
        return None
    stacked = np.stack(completed)
    # a band of ± 1 std of the logarithm stays positive on a log axis
    values = metric.factor * stacked if metric else np.log(np.maximum(stacked, 1e-12))
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1 if len(values) > 1 else 0)
    if metric:
        return mean - std, mean, mean + std
    return np.exp(mean - std), np.exp(mean), np.exp(mean + std)


def _metric_axis(axes: Axes, means: Sequence[np.ndarray], metric: Metric) -> None:
    """The first quarter's climb would flatten the differences that matter."""
    axes.set_ylabel(metric.axis("validation"))
    late = np.concatenate([mean[len(mean) // 4 :] for mean in means] or [np.zeros(0)])
    if not len(late):
        return
    low, high = axes.get_ylim()
    room = 0.06 * float(np.ptp(late))
    if metric.lower:
        high = min(high, float(late.max()) + room)
    else:
        low = max(low, float(late.min()) - room)
    lowest, highest = (0.0, 100.0) if metric.percent else (-np.inf, np.inf)
    low, high = max(lowest, low), min(highest, high)
    if low < high:
        axes.set_ylim(low, high)
