"""`lode sweep`, `validate`, …: a command for every step, and `lode train --scheduler …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.cli.options import (
    RATE,
    SEED,
    check_folder,
    read_settings,
    refuse_given,
    settings_options,
)
from components.schedulers.names import SCHEDULERS
from components.steps.pipeline import PIPELINE
from components.steps.step import Step
from components.storage.lock import only_one

if TYPE_CHECKING:
    from components.settings import Settings
    from components.storage.workspace import Workspace

TRAIN_HELP = "With --scheduler: train one network, and keep its history and its best weights."


def run_step(step: Step, settings: Settings, workspace: Workspace) -> None:
    step.check_reads(settings, workspace)  # before anything is written, as the lock is
    with only_one(workspace):
        result = step(settings, workspace)
    click.echo(f"{step.name} {settings.task}: {result.summary} ({result.timing})")


def step_command(step: Step) -> click.Command:
    """The command of a step that takes nothing but settings."""

    @click.command(step.name, help=step.help)
    @settings_options
    def command(params: Path, overrides: tuple[str, ...]) -> None:
        run_step(step, *read_settings(params, overrides))

    return command


def train_command(step: Step) -> click.Command:
    """The command of the step `train`, which trains a single network too."""

    @click.command(step.name, help=f"{step.help}\n\n{TRAIN_HELP}")
    @settings_options
    @click.option("--scheduler", type=click.Choice(SCHEDULERS), help="Train one network under it.")
    @click.option("--task", help="What to train.  [default: params.yaml]")
    @click.option("--peak-lr", type=RATE, help="Peak (or initial) lr.  [default: the sweep's best]")
    @click.option("--seed", type=SEED, default=0, show_default=True)
    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("runs"),
        show_default=True,
        help="Folder for its history and weights.",
    )
    @click.pass_context
    def command(
        context: click.Context,
        params: Path,
        overrides: tuple[str, ...],
        scheduler: str | None,
        task: str | None,
        peak_lr: float | None,
        seed: int,
        out: Path,
    ) -> None:
        one = scheduler is not None
        settings, workspace = read_settings(params, overrides, task, one_run=one)
        if scheduler is None:
            refuse_given(
                context,
                ("peak_lr", "seed", "out"),
                "only with --scheduler, for one network; the step trains what params.yaml says",
            )
            return run_step(step, settings, workspace)
        check_folder(out)
        from components.runs.single import single_run  # torch

        click.echo(single_run(settings, workspace, scheduler, peak_lr, seed, out))

    return command


COMMANDS = [
    train_command(step) if step.name == "train" else step_command(step) for step in PIPELINE
]
