"""What all figures have in common: a style, the schedulers' looks, axes of a run's length.

The same input gives the same bytes (no date, salted ids). Sizes suit a column of a page and a
phone's width alike. A scheduler has one colour and dash in all figures of all tasks, and lines bear
their names where they end, so that none is told by colour alone. The page replaces the colours of
`PALETTE` by variables of its style sheet, which has another for dark screens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from components.schedulers.names import FINER_SEARCH, LODE, ROWS
from components.storage.files import atomic_path
from components.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Files = Path | Sequence[Path]  # where a figure goes: one file, or the same in several formats

RED, BLUE, ORANGE = "#c8102e", "#0072b2", "#b45309"
INK, GREY, GRID, SHADE, PAPER = "#1f2328", "#6e7781", "#e3e6ea", "#eceff2", "#ffffff"
# Light colour to the one on dark ground. All but grid, shade and paper bear text of a contrast of
# 4.5 or more on either ground.
PALETTE = {
    RED: "#ff7b86",
    BLUE: "#58b2f2",
    ORANGE: "#f0a04b",
    INK: "#e6edf3",
    GREY: "#9aa4ae",
    GRID: "#2b323a",
    SHADE: "#222932",
    PAPER: "#0f141a",
    "#7b3fa0": "#c79bea",
    "#00785a": "#46c9a0",
    "#8a5a00": "#d9a83a",
    "#b0287a": "#f07fc0",
    "#4d6b00": "#a5cc4a",
    "#0a7080": "#4cc3d6",
    "#8a4b2a": "#d9966f",
    "#3f51b5": "#94a3f5",
    "#6b6a00": "#cfcc3f",
    "#c2410c": "#fb8b5c",
    "#4c1d95": "#b79cf5",
    "#166534": "#6fcf8f",
}
_COLORS = (
    "#7b3fa0",
    "#00785a",
    BLUE,
    "#8a5a00",
    "#b0287a",
    "#4d6b00",
    "#0a7080",
    "#8a4b2a",
    "#3f51b5",
    "#6b6a00",
    GREY,
    "#c2410c",
    "#4c1d95",
    "#166534",
)
_DASHES = ("-", "--", "-.", ":")
COLUMN, WIDE = 4.7, 5.0  # inches: one of two columns; alone on its line
DPI = 200  # of a PNG: sharp on a slide
# Of a PNG: lines and their edges need no more, in half of the bytes; the format has 256.
COLORS, MOST_COLORS = 64, 256
_NAME_GAP = 1.25  # between two names beside an axis, in heights of their font
_FONT = 9.5  # points

_STYLE: Any = {
    "svg.hashsalt": "lode",
    "svg.fonttype": "none",  # text stays text: it can be selected, and read out
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "font.size": _FONT,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.labelsize": _FONT,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.5,
}


@dataclass(frozen=True)
class Look:
    """Colour and dash of a scheduler's lines."""

    color: str
    dash: Any


def looks(rows: Sequence[str]) -> dict[str, Look]:
    """LODE red, a finer search dark, every other known scheduler its own; the rest, which are
    people's own, by name from what is left of colours and dashes."""
    known = [row.name for row in ROWS if row.name not in (LODE, FINER_SEARCH)]
    unknown = sorted(set(rows).difference(known, (LODE, FINER_SEARCH)))
    found = {LODE: Look(RED, "-"), FINER_SEARCH: Look(INK, "--")}
    for i, row in enumerate([*known, *unknown]):
        turn, place = divmod(i, len(_COLORS))
        found[row] = Look(_COLORS[place], _DASHES[(place + turn) % len(_DASHES)])
    return {row: found[row] for row in rows}


@contextmanager
def figure(files: Files, width: float, height: float, **layout: Any) -> Iterator[Any]:
    """Axes of a new figure, written at the end to every file: as SVG or PNG, by its suffix."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn.subplots(**layout)
        for path in [files] if isinstance(files, Path) else files:
            with atomic_path(path) as temporary:
                _save(drawn, temporary, path.suffix)
            drawn.set_layout_engine("none")  # stands after the first; finding it takes longest


def _save(drawn: Figure, path: Path, suffix: str) -> None:
    if suffix == ".png":
        from PIL import Image

        drawn.savefig(path, format="png", dpi=DPI, metadata={"Software": None})
        shaded = drawn.findobj(lambda artist: artist.get_rasterized())  # by a colour map
        most = MOST_COLORS if shaded else COLORS
        few = Image.open(path).convert("RGB").quantize(most, dither=Image.Dither.NONE)
        few.save(path, format="png", optimize=True)
        return
    drawn.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    path.write_text(_rounded(path.read_text(encoding="utf-8")), encoding="utf-8")


def _rounded(svg: str) -> str:
    """Coordinates to a hundredth of a point, a third of the bytes less."""
    places = re.compile(r"(-?\d+\.\d{2})\d+")
    return re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda m: places.sub(r"\1", m[0]), svg)


def progress(history: History) -> np.ndarray:
    """Log points as per cent of the training."""
    return 100 * history.points["step"].to_numpy() / history.meta["updates"]


def percent_of_training(axes: Axes) -> None:
    axes.set_xlim(0, 100)
    axes.set_xlabel("training (% of updates)")


def log_scale(axes: Axes, least: float) -> None:
    """A log axis of y down to `least` of its top: OneCycle's last update is close to zero."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, high * least), high)
    log_ticks(axes.yaxis, max(low, high * least), high)


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Numbers as people write them, at powers of ten; between these too where there are few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    between = (1, 1.5, 2, 3, 5, 7) if high < 5 * low else (1, 2, 5) if high < 30 * low else (1,)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True)
class End:
    """Where a line ends (y, in the axes' data), its name and colour."""

    y: float
    name: str
    color: str


def name_lines(axes: Axes, ends: Sequence[End]) -> None:
    """Every line's name to the right of where it ends; names that would touch are moved apart and
    joined to their lines. Call it when the axes' limits stand."""
    height = axes.bbox.height / axes.figure.dpi
    lines = max((end.name.count("\n") + 1 for end in ends), default=1)
    gap = lines * _NAME_GAP * _FONT / 72 / height
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(np.clip(to_axes.transform((0, end.y))[1], 0, 1)) for end in ends]
    for end, true, placed in zip(ends, heights, apart(heights, gap), strict=True):
        axes.annotate(
            plain(end.name),
            (1.0, true),
            (1.035, placed),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=end.color,
            va="center",
            fontsize=_FONT - 0.5,
            arrowprops={
                "arrowstyle": "-",
                "color": end.color,
                "linewidth": 0.6,
                "shrinkA": 1,
                "relpos": (0, 0.5),  # from the name's left, so that it crosses no other name
            },
        )


def apart(places: Sequence[float], gap: float) -> list[float]:
    """The places, in [0, 1], moved as little as it takes (least squares) to keep them `gap` from
    each other in their order; where there is no room for that, evenly.

    Less i gaps each, they must only not fall: what does is pooled (isotonic regression).
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    gap = min(gap, 1 / max(len(places) - 1, 1))
    pools: list[list[float]] = []
    for rank, i in enumerate(order):
        pools.append([places[i] - rank * gap])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = [fmean(pool) for pool in pools for _ in pool]
    room = 1 - (len(places) - 1) * gap
    moved = {i: min(max(level[rank], 0.0), room) + rank * gap for rank, i in enumerate(order)}
    return [moved[i] for i in range(len(places))]


def legend_above(axes: Axes) -> None:
    """Above the data, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=3,
        borderaxespad=0.2,
        handlelength=1.8,
        columnspacing=1.2,
    )


def plain(text: str) -> str:
    """As Matplotlib shows it: a dollar would begin a formula."""
    return text.replace("$", r"\$")
