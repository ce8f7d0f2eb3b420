"""The report's figures, each drawn from histories into one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.drawing import (
    BLUE,
    COLUMN,
    GREY,
    INK,
    ORANGE,
    RED,
    WIDE,
    Look,
    figure,
    legend_above,
    log_scale,
    looks,
    percent_of_training,
    progress,
)
from components.evaluation.metric import Metric
from components.evaluation.notation import configuration
from components.evaluation.result_tables import ranked
from components.evaluation.results import Evaluation, PilotResult
from components.evaluation.rows import Rows
from components.evaluation.statistics import paired_difference
from components.evaluation.sweep_figure import sweep_overview
from components.evaluation.trajectories import Trajectories
from components.schedulers.names import LODE, label
from components.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACY = Metric()
# In the report's order, which is the one of the files' names too: DVC and MLflow sort by them.
NAMES = (
    "test",
    "sharpness",
    "learning_rates",
    "plans",
    "train_loss",
    "val_metric",
    "expectations",
    "trajectories_5",
    "trajectories_50",
    "sweep",
)


def figure_path(folder: Path, name: str) -> Path:
    """`<folder>/03-learning-rates.svg` of `learning_rates`."""
    return folder / f"{NAMES.index(name) + 1:02}-{name.replace('_', '-')}.svg"


def draw(
    evaluation: Evaluation, rows: Rows, trajectories: Trajectories | None, folder: Path
) -> None:
    """Write every figure to its `figure_path`; figures of a former evaluation go.

    Args:
        rows: the runs behind each row of the table.
    """
    for old in folder.glob("*.svg"):
        old.unlink()
    best, order, metric = evaluation.best_baseline, ranked(evaluation), evaluation.shown
    learning_rates(rows, best, figure_path(folder, "learning_rates"))
    for column in ("train_loss", "val_metric"):
        curves(rows, column, best, figure_path(folder, column), metric)
    tests = {row: list(evaluation.schedulers[row].test_by_seed.values()) for row in order}
    test_metrics(tests, best, figure_path(folder, "test"), metric)
    sharpness = {row: [run.meta.get("sharpness") for run in rows[row]] for row in order}
    values = {row: [one["lambda_max"] for one in all_ if one] for row, all_ in sharpness.items()}
    if any(values.values()):
        sharpnesses(values, best, figure_path(folder, "sharpness"))
    if evaluation.pilots:
        plans(evaluation.pilots, figure_path(folder, "plans"))
    expectations(rows[LODE], figure_path(folder, "expectations"), metric)
    sweep_overview(evaluation.sweep.configurations, figure_path(folder, "sweep"), metric)
    if trajectories:
        for share, (observed, predicted) in trajectories.predicted.items():
            path = figure_path(folder, f"trajectories_{share}")
            trajectory(trajectories.history, predicted, observed, path, metric)


def learning_rates(rows: Mapping[str, Sequence[History]], best_baseline: str, path: Path) -> None:
    """Learning rate over training: every LODE run against the best baseline (paper, Figure 4)."""
    drawn = (
        (rows[best_baseline], label(best_baseline), {"color": BLUE, "linewidth": 2.4, "alpha": 1}),
        (
            rows[LODE],
            f"{label(LODE)} ({len(rows[LODE])} runs)",
            {"color": RED, "linewidth": 0.8, "alpha": 0.85},
        ),
    )
    with figure(path, WIDE, 3.2) as axes:
        for runs, name, look in drawn:
            for i, run in enumerate(runs):
                shown = name if i == 0 else None
                axes.plot(progress(run), run.points["lr"], label=shown, **look)
        log_scale(axes, 3e-5)
        percent_of_training(axes)
        axes.set_ylabel("learning rate")
        legend_above(axes)


def plans(pilots: PilotResult, path: Path) -> None:
    """The finalists of the pilots, the plan and the sweep's best schedule, over training."""
    with figure(path, WIDE, 3.2) as axes:

        def plot(plan: Sequence[float], **look: Any) -> None:
            axes.plot(np.linspace(0, 100, len(plan)), plan, **look)

        for i, finalist in enumerate(pilots.finalists):
            plot(finalist.plan, color=GREY, linewidth=0.9, label="finalists" if i == 0 else None)
        if best := pilots.baseline:
            name = f"{configuration(best.scheduler, best.peak_lr)}, the sweep's best"
            plot(best.plan, color=BLUE, linewidth=2.0, label=name)
        if pilots.adopted:
            plot(pilots.plan, color=RED, linewidth=2.0, label="the plan")
        percent_of_training(axes)
        axes.set_ylabel("learning rate")
        axes.set_ylim(bottom=0)
        legend_above(axes)


def expectations(runs: Sequence[History], path: Path, metric: Metric = ACCURACY) -> None:
    """What each LODE run's decisions expected of the plan in force; nothing without decisions."""
    told = [
        (history, [d for d in history.meta.get("decisions") or [] if d["predicted"] is not None])
        for history in runs
    ]
    told = [(history, decisions) for history, decisions in told if decisions]
    if not told:
        return
    with figure(path, WIDE, 3.0) as axes:
        for history, decisions in told:
            x = [100 * d["point"] / history.meta["points"] for d in decisions]
            y = [metric.factor * d["predicted"] for d in decisions]
            axes.plot(x, y, color=RED, linewidth=0.8, alpha=0.6)
            moved = [i for i, d in enumerate(decisions) if d["kept"] is None]
            axes.plot([x[i] for i in moved], [y[i] for i in moved], "o", color=RED, markersize=3)
        percent_of_training(axes)
        axes.set_ylabel(metric.axis("predicted final\nvalidation"))


def curves(
    rows: Mapping[str, Sequence[History]],
    column: str,
    best_baseline: str,
    path: Path,
    shown: Metric = ACCURACY,
) -> None:
    """`train_loss` or `val_metric` over training: mean and ± 1 std band per row of the table.

    Of the loss they are taken of its logarithm, as the axis is logarithmic.
    """
    styles, metric = looks(list(rows), best_baseline), column == "val_metric"
    late: list[float] = []
    with figure(path, COLUMN, 3.4) as axes:
        for name in sorted(rows, key=lambda row: row != LODE):  # LODE first in the legend
            completed = [h for h in rows[name] if h.completed]
            if not completed:
                continue
            values = np.stack([h.points[column].to_numpy() for h in completed])
            band = _band(values, shown if metric else None)
            _plot_band(axes, name, progress(completed[0]), band, styles[name], best_baseline)
            late += [*band[0][len(band[0]) // 4 :]]
        if metric:
            axes.set_ylabel(shown.axis("validation"))
            # the first quarter's climb would flatten the differences that matter
            bottom, top = axes.get_ylim()
            bottom, top = (
                (bottom, max(late, default=top))
                if shown.lower
                else (min(late, default=bottom), top)
            )
            lowest, highest = (0.0, 100.0) if shown.percent else (-np.inf, np.inf)
            axes.set_ylim(max(lowest, bottom), min(highest, top))
        else:
            axes.set_ylabel("training loss")
            axes.set_yscale("log")
        percent_of_training(axes)
        legend_above(axes)


def _band(values: np.ndarray, metric: Metric | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low, mean and high (T,) of values (runs, T); of the logarithm where it is no metric."""
    # a band of ± 1 std of the logarithm stays positive on a log axis
    values = metric.factor * values if metric else np.log(np.maximum(values, 1e-12))
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1 if len(values) > 1 else 0)
    if metric:
        return mean - std, mean, mean + std
    return np.exp(mean - std), np.exp(mean), np.exp(mean + std)


def _plot_band(
    axes: Axes,
    name: str,
    x: np.ndarray,
    band: tuple[np.ndarray, np.ndarray, np.ndarray],
    look: Look,
    best_baseline: str,
) -> None:
    low, mean, high = band
    axes.plot(
        x,
        mean,
        color=look.color,
        linestyle=look.dash,
        label=label(name),
        zorder=3 if name == LODE else 2,
    )
    alpha = 0.16 if name in (LODE, best_baseline) else 0.07
    axes.fill_between(x, low, high, color=look.color, alpha=alpha, linewidth=0)


def test_metrics(
    values: Mapping[str, Sequence[float | None]], best: str, path: Path, metric: Metric = ACCURACY
) -> None:
    """Final test metric of every run, with the mean and its 95 % interval; rows as given."""
    shown = {
        row: [metric.factor * v for v in found if v is not None] for row, found in values.items()
    }
    with figure(path, COLUMN, 0.9 + 0.5 * len(shown)) as axes:
        _strips(axes, shown, looks(list(shown), best))
        axes.set_xlabel(metric.axis("test"))


def sharpnesses(values: Mapping[str, Sequence[float]], best: str, path: Path) -> None:
    """λ_max at the end of every run, with the mean; rows as given.

    A log axis, because schedulers differ by orders of magnitude; an interval of the arithmetic
    mean has no place on it.
    """
    with figure(path, COLUMN, 0.9 + 0.5 * len(values)) as axes:
        _strips(axes, values, looks(list(values), best), interval=False)
        axes.set_xlabel("sharpness λₘₐₓ at the end")
        if min(value for found in values.values() for value in found) > 0:
            axes.set_xscale("log")


def trajectory(
    history: History,
    predicted: np.ndarray,
    observed: int,
    path: Path,
    shown: Metric = ACCURACY,
) -> None:
    """A run as it was and as the LODE predicts it from its first points (paper, Figure 2).

    Args:
        history: the run.
        predicted: array (T, 3) of train loss, validation metric and learning rate at its points.
        observed: number of points the LODE has seen; they are shaded.
    """
    panels = (
        ("train_loss", "training loss", predicted[:, 0]),
        ("lr", "learning rate", predicted[:, 2]),
        ("val_metric", shown.axis("val."), shown.factor * predicted[:, 1]),
    )
    x, dashed = progress(history), {"color": ORANGE, "linestyle": "--"}
    with figure(path, COLUMN, 5.0, nrows=3, sharex=True) as all_axes:
        for axes, (column, name, expected) in zip(all_axes, panels, strict=True):
            metric = column == "val_metric"
            truth = (shown.factor if metric else 1) * history.points[column].to_numpy()
            axes.axvspan(0, x[observed - 1], color="#eceff2", linewidth=0)
            axes.plot(x, truth, color=INK, linewidth=1.6, label="observed")
            axes.plot(x, expected, linewidth=1.6, label="LODE's prediction", **dashed)
            if not metric:
                log_scale(axes, 1e-5)
            axes.set_ylabel(name)
        percent_of_training(all_axes[-1])
        legend_above(all_axes[0])


def histories_over_training(histories: Sequence[History], path: Path) -> None:
    """Train loss, validation metric and learning rate of a few runs, one above the other."""
    panels = (
        ("train_loss", "training loss", "log"),
        ("val_metric", "validation metric", None),
        ("lr", "learning rate", "log"),
    )
    with figure(path, WIDE, 6.0, nrows=3, sharex=True) as all_axes:
        for axes, (column, name, scale) in zip(all_axes, panels, strict=True):
            for history in histories:
                sign = history.metric_sign if column == "val_metric" else 1
                values = sign * history.points[column]
                axes.plot(progress(history), values, label=history.describe())
            axes.set_ylabel(name)
            if scale:
                axes.set_yscale(scale)
        percent_of_training(all_axes[-1])
        legend_above(all_axes[0])


def _strips(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    styles: Mapping[str, Look],
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
