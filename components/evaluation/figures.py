"""The report's figures, each one entry of `FIGURES`, drawn from histories into one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from components.evaluation import captions, latent_space
from components.evaluation.captions import Caption
from components.evaluation.curves import curves
from components.evaluation.drawing import (
    COLUMN,
    GREY,
    INK,
    ORANGE,
    RED,
    SHADE,
    WIDE,
    End,
    Files,
    figure,
    legend_above,
    log_scale,
    looks,
    name_lines,
    percent_of_training,
    progress,
)
from components.evaluation.metric import Metric
from components.evaluation.notation import configuration
from components.evaluation.order import LINES, SHOWN, shown_first
from components.evaluation.results import Evaluation, PilotResult
from components.evaluation.rows import Rows
from components.evaluation.shared import named, together
from components.evaluation.sharpness_figure import sharpness_over_training
from components.evaluation.strips import intervals, strips
from components.evaluation.sweep_figure import sweep_overview
from components.evaluation.trajectories import Trajectories
from components.schedulers.names import LODE, label
from components.training.history import History

ACCURACY = Metric()


@dataclass(frozen=True)
class Drawn:
    """What figures are drawn from: the evaluation, the runs behind each row of its table, and a
    run's prediction where there is one."""

    evaluation: Evaluation
    rows: Rows
    trajectories: Trajectories | None = None

    @property
    def metric(self) -> Metric:
        return self.evaluation.shown

    def groups(self, most: int = SHOWN) -> dict[str, tuple[str, ...]]:
        """The rows that a figure has room for, best first; those of the same runs under one."""
        same, shown = together(self.evaluation), shown_first(self.evaluation, most)
        found = {next(one for one in same if row in same[one]): row for row in shown}
        return {first: same[first] for first in found}


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the report.

    Attributes:
        name: of its file, after its number. section: of the page.
        draw: writes it to files; nothing where it has no data.
        wide: alone on its line.
    """

    name: str
    section: str
    draw: Callable[[Drawn, Files], None]
    caption: Callable[[Evaluation], Caption]
    wide: bool = False


def figure_path(folder: Path, name: str, suffix: str = ".svg") -> Path:
    """`<folder>/03-learning-rates.svg` of `learning_rates`: in the report's order, by which DVC and
    MLflow sort them too."""
    number = [entry.name for entry in FIGURES].index(name) + 1
    return folder / f"{number:02}-{name.replace('_', '-')}{suffix}"


def draw(drawn: Drawn, folder: Path, pngs: Path) -> None:
    """Write every figure as SVG to its `figure_path` in one folder and as PNG in another; figures
    of a former evaluation go."""
    for old in (*folder.glob("*.svg"), *pngs.glob("*.png")):
        old.unlink()
    for entry in FIGURES:
        paths = figure_path(folder, entry.name), figure_path(pngs, entry.name, ".png")
        entry.draw(drawn, paths)


def captioned(evaluation: Evaluation, folder: Path) -> dict[str, Caption]:
    """By name, the captions of the figures that were drawn into a folder."""
    return {
        entry.name: entry.caption(evaluation)
        for entry in FIGURES
        if figure_path(folder, entry.name).exists()
    }


def learning_rates(drawn: Drawn, path: Files) -> None:
    """Learning rate over training: every LODE run against the best baseline (paper, Figure 4);
    schedules that are equal to the bit are one line."""
    best, rows = drawn.evaluation.best_baseline, drawn.rows
    same = together(drawn.evaluation)[LODE]
    styles = looks([best, LODE])
    with figure(path, WIDE, 3.2) as axes:
        ends = []
        for row in (best, LODE):
            if row == best and best in same:
                continue  # LODE's line is its line
            found, own = _distinct_rates(rows[row]), row == LODE
            name = named(same) if own else label(best)
            if own and len(found) > 1:
                name += f"\n({len(found)} schedules)"
            for run in found:
                width = 0.8 if own and len(found) > 1 else 2.0
                axes.plot(progress(run), run.points["lr"], color=styles[row].color, linewidth=width)
            if found:
                last = float(np.median([run.points["lr"].iloc[-1] for run in found]))
                ends.append(End(last, name, styles[row].color))
        log_scale(axes, 3e-5)
        percent_of_training(axes)
        axes.set_ylabel("learning rate")
        name_lines(axes, ends)


def _distinct_rates(runs: Sequence[History]) -> list[History]:
    """Of the completed runs, one for each schedule."""
    return list(
        {run.points["lr"].to_numpy().tobytes(): run for run in runs if run.completed}.values()
    )


def plans(drawn: Drawn, path: Files) -> None:
    """The finalists of the pilots, the plan and the sweep's best schedule, over training."""
    if drawn.evaluation.pilots:
        draw_plans(drawn.evaluation.pilots, path)


def draw_plans(pilots: PilotResult, path: Files) -> None:
    with figure(path, WIDE, 3.2) as axes:
        ends = []

        def plot(plan: Sequence[float], name: str, color: str, width: float) -> None:
            axes.plot(np.linspace(0, 100, len(plan)), plan, color=color, linewidth=width)
            ends.append(End(plan[-1], name, color))

        others = [one.plan for one in pilots.finalists if one.plan != pilots.plan]
        for plan in others:
            plot(plan, "finalists", GREY, 0.9)
        ends[:] = ends[-1:]  # one name for all of them
        if best := pilots.baseline:
            name = configuration(best.scheduler, best.peak_lr)
            plot(best.plan, name, looks([best.scheduler])[best.scheduler].color, 2.0)
        if pilots.adopted:
            plot(pilots.plan, "LODE's plan", RED, 2.0)
        percent_of_training(axes)
        axes.set_ylabel("learning rate")
        axes.set_ylim(bottom=0)
        name_lines(axes, ends)


def expectations(drawn: Drawn, path: Files) -> None:
    """What each LODE run's decisions expected of the plan in force; nothing without decisions."""
    metric = drawn.metric
    told = [
        (history, [d for d in history.meta.get("decisions") or [] if d["predicted"] is not None])
        for history in drawn.rows[LODE]
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


def over_training(column: str, drawn: Drawn, path: Files) -> None:
    """`train_loss` or `val_metric` of every row, one line for those of the same runs."""
    groups = drawn.groups(LINES)
    rows = {first: drawn.rows[first] for first in groups}
    names = {first: named(same) for first, same in groups.items()}
    curves(rows, names, column, path, drawn.metric)


def test_metrics(drawn: Drawn, path: Files) -> None:
    """Final test metric of every run, with the mean and its 95 % interval."""
    metric, entries = drawn.metric, drawn.evaluation.schedulers
    values = {
        first: [metric.factor * v for v in entries[first].test_by_seed.values() if v is not None]
        for first in drawn.groups()
    }
    strips(values, _names(drawn), path, metric.titled("test"))


def differences(drawn: Drawn, path: Files) -> None:
    """LODE minus every other row, with its 95 % interval; in the signs of the table."""
    metric, pairs = drawn.metric, drawn.evaluation.comparisons[LODE]
    own = together(drawn.evaluation)[LODE]
    shown = {row: pairs[row] for row in drawn.groups() if row not in own and pairs[row].n}
    if shown:
        what = f"LODE minus it, test {metric.name}" + (" (points)" if metric.percent else "")
        intervals(shown, _names(drawn), path, what, metric.factor)


def sharpnesses(drawn: Drawn, path: Files) -> None:
    """λ_max at the end of every run, with the mean; nothing where none was measured.

    A log axis, because schedulers differ by orders of magnitude; an interval of the arithmetic
    mean has no place on it.
    """
    values = {
        first: [s["lambda_max"] for run in drawn.rows[first] if (s := run.meta.get("sharpness"))]
        for first in drawn.groups()
    }
    if any(values.values()):
        what = "sharpness λₘₐₓ at the end"
        strips(values, _names(drawn), path, what, interval=False, log=True)


def sharpness_on_the_way(drawn: Drawn, path: Files) -> None:
    rows = {first: drawn.rows[first] for first in drawn.groups(LINES)}
    sharpness_over_training(rows, _names(drawn), path)


def swept(drawn: Drawn, path: Files) -> None:
    sweep_overview(drawn.evaluation.sweep.configurations, path, drawn.metric)


def predicted(share: int, drawn: Drawn, path: Files) -> None:
    """From the first `share` per cent; nothing where there is no prediction."""
    if drawn.trajectories and share in drawn.trajectories.predicted:
        observed, values = drawn.trajectories.predicted[share]
        trajectory(drawn.trajectories.history, values, observed, path, drawn.metric)


def trajectory(
    history: History,
    predicted: np.ndarray,
    observed: int,
    path: Files,
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
            axes.axvspan(0, x[observed - 1], color=SHADE, linewidth=0)
            axes.plot(x, truth, color=INK, linewidth=1.6)
            axes.plot(x, expected, linewidth=1.6, **dashed)
            if not metric:
                log_scale(axes, 1e-5)
            axes.set_ylabel(name)
        percent_of_training(all_axes[-1])
        ends = [End(truth[-1], "observed", INK), End(float(expected[-1]), "predicted", ORANGE)]
        name_lines(all_axes[-1], ends)


def latents(drawn: Drawn, path: Files) -> None:
    """Where the LODE finds runs to be (paper, Figure A1)."""
    found = drawn.trajectories
    if found is not None and found.latents is not None:
        latent_space.draw(found.latents, path, drawn.metric)


def histories_over_training(histories: Sequence[History], path: Path) -> None:
    """Train loss, validation metric and learning rate of a few runs, one above the other."""
    panels = (
        ("train_loss", "training loss", "log"),
        ("val_metric", f"validation {Metric.of(histories).name}", None),
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


def _names(drawn: Drawn) -> dict[str, str]:
    return {first: named(same) for first, same in drawn.groups().items()}


# In the report's order, which is the one of the files' names too. Another figure is an entry.
FIGURES = (
    FigureEntry("test", "results", test_metrics, captions.test),
    FigureEntry("differences", "results", differences, captions.differences),
    FigureEntry("sharpness", "results", sharpnesses, captions.sharpness),
    FigureEntry("learning_rates", "schedules", learning_rates, captions.learning_rates, wide=True),
    FigureEntry("plans", "schedules", plans, captions.plans, wide=True),
    FigureEntry(
        "train_loss", "training", partial(over_training, "train_loss"), captions.train_loss
    ),
    FigureEntry(
        "val_metric", "training", partial(over_training, "val_metric"), captions.val_metric
    ),
    FigureEntry(
        "sharpness_over_training",
        "training",
        sharpness_on_the_way,
        captions.sharpness_over_training,
        wide=True,
    ),
    FigureEntry("expectations", "lode", expectations, captions.expectations, wide=True),
    FigureEntry(
        "trajectories_5", "lode", partial(predicted, 5), partial(captions.trajectory, share=5)
    ),
    FigureEntry(
        "trajectories_50", "lode", partial(predicted, 50), partial(captions.trajectory, share=50)
    ),
    FigureEntry("latent_space", "lode", latents, captions.latent_space, wide=True),
    FigureEntry("sweep", "sweep", swept, captions.sweep, wide=True),
)
