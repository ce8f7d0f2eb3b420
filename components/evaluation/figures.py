"""The report's figures, each drawn from histories into one SVG.

The same input gives the same bytes (no date, salted ids). Sizes suit a column of a page and a
phone's width alike. LODE is red and the best baseline blue throughout; the other schedulers differ
in dash as well as in colour (Okabe & Ito's palette), so none is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.ranking import Configuration
from components.evaluation.statistics import paired_difference
from components.schedulers.names import LODE, label
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
GRID_LIMIT = 8  # more peak lrs than this were sampled, not laid out on a grid

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


def looks(schedulers: Sequence[str], best_baseline: str) -> dict[str, Look]:
    """LODE red, the best baseline blue, the others by name from the rest of the palette."""
    others = [name for name in sorted(schedulers) if name not in (LODE, best_baseline)]
    found = {LODE: Look(RED, "-"), best_baseline: Look(BLUE, "-")}
    found |= {name: Look(*OTHERS[i % len(OTHERS)]) for i, name in enumerate(others)}
    return found


@contextmanager
def _figure(path: Path, width: float, height: float, **layout: Any) -> Iterator[Any]:
    """Axes of a new figure, written to `path` as SVG at the end."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure.subplots(**layout)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def _progress(history: History) -> np.ndarray:
    """Log points as per cent of the training."""
    return 100 * history.points["step"].to_numpy() / history.meta["updates"]


def learning_rates(runs: Sequence[History], best_baseline: str, path: Path) -> None:
    """Learning rate over training: every LODE run against the best baseline (paper, Figure 4)."""
    with _figure(path, WIDE, 3.2) as axes:
        for scheduler, color, width in ((best_baseline, BLUE, 2.4), (LODE, RED, 0.8)):
            chosen = [h for h in runs if h.meta["scheduler"] == scheduler]
            name = f"{label(scheduler)} ({len(chosen)} runs)" if scheduler == LODE else None
            for i, run in enumerate(chosen):
                axes.plot(
                    _progress(run),
                    run.points["lr"],
                    color=color,
                    linewidth=width,
                    alpha=0.85 if scheduler == LODE else 1,
                    label=(name or label(scheduler)) if i == 0 else None,
                )
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, high * 3e-5), high)  # OneCycle's last update is close to zero
        _percent_of_training(axes)
        axes.set_ylabel("learning rate")
        _legend_above(axes)


def plans(pilots: Mapping[str, Any], path: Path) -> None:
    """The finalists of the pilots, the plan and the sweep's best schedule, over training."""
    baseline = pilots["baseline"]
    name = f"{label(baseline['scheduler'])} {baseline['peak_lr']:g}, the sweep's best"
    with _figure(path, WIDE, 3.2) as axes:

        def draw(plan: Sequence[float], **look: Any) -> None:
            axes.plot(np.linspace(0, 100, len(plan)), plan, **look)

        for i, finalist in enumerate(pilots["finalists"]):
            draw(finalist["plan"], color=GREY, linewidth=0.9, label="finalists" if i == 0 else None)
        draw(baseline["plan"], color=BLUE, linewidth=2.0, label=name)
        if pilots["adopted"]:
            draw(pilots["plan"], color=RED, linewidth=2.0, label="the plan")
        _percent_of_training(axes)
        axes.set_ylabel("learning rate")
        axes.set_ylim(bottom=0)
        _legend_above(axes)


def expectations(runs: Sequence[History], path: Path) -> None:
    """What each LODE run's decisions expected of the plan in force; nothing without decisions."""
    told = [
        (history, [d for d in history.meta.get("decisions") or [] if d["predicted"] is not None])
        for history in runs
    ]
    told = [(history, decisions) for history, decisions in told if decisions]
    if not told:
        return
    with _figure(path, WIDE, 3.0) as axes:
        for history, decisions in told:
            x = [100 * d["point"] / history.meta["points"] for d in decisions]
            y = [100 * d["predicted"] for d in decisions]
            axes.plot(x, y, color=RED, linewidth=0.8, alpha=0.6)
            moved = [i for i, d in enumerate(decisions) if d["kept"] is None]
            axes.plot([x[i] for i in moved], [y[i] for i in moved], "o", color=RED, markersize=3)
        _percent_of_training(axes)
        axes.set_ylabel("predicted final\nvalidation accuracy (%)")


def curves(runs: Sequence[History], column: str, best_baseline: str, path: Path) -> None:
    """`train_loss` or `val_metric` over training: mean and ± 1 std band per scheduler.

    Of the loss they are taken of its logarithm, as the axis is logarithmic.
    """
    groups = _by_scheduler(runs)
    styles = looks(list(groups), best_baseline)
    late: list[float] = []
    with _figure(path, COLUMN, 3.4) as axes:
        for name, group in groups.items():
            x, values = _table(group, column)
            if not len(values):
                continue
            # a band of ± 1 std of the logarithm stays positive on a log axis
            values = 100 * values if column == "val_metric" else np.log(np.maximum(values, 1e-12))
            mean, std = values.mean(axis=0), values.std(axis=0, ddof=1 if len(values) > 1 else 0)
            low, high = mean - std, mean + std
            if column != "val_metric":
                mean, low, high = np.exp(mean), np.exp(low), np.exp(high)
            look, foremost = styles[name], name in (LODE, best_baseline)
            axes.plot(
                x,
                mean,
                color=look.color,
                linestyle=look.dash,
                label=label(name),
                zorder=3 if name == LODE else 2,
            )
            axes.fill_between(
                x, low, high, color=look.color, alpha=0.16 if foremost else 0.07, linewidth=0
            )
            late += [*low[len(x) // 4 :]]
        if column == "val_metric":
            axes.set_ylabel("validation accuracy (%)")
            # the first quarter's climb would flatten the differences that matter
            bottom, top = axes.get_ylim()
            axes.set_ylim(max(0.0, min(late, default=bottom)), min(100.0, top))
        else:
            axes.set_ylabel("training loss")
            axes.set_yscale("log")
        _percent_of_training(axes)
        _legend_above(axes)


def test_metrics(by_seed: Mapping[str, Mapping[int, float | None]], best: str, path: Path) -> None:
    """Final test metric of every run, with the mean and its 95 % interval."""
    values = {
        name: [100 * v for v in seeds.values() if v is not None] for name, seeds in by_seed.items()
    }
    with _figure(path, COLUMN, 0.9 + 0.5 * len(values)) as axes:
        _strips(axes, values, looks(list(values), best))
        axes.set_xlabel("test accuracy (%)")


def sharpnesses(values: Mapping[str, Sequence[float]], best: str, path: Path) -> None:
    """λ_max at the end of every run, with the mean; schedulers in the given order.

    A log axis, because schedulers differ by orders of magnitude; an interval of the arithmetic
    mean has no place on it.
    """
    with _figure(path, COLUMN, 0.9 + 0.5 * len(values)) as axes:
        _strips(axes, values, looks(list(values), best), interval=False)
        axes.set_xlabel("sharpness λₘₐₓ at the end")
        if min(value for found in values.values() for value in found) > 0:
            axes.set_xscale("log")


def sweep_overview(
    configurations: Sequence[Configuration], chosen: Mapping[str, float], path: Path
) -> None:
    """Validation metric of every configuration of the sweep; the chosen ones are framed."""
    if len({c.peak_lr for c in configurations}) <= GRID_LIMIT:
        _heatmap(configurations, chosen, path)
    else:
        _sampled(configurations, path)


def trajectories(history: History, predicted: np.ndarray, observed: int, path: Path) -> None:
    """A run as it was and as the LODE predicts it from its first points (paper, Figure 2).

    Args:
        history: the run.
        predicted: array (T, 3) of train loss, validation metric and learning rate at its points.
        observed: number of points the LODE has seen; they are shaded.
    """
    rows = (
        ("train_loss", "training loss", 0, "log"),
        ("lr", "learning rate", 2, "log"),
        ("val_metric", "val. accuracy (%)", 1, "linear"),
    )
    x = _progress(history)
    with _figure(path, COLUMN, 5.0, nrows=3, sharex=True) as all_axes:
        for axes, (column, name, channel, scale) in zip(all_axes, rows, strict=True):
            factor = 100 if column == "val_metric" else 1
            truth = factor * history.points[column].to_numpy()
            axes.axvspan(0, x[observed - 1], color="#eceff2", linewidth=0)
            axes.plot(x, truth, color=INK, linewidth=1.6, label="observed")
            axes.plot(
                x,
                factor * predicted[:, channel],
                color=ORANGE,
                linewidth=1.6,
                linestyle="--",
                label="LODE's prediction",
            )
            axes.set_yscale(scale)
            if scale == "log":
                low, high = axes.get_ylim()
                axes.set_ylim(max(low, high * 1e-5), high)
            axes.set_ylabel(name)
        _percent_of_training(all_axes[-1])
        _legend_above(all_axes[0])


def histories_over_training(histories: Sequence[History], path: Path) -> None:
    """Train loss, validation metric and learning rate of a few runs, one above the other."""
    channels = (
        ("train_loss", "training loss", "log"),
        ("val_metric", "validation metric", None),
        ("lr", "learning rate", "log"),
    )
    with _figure(path, WIDE, 6.0, nrows=3, sharex=True) as rows:
        for axes, (column, name, scale) in zip(rows, channels, strict=True):
            for history in histories:
                axes.plot(_progress(history), history.points[column], label=history.describe())
            axes.set_ylabel(name)
            if scale:
                axes.set_yscale(scale)
        _percent_of_training(rows[-1])
        _legend_above(rows[0])


def _heatmap(
    configurations: Sequence[Configuration], chosen: Mapping[str, float], path: Path
) -> None:
    from matplotlib.patches import Rectangle

    names = sorted({c.scheduler for c in configurations}, key=label)
    rates: list[float] = sorted({c.peak_lr for c in configurations if c.peak_lr is not None})
    grid = np.full((len(names), len(rates)), np.nan)
    for c in configurations:
        if c.peak_lr is not None and c.validation.mean is not None:
            grid[names.index(c.scheduler), rates.index(c.peak_lr)] = 100 * c.validation.mean
    # mostly for the better half, or a few broken configurations take all of the scale
    low, high = np.nanmedian(grid), np.nanmax(grid)
    with _figure(path, WIDE, 0.8 + 0.5 * len(names)) as axes:
        axes.pcolormesh(
            grid,
            cmap="Blues",
            vmin=low - (high - low) * 0.5 - 1e-9,
            vmax=high,
            edgecolors="white",
            linewidth=2,
        )
        axes.invert_yaxis()
        for c in configurations:
            row, column = names.index(c.scheduler), rates.index(c.peak_lr)
            value = grid[row, column]
            if np.isnan(value):
                continue
            text = f"{value:.1f}" + (f"\n{c.diverged} diverged" if c.diverged else "")
            dark = value > low + 0.5 * (high - low)
            axes.text(
                column + 0.5,
                row + 0.5,
                text,
                ha="center",
                va="center",
                linespacing=1.1,
                color="white" if dark else INK,
                fontsize=7.5 if c.diverged else 9.5,
            )
            if chosen.get(c.scheduler) == c.peak_lr:
                frame = Rectangle(
                    (column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor=RED, linewidth=2
                )
                axes.add_patch(frame)
        axes.set_xticks(np.arange(len(rates)) + 0.5, [f"{rate:g}" for rate in rates])
        axes.set_yticks(np.arange(len(names)) + 0.5, [label(name) for name in names])
        axes.set_xlabel("peak learning rate")
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _sampled(configurations: Sequence[Configuration], path: Path) -> None:
    names = sorted({c.scheduler for c in configurations}, key=label)
    palette = [Look(BLUE, "-"), *(Look(*other) for other in OTHERS)]
    with _figure(path, WIDE, 3.4) as axes:
        for i, name in enumerate(names):
            own = [c for c in configurations if c.scheduler == name and c.validation.mean]
            axes.errorbar(
                [c.peak_lr for c in own],
                [100 * (c.validation.mean or 0) for c in own],
                [100 * (c.validation.std or 0) for c in own],
                linestyle="none",
                marker="os^DvPX"[i % 7],
                markersize=5,
                linewidth=1,
                color=palette[i % len(palette)].color,
                label=label(name),
            )
        axes.set_xscale("log")
        axes.set_xlabel("peak learning rate")
        axes.set_ylabel("validation accuracy (%)")
        _legend_above(axes)


def _strips(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    styles: dict[str, Look],
    interval: bool = True,
) -> None:
    """A row per scheduler, the first on top: its values as dots, mean and 95 % interval below."""
    names = list(values)
    for row, name in enumerate(names):
        found, color = np.asarray(values[name], float), styles[name].color
        # a fixed zigzag keeps equal values apart, without chance
        heights = row - 0.14 - 0.09 * (np.arange(len(found)) % 3)
        axes.plot(found, heights, "o", color=color, markersize=4, alpha=0.5, markeredgewidth=0)
        # the interval of a mean is that of the difference to zero
        mean = paired_difference(dict(enumerate(found)), dict.fromkeys(range(len(found)), 0.0))
        if mean.mean is None:
            continue
        if interval and mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [row + 0.12] * 2, color=color, linewidth=2.2)
        axes.plot(mean.mean, row + 0.12, "D", color=color, markersize=6.5, markeredgecolor="white")
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.grid(axis="y", visible=False)


def _table(group: Sequence[History], column: str) -> tuple[np.ndarray, np.ndarray]:
    """x (T,) and values (runs, T) of a scheduler's completed runs."""
    completed = [h for h in group if h.completed]
    if not completed:
        return np.empty(0), np.empty((0, 0))
    return _progress(completed[0]), np.stack([h.points[column].to_numpy() for h in completed])


def _by_scheduler(runs: Sequence[History]) -> dict[str, list[History]]:
    names = sorted({h.meta["scheduler"] for h in runs}, key=lambda name: (name != LODE, name))
    return {name: [h for h in runs if h.meta["scheduler"] == name] for name in names}


def _percent_of_training(axes: Axes) -> None:
    axes.set_xlim(0, 100)
    axes.set_xlabel("training (% of updates)")


def _legend_above(axes: Axes) -> None:
    """Above the data, where it hides nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=3,
        borderaxespad=0.2,
        handlelength=1.8,
        columnspacing=1.2,
    )
