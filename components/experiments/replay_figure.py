"""The picture of a replay: regret against runs paid, a panel a setting, a colour a strategy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.evaluation.drawing import RED, End, figure, log_ticks, looks, name_lines
from components.experiments.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.4, 3.5  # inches, of a panel
# Of a panel's largest regret: a strategy that has found the best has none, which has no logarithm.
LEAST = 1e-3
OURS = ("process-on-judge", "judge-on-law")  # red is the first that was played


def draw(panels: Mapping[str, Sequence[Curve]], unit: str, out: Path) -> None:
    """Write an SVG with a panel for each setting; the same curves give the same bytes."""
    names = dict.fromkeys(curve.strategy for curves in panels.values() for curve in curves)
    ours = next((name for name in OURS if name in names), "")
    colors = {name: look.color for name, look in looks(sorted(names)).items()} | {ours: RED}
    size = WIDTH * len(panels), HEIGHT
    with figure(out, *size, nrows=1, ncols=len(panels), squeeze=False) as axes:
        for one, (title, curves) in zip(axes[0], panels.items(), strict=True):
            _draw(one, curves, colors, ours)
            one.set_title(title, fontsize=10)
        axes[0][0].set_ylabel(f"regret ({unit})")


def _draw(axes: Axes, curves: Sequence[Curve], colors: Mapping[str, str], ours: str) -> None:
    means = {curve.strategy: _mean(curve) for curve in curves}
    top = max((float(np.nanmax(mean)) for mean in means.values()), default=0.0) or 1.0
    ends = []
    for name, mean in means.items():
        shown = np.maximum(mean, LEAST * top)
        runs = np.arange(1, len(mean) + 1)
        axes.plot(runs, shown, color=colors[name], linewidth=2.0 if name == ours else 1.4)
        ends.append(End(float(shown[-1]), name, colors[name]))
    axes.set_yscale("log")
    axes.set_ylim(LEAST * top / 1.3, 1.3 * top)
    log_ticks(axes.yaxis, LEAST * top, top)
    axes.set_xlim(1, max(len(mean) for mean in means.values()))
    axes.set_xlabel("runs paid")
    name_lines(axes, ends)


def _mean(curve: Curve) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # before the first choice there is none
        return curve.mean
