"""The LODE's states of a few runs in two dimensions, coloured by what the runs did (Figure A1).

The plane is that of the two principal components; where umap-learn is installed (the extra `umap`)
it is UMAP's, as in the paper (McInnes, Healy & Melville 2018), which keeps neighbours together and
says nothing of distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.drawing import WIDE, Files, figure, looks
from components.evaluation.metric import Metric
from components.schedulers.names import LODE, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEED = 0  # of UMAP's layout
# Dots are drawn as one picture each panel: 6,000 dots as SVG would be half a megabyte.
DOTS: Any = {"s": 5, "alpha": 0.8, "linewidths": 0, "rasterized": True}


@dataclass(frozen=True)
class LatentSpace:
    """States of R runs at K moments.

    Attributes:
        states: (R, K, latent). progress: (K,), per cent of the training.
        series: (R, K, 3), train loss, validation metric and learning rate there.
        schedulers: (R,) names.
    """

    states: np.ndarray
    progress: np.ndarray
    series: np.ndarray
    schedulers: tuple[str, ...]


@dataclass(frozen=True)
class Plane:
    """States in two dimensions, (R, K, 2), and what the axes are called."""

    xy: np.ndarray
    axes: tuple[str, str]


def plane(space: LatentSpace) -> Plane:
    """UMAP's where it is installed, else the principal components'."""
    return by_umap(space) if find_spec("umap") is not None else by_pca(space)


def by_pca(space: LatentSpace) -> Plane:
    """The plane in which the states spread most; the axes say how much of their variance they
    show. Signs are such that the largest entry of each direction is positive."""
    states = space.states.reshape(-1, space.states.shape[-1])
    if states.shape[1] == 1:  # a latent of one dimension lies on a line
        states = np.pad(states, ((0, 0), (0, 1)))
    centred = states - states.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # ascending, in columns
    first = directions[:, :-3:-1]
    signs = np.sign(first[np.abs(first).argmax(0), np.arange(2)])
    xy = centred @ (first * signs)
    total = float(variances.sum()) or 1.0
    shares = [f"PC {i} ({100 * variances[-i] / total:.0f} %)" for i in (1, 2)]
    return Plane(xy.reshape(*space.states.shape[:2], 2), (shares[0], shares[1]))


def by_umap(space: LatentSpace) -> Plane:
    """
    Raises:
        ModuleNotFoundError: umap-learn is not installed.
    """
    import umap  # 10 s of numba's

    states = space.states.reshape(-1, space.states.shape[-1])
    xy = umap.UMAP(random_state=SEED, n_jobs=1).fit_transform(states)
    return Plane(np.asarray(xy).reshape(*space.states.shape[:2], 2), ("UMAP 1", "UMAP 2"))


def draw(space: LatentSpace, path: Files, metric: Metric) -> None:
    """Five panels of the same plane: time, loss, metric, learning rate, and which scheduler."""
    found = plane(space)
    loss, value, lr = (space.series[..., i] for i in range(3))
    time = np.broadcast_to(space.progress, loss.shape)
    panels = (
        ("training (%)", time, False),
        ("training loss", loss, True),
        (metric.axis("validation"), metric.factor * value, False),
        ("learning rate", lr, True),
    )
    with figure(path, WIDE, 6.4, nrows=3, ncols=2, sharex=True, sharey=True) as grid:
        for axes, (name, values, log) in zip(grid.flat, panels, strict=False):
            _coloured(axes, found, name, values, log)
        _by_scheduler(grid.flat[4], found, space.schedulers)
        beside = grid.flat[5]  # a legend of its own would push the columns apart
        beside.set_axis_off()
        shown = grid.flat[4].get_legend_handles_labels()
        legend = beside.legend(*shown, loc="center left", markerscale=2.5)
        for mark in legend.legend_handles:
            mark.set_alpha(1)
        for axes in grid[:, 0]:
            axes.set_ylabel(found.axes[1])
        for axes in grid[-1]:
            axes.set_xlabel(found.axes[0])


def _coloured(axes: Axes, found: Plane, name: str, values: np.ndarray, log: bool) -> None:
    from matplotlib.colors import LogNorm, Normalize

    shown = np.maximum(values, 1e-4 * values.max()) if log else values
    low, high = float(shown.min()), float(shown.max())
    norm = LogNorm(low, high) if log and 0 < low < high else Normalize(low, high)
    dots = axes.scatter(*_xy(found.xy), c=shown.ravel(), cmap="viridis", norm=norm, **DOTS)
    axes.figure.colorbar(dots, ax=axes, pad=0.02)
    axes.set_title(name, fontsize="medium")


def _by_scheduler(axes: Axes, found: Plane, schedulers: tuple[str, ...]) -> None:
    names = sorted(set(schedulers), key=lambda name: (name != LODE, name))
    styles, of = looks(names), np.array(schedulers)
    for name in names:
        xy = _xy(found.xy[of == name])
        axes.scatter(*xy, color=styles[name].color, label=label(name), **DOTS)
    axes.set_title("scheduler", fontsize="medium")


def _xy(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points[..., 0].ravel(), points[..., 1].ravel()
