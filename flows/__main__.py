"""`make demo`: the pipeline under Prefect from the command line, ending with the result table.

Prefect itself is imported only when there is something to do: it takes 10 to 20 s to start.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

import flows  # noqa: F401  telemetry off, before anything else
from components.cli.main import expected_errors, read_settings, settings_options
from components.storage.lock import only_one

if TYPE_CHECKING:
    from components.storage.workspace import Workspace


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options
def main(params: Path, overrides: tuple[str, ...]) -> None:
    """Sweep, validate, fit, register, train, evaluate; steps that are up to date do nothing.

    Runs under Prefect, in the server of `make serve` if one is up, else without a server.
    """
    from components.steps import all_steps as steps

    settings, workspace = read_settings(params, overrides)
    with only_one(workspace):
        if steps.up_to_date(settings, workspace):
            click.echo("every step is up to date, nothing to do", err=True)
        else:
            run_flow(params, overrides, workspace)
        click.echo(steps.result_table(settings, workspace))


def run_flow(params: Path, overrides: tuple[str, ...], workspace: Workspace) -> None:
    """Run the flow, quietly: the steps report for themselves, and the server keeps the log."""
    server = running_server(workspace)
    os.environ.update(prefect_environment(workspace, server))
    click.echo(
        f"running under Prefect, in {server['prefect']}"
        if server
        else "running under Prefect, without a server (`make serve` starts one)",
        err=True,
    )
    from flows.parameters import Changes
    from flows.pipeline import pipeline

    # read_settings has checked them
    pairs = (override.partition("=") for override in overrides)
    others = {key.strip(): yaml.safe_load(value) for key, _, value in pairs}
    pipeline(changes=Changes(others=others), params=params)


def prefect_environment(workspace: Workspace, server: dict[str, Any] | None) -> dict[str, str]:
    """What Prefect must find set when it is imported; what the caller has set stays."""
    ours = {
        "PREFECT_HOME": str(workspace.state / "prefect"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # progress bars stay readable
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 20 is too short when new
    }
    if server:
        ours["PREFECT_API_URL"] = f"{server['prefect']}/api"
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def running_server(workspace: Workspace) -> dict[str, Any] | None:
    """What `make serve` wrote to `.lode/serve.json`, if its Prefect server answers."""
    try:
        server = json.loads((workspace.state / "serve.json").read_text(encoding="utf-8"))
        with urllib.request.urlopen(f"{server['prefect']}/api/health", timeout=5):
            return dict(server)
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return None


def entry() -> None:
    """Run `main`; an error with a message for the user is one line, any other a traceback."""
    try:
        main(prog_name="python -m flows", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped; finished runs are kept, start again to go on", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except expected_errors() as error:
        if not type(error).__module__.startswith(("components.", "flows.")):
            raise
        click.echo(f"pipeline stopped: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    entry()
