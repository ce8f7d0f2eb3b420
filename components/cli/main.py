"""`lode …`: the group of all commands. What they need is imported when they run."""

from __future__ import annotations

import click

from components.cli.ablate import ablate_command
from components.cli.errors import run
from components.cli.importing import import_group
from components.cli.learn import learn_command
from components.cli.leave import explain_command, export_command
from components.cli.look import plot_command, report_command, table_command, tasks_command
from components.cli.nightly import (
    histories_group,
    prune_command,
    retrain_command,
    versions_command,
)
from components.cli.promotion import promote_command, rollback_command
from components.cli.steps import COMMANDS
from components.cli.study import ask_command, check_command, status_command, tell_command
from components.steps.pipeline import sentence

HELP = f"""Learned learning-rate schedules: a sweep's histories teach a latent ODE (LODE), which
then schedules new trainings.

\b
The whole pipeline, under Prefect:   make demo
Every night, on all that has come:   lode retrain; then lode versions, promote, rollback

One step at a time, in this order: lode {sentence()}.

A step that finds its finished output does nothing; a killed one goes on where it was.
"""


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lode-pipeline")
def cli() -> None:
    pass


for command in (
    *COMMANDS,
    learn_command,
    import_group,
    check_command,
    ask_command,
    tell_command,
    status_command,
    export_command,
    explain_command,
    ablate_command,
    retrain_command,
    versions_command,
    promote_command,
    rollback_command,
    histories_group,
    prune_command,
    tasks_command,
    plot_command,
    table_command,
    report_command,
):
    cli.add_command(command)


def main() -> None:
    """Entry point of `lode`."""
    run(cli, "lode", said_by="lode")
