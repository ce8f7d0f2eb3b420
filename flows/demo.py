"""`make demo`: the pipeline under Prefect from the command line, ending with the result table.

Prefect itself is imported only when there is something to do: it takes 10 to 20 s to start.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

import flows  # noqa: F401  telemetry off, before anything else
from components.cli.errors import run
from components.cli.options import read_settings, replaced, settings_options
from components.steps.pipeline import sentence, up_to_date
from components.storage.lock import only_one
from flows.dvc import is_known, is_recorded, record_outputs
from flows.server import prefect_environment, running_server

if TYPE_CHECKING:
    from components.storage.workspace import Workspace

HELP = f"""The whole pipeline: {sentence()}. Steps that are up to date do nothing.

Runs under Prefect, in the server of `make serve` if one is up, else without a server.
"""


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@settings_options
def main(params: Path, overrides: tuple[str, ...]) -> None:
    from components.steps.table import result_table  # pydantic, torch

    settings, workspace = read_settings(params, overrides)
    with only_one(workspace):
        if up_to_date(settings, workspace):
            click.echo("every step is up to date, nothing to do", err=True)
            if not overrides and is_known(workspace, params) and not is_recorded(workspace):
                why = record_outputs(workspace)  # last time it could not
                click.echo(f"dvc commit failed: {why}" if why else "recorded in DVC", err=True)
        else:
            run_flow(params, overrides, workspace)
        click.echo(result_table(settings, workspace))


def run_flow(params: Path, overrides: tuple[str, ...], workspace: Workspace) -> None:
    """Run the flow, quietly: the steps report for themselves, and the server keeps the log."""
    server = running_server(workspace)
    os.environ.update(prefect_environment(workspace, server))
    where = f"in {server['prefect']}" if server else "without a server (`make serve` starts one)"
    click.echo(f"running under Prefect, {where}", err=True)
    from flows.interrupts import reach_server, stopping  # Prefect, with the environment set above
    from flows.parameters import Changes
    from flows.pipeline import pipeline

    reach_server()
    with stopping():
        pipeline(changes=Changes(others=replaced(overrides)), params=params)


def entry() -> None:
    """Entry point of `python -m flows`."""
    run(main, "python -m flows", said_by="pipeline stopped")
