"""Sharpness over training and how near the edge of stability it is (the paper's Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.evaluation.drawing import (
    INK,
    WIDE,
    End,
    Files,
    Look,
    figure,
    log_ticks,
    looks,
    name_lines,
    percent_of_training,
)
from components.evaluation.sharpness_series import Measurement, measurements
from components.schedulers.names import LODE
from components.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = Callable[[Measurement], float | None]
# Of an axis' top, or of the edge: eigenvalues are known to a thousandth of the largest. So many
# times the edge, as an adaptive optimizer's first updates may be, are not drawn either.
LEAST = 1e-3


def sharpness_over_training(
    rows: Mapping[str, Sequence[History]], names: Mapping[str, str], path: Files
) -> None:
    """λ_max and −λ_min of each row of the table, whose lines bear these names, and η·λ_max in
    multiples of the edge of stability.

    A line and a band are the geometric mean over the runs and ± 1 standard deviation of the
    logarithm, of the values that are positive. What is less than a thousandth of the largest
    eigenvalue, or of the edge, is left out. Nothing is drawn where nothing was measured.
    """
    styles = looks(list(rows))
    found = {row: runs for row, runs in rows.items() if any(map(measurements, runs))}
    edge = {row: runs for row, runs in found.items() if len(_band(runs, _of_edge)[0])}
    if not found:
        return
    panels = 1 + bool(edge)
    with figure(path, WIDE, 0.6 + 2.8 * panels, nrows=panels, sharex=True, squeeze=False) as grid:
        upper, lower = grid[0, 0], grid[-1, 0]
        for row, runs in found.items():
            x, _, mean, _ = _band(runs, _minus_lambda_min)
            upper.plot(x, mean, color=styles[row].color, linestyle=":", linewidth=1)
        _panel(upper, found, styles, _lambda_max)
        upper.set_ylim(bottom=LEAST * upper.get_ylim()[1])
        _name_ends(upper, found, names, styles, _lambda_max)
        upper.set_ylabel("λₘₐₓ   (dotted: −λₘᵢₙ)")
        if edge:
            lower.axhline(1, color=INK, linewidth=1)
            _panel(lower, edge, styles, _of_edge)
            lower.set_ylim(LEAST, min(lower.get_ylim()[1], 1 / LEAST))
            _name_ends(lower, edge, names, styles, _of_edge)
            lower.set_ylabel("η·λₘₐₓ / threshold")
            lower.text(99, 1.2, "edge of stability", fontsize=8.5, horizontalalignment="right")
        percent_of_training(lower)


def _lambda_max(found: Measurement) -> float | None:
    return found.lambda_max


def _minus_lambda_min(found: Measurement) -> float | None:
    return None if found.lambda_min is None else -found.lambda_min


def _of_edge(found: Measurement) -> float | None:
    return found.of_edge


def _panel(
    axes: Axes, rows: Mapping[str, Sequence[History]], styles: Mapping[str, Look], value: Value
) -> None:
    """Line and band of every row on a log axis."""
    axes.set_yscale("log")
    for row, runs in rows.items():
        x, low, mean, high = _band(runs, value)
        look, order = styles[row], 3 if row == LODE else 2
        axes.plot(x, mean, color=look.color, linestyle=look.dash, zorder=order)
        axes.fill_between(x, low, high, color=look.color, alpha=0.12, linewidth=0)


def _band(runs: Sequence[History], value: Value) -> tuple[np.ndarray, ...]:
    """Log points in per cent of the training, low, mean and high at each."""
    logs: dict[float, list[float]] = {}
    for run in runs:
        for found in measurements(run):
            if (measured := value(found)) is not None and measured > 0:
                share = 100 * found.point / run.meta["points"]
                logs.setdefault(share, []).append(float(np.log(measured)))
    x = sorted(logs)
    mean = np.array([np.mean(logs[share]) for share in x])
    std = np.array([np.std(logs[share], ddof=min(1, len(logs[share]) - 1)) for share in x])
    return np.array(x), np.exp(mean - std), np.exp(mean), np.exp(mean + std)


def _name_ends(
    axes: Axes,
    rows: Mapping[str, Sequence[History]],
    names: Mapping[str, str],
    styles: Mapping[str, Look],
    value: Value,
) -> None:
    low, high = axes.get_ylim()
    log_ticks(axes.yaxis, low, high)
    bands = {row: _band(runs, value) for row, runs in rows.items()}
    ends = [
        End(float(mean[-1]), names[row], styles[row].color)
        for row, (x, _, mean, _) in bands.items()
        if len(x)
    ]
    axes.set_xlim(0, 100)
    name_lines(axes, ends)
