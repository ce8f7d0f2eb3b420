"""An ablation's figures: what every run came to, and how the variants' runs went (Figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.drawing import (
    BLUE,
    COLUMN,
    GREY,
    INK,
    RED,
    WIDE,
    figure,
    log_scale,
    percent_of_training,
    progress,
)
from components.evaluation.metric import Metric
from components.experiments.ablation_results import AblationResult, Runs, VariantResult
from components.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the variants beside the full setting, which is red as LODE is everywhere: by colour and dash.
LOOKS = (
    ("#0b7a5a", "--"),
    ("#b07400", "-."),
    ("#7b4ea3", ":"),
    ("#2f6f9f", (0, (5, 1, 1, 1, 1, 1))),
    (GREY, (0, (1, 1))),
)
WALLTIME = "walltime"  # the ablation that is of seconds, not of the metric
LEAST_RATE = 1e-4  # of the top: OneCycle's last rate is next to zero


def strip_path(folder: Path, found: AblationResult) -> Path:
    """What every run came to."""
    return folder / f"{found.key}.svg"


def runs_path(folder: Path, found: AblationResult) -> Path:
    """How they went."""
    return folder / f"{found.key}-runs.svg"


def draw(found: AblationResult, runs: Runs, reference: Sequence[History], folder: Path) -> None:
    """Both figures; of the one that is of seconds only the first, as its runs are the others'."""
    strips(found, strip_path(folder, found))
    if found.name != WALLTIME:
        course(found, runs, reference, runs_path(folder, found))


def strips(found: AblationResult, path: Path) -> None:
    """A row per variant: every run's test metric, or share of decisions, and the mean."""
    rows = found.variants
    with figure(path, COLUMN, 0.8 + 0.42 * len(rows)) as axes:
        for i, row in enumerate(rows):
            _strip(axes, i, _values(found, row), RED if row.full else INK)
        if found.name == WALLTIME:
            axes.set_xlabel("share of an epoch in which the scheduler decides (%)")
            axes.set_xlim(left=0)
        else:
            _reference(axes, found)
            axes.set_xlabel(found.shown.axis("test"))
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)


def _values(found: AblationResult, row: VariantResult) -> list[float]:
    if found.name == WALLTIME:
        mean = row.decision_share.mean
        return [] if mean is None else [100 * mean]
    factor = found.shown.factor
    return [factor * value for value in row.test_by_seed.values() if value is not None]


def _strip(axes: Axes, row: int, values: Sequence[float], color: str) -> None:
    if not values:
        return
    heights = row - 0.08 * (np.arange(len(values)) % 3)  # equal values stay apart, without chance
    axes.plot(values, heights, "o", color=color, markersize=4, alpha=0.45, markeredgewidth=0)
    axes.plot(np.mean(values), row + 0.16, "D", color=color, markersize=6, markeredgecolor="white")


def _reference(axes: Axes, found: AblationResult) -> None:
    mean = found.reference.test.mean
    if mean is None:
        return
    x = found.shown.factor * mean
    axes.axvline(x, color=BLUE, linewidth=1.4, linestyle="--", zorder=1)
    low, high = axes.get_xlim()
    axes.annotate(
        f"{found.reference.name}, the sweep's best",
        (x, 1),
        xytext=(0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=BLUE,
        ha="right" if x > (low + high) / 2 else "left",  # so that it stays within the axes
    )


def course(found: AblationResult, runs: Runs, reference: Sequence[History], path: Path) -> None:
    """Training loss, validation metric and learning rate, mean over the seeds of each variant."""
    metric = found.shown
    full, *others = runs
    looks: dict[str, tuple[str, Any]] = {full: (RED, "-"), found.reference.name: (BLUE, "-")}
    looks |= {name: LOOKS[i % len(LOOKS)] for i, name in enumerate(others)}
    panels = (
        ("train_loss", "training loss"),
        ("val_metric", metric.axis("val.")),
        ("lr", "learning rate"),
    )
    drawn = {**runs, found.reference.name: reference}
    with figure(path, WIDE, 6.6, nrows=3, sharex=True) as all_axes:
        for axes, (column, name) in zip(all_axes, panels, strict=True):
            for variant, own in drawn.items():
                _mean_line(axes, variant, own, column, looks[variant], metric)
            axes.set_ylabel(name)
            if column != "val_metric":
                log_scale(axes, LEAST_RATE)
        percent_of_training(all_axes[-1])
        all_axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, handlelength=2.2)


def _mean_line(
    axes: Axes,
    name: str,
    runs: Sequence[History],
    column: str,
    look: tuple[str, Any],
    metric: Metric,
) -> None:
    color, dash = look
    completed = [one for one in runs if one.completed]
    if not completed:
        return
    values = np.stack([one.points[column].to_numpy() for one in completed])
    if column == "val_metric":
        mean = metric.factor * values.mean(0)
    else:  # of the logarithm, as its axis is one
        mean = np.exp(np.log(np.maximum(values, 1e-12)).mean(0))
    axes.plot(
        progress(completed[0]),
        mean,
        color=color,
        linestyle=dash,
        linewidth=2.0 if dash == "-" else 1.3,  # the two that the others are held against
        label=name,
    )
