"""What all figures have in common: a style, the schedulers' looks, axes of a run's length.

The same input gives the same bytes (no date, salted ids). Sizes suit a column of a page and a
phone's width alike. LODE is red and the best baseline blue throughout; the other schedulers differ
in dash as well as in colour (Okabe & Ito's palette), so none is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.schedulers.names import FINER_SEARCH, LODE
from components.storage.files import atomic_path
from components.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RED, BLUE, ORANGE, INK, GREY = "#c8102e", "#0072b2", "#d55e00", "#1f2328", "#8c959f"
OTHERS = (
    ("#009e73", "--"),
    ("#e69f00", "-."),
    ("#7b4ea3", ":"),
    ("#56b4e9", "--"),
    (GREY, "-."),
    ("#cc79a7", ":"),
    ("#009e73", ":"),
    ("#e69f00", "--"),
    ("#7b4ea3", "-."),
    ("#56b4e9", ":"),
)
COLUMN, WIDE = 4.7, 5.4  # inches: one of two columns; alone on its line

_STYLE: Any = {
    "svg.hashsalt": "lode",
    "svg.fonttype": "none",  # text stays text: it can be selected, and read out
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
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


def looks(rows: Sequence[str], best_baseline: str) -> dict[str, Look]:
    """LODE red, the best baseline blue, a finer search dark, the others by name from the rest of
    the palette."""
    found = {LODE: Look(RED, "-"), FINER_SEARCH: Look(INK, "--"), best_baseline: Look(BLUE, "-")}
    others = [row for row in sorted(rows) if row not in found]
    found |= {row: Look(*OTHERS[i % len(OTHERS)]) for i, row in enumerate(others)}
    return {row: found[row] for row in rows}


@contextmanager
def figure(path: Path, width: float, height: float, **layout: Any) -> Iterator[Any]:
    """Axes of a new figure, written to `path` as SVG at the end."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn.subplots(**layout)
        with atomic_path(path) as temporary:
            drawn.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


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
