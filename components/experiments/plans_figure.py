"""The plans that pilots found beside their sweeps' best schedules, a panel for each setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from components.evaluation.drawing import BLUE, RED, figure, percent_of_training
from components.evaluation.notation import configuration
from components.evaluation.results import PilotResult
from components.experiments.command import PARAMS, Command, ExperimentError, opened
from components.steps.results import read_pilots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 3.6, 3.4  # inches, of a panel


@dataclass(frozen=True)
class Panel:
    """What one panel shows."""

    title: str
    pilots: PilotResult


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
@click.option("--out", type=PARAMS, default=Path("plans.svg"), show_default=True, help="The SVG.")
def main(params: tuple[Path, ...], out: Path) -> None:
    """Draw the plans that pilots found beside the best schedules of their sweeps.

    Reads reports/<task>/pilots.json beside every PARAMS, which `lode pilot` leaves. Writes an SVG
    with a panel for each: learning rate over training. Prints where it is.

    \b
    .venv/bin/python -m components.experiments.plans_figure --out plans.svg R1/params.yaml
    """
    draw([read_panel(path) for path in params], out)
    click.echo(out)


def read_panel(params: Path) -> Panel:
    """One setting's.

    Raises:
        ExperimentError: there were no pilots. SettingsError, WorkspaceError: as of their files.
    """
    settings, workspace = opened(params)
    path = workspace.pilot_summary(settings.task)
    if not path.exists():
        raise ExperimentError(f"{params.parent}: no pilots yet; run `lode pilot --params {params}`")
    pilots = read_pilots(path)
    if pilots.baseline is None:
        raise ExperimentError(
            f"{params.parent}: the pipeline had no pilots; raise pilots.runs in {params} and run "
            f"`lode pilot --params {params}`"
        )
    return Panel(f"{settings.task}, {settings.training.updates:,} updates", pilots)


def draw(panels: Sequence[Panel], out: Path) -> None:
    """Write the SVG; the same panels give the same bytes."""
    size = WIDTH * len(panels), HEIGHT
    with figure(out, *size, nrows=1, ncols=len(panels), squeeze=False) as axes:
        for one, panel in zip(axes[0], panels, strict=True):
            _draw(one, panel)
        axes[0][0].set_ylabel("learning rate")


def _draw(axes: Axes, panel: Panel) -> None:
    pilots, best = panel.pilots, panel.pilots.baseline
    if best is not None:
        name = f"{configuration(best.scheduler, best.peak_lr)}, the sweep's best"
        axes.plot(_share(best.plan), best.plan, color=BLUE, dashes=(4, 2), label=name)
    name = "LODE's plan" if pilots.adopted else "LODE's finalist, refused"
    axes.plot(_share(pilots.finalist), pilots.finalist, color=RED, linewidth=2, label=name)
    axes.set_title(panel.title, fontsize=10)
    percent_of_training(axes)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _share(plan: Sequence[float]) -> np.ndarray:
    """Per cent of training at log points 0..T."""
    return np.linspace(0, 100, len(plan))


if __name__ == "__main__":
    main()
