"""`make serve`: Prefect, MLflow and a worker for each work pool on this machine, until Ctrl-C.

The deployments of prefect.yaml are made, so that flows can be run from Prefect's page at once.
`.lode/serve.json` tells a flow where to report; it is removed when the servers stop. They stop with
this process, however it ends: `processes.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import postgres
import processes
from filelock import FileLock, Timeout
from servers import (
    DATABASE,
    POOLS,
    SERVER,
    WORKER,
    ServeError,
    Server,
    free_port,
    make_deployments,
    settle_runs,
    start_mlflow,
    start_postgres,
    start_prefect,
    start_worker,
    wait_healthy,
)

import flows  # noqa: F401  telemetry off, before anything else
from components.settings import SettingsError, load
from components.storage.files import write_text
from components.storage.workspace import Workspace

# MLflow's pages open on language models, unless the address or the browser's switch says otherwise.
MLFLOW_PAGE = "/#/experiments?workflowType=machine_learning"


def announcement(workspace: Workspace) -> Path:
    return workspace.state / "serve.json"


def announce(workspace: Workspace, servers: list[Server]) -> None:
    """Tell flows, in `.lode/serve.json`, where the servers are."""
    facts: dict[str, Any] = {server.name: server.url for server in servers if server.url}
    facts |= {
        "pid": os.getpid(),
        "at": processes.started_at(os.getpid()),
        "processes": [server.process.pid for server in servers],
    }
    write_text(announcement(workspace), json.dumps(facts))


@dataclass(frozen=True)
class Options:
    """What to serve; a port that is taken becomes a free one."""

    prefect_port: int
    mlflow_port: int
    database: str
    workers: bool


@contextmanager
def only_server(workspace: Workspace) -> Iterator[None]:
    """The one `make serve` of a workspace; the lock ends with its process, however that ends.

    Raises:
        ServeError: there is one, and where.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(workspace.state / "serve.lock", timeout=0):
            yield
    except Timeout:
        try:
            other = json.loads(announcement(workspace).read_text(encoding="utf-8"))
            where = f"{other['prefect']}, {other.get('mlflow', '')} (process {other['pid']}); stop "
            where += f"it with Ctrl-C or: kill {other['pid']}"
        except (OSError, ValueError, LookupError, TypeError):
            where = "it has only just been started, or is stopping"
        raise ServeError(f"already running: {where}") from None


def serve(workspace: Workspace, tracking_uri: str, options: Options) -> None:
    """Start the servers, say where they are, and stop them when told or when one has gone."""
    servers = Servers(workspace)
    with only_server(workspace), ExitStack() as folders:
        servers.take_over()
        try:
            start_all(servers, workspace, tracking_uri, options, folders)
            for server in servers.all:
                page = MLFLOW_PAGE if server.name == "mlflow" else ""
                click.echo(f"{server.name:10} {server.url + page or 'is up'}")
            click.echo("`make demo` reports here now. Ctrl-C stops everything.")
            watch(workspace, servers)
        finally:
            # a second Ctrl-C must not leave half of them behind
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            announcement(workspace).unlink(missing_ok=True)
            servers.stop()


class Servers:
    """Those that were started, and the file that says so, which only their guard reads beside."""

    def __init__(self, workspace: Workspace) -> None:
        self.all: list[Server] = []
        self.file = workspace.state / "serve" / f"processes-{os.getpid()}.json"

    def take_over(self) -> None:
        """End what another has left that was killed, and see to it that nothing is left of this."""
        files = self.file.parent.glob("processes-*.json")
        left = [name for file in files for name in processes.end_written(file)]
        if left:
            click.echo(
                f"a `make serve` was killed here; stopped what it had left: {', '.join(left)}"
            )
        self.guard = processes.guard(self.file)

    def add(self, server: Server) -> Server:
        self.all.append(server)
        self.write()
        return server

    def write(self) -> None:
        processes.write(self.file, [self._group(stops) for stops in (WORKER, SERVER, DATABASE)])

    def stop(self) -> None:
        """Workers first; what they were doing is cancelled, as nobody does it any more."""
        processes.end(self._group(WORKER))
        prefect = [server for server in self.all if server.name == "prefect"]
        with suppress(OSError):  # it has gone, too
            for server in prefect:
                settle_runs(server.url, "CANCELLED", "`make serve` was stopped")
        for stops in (SERVER, DATABASE):
            processes.end(self._group(stops))
        self.file.unlink(missing_ok=True)

    def _group(self, stops: int) -> list[processes.Started]:
        return [server.started for server in self.all if server.stops == stops]


def start_all(
    servers: Servers,
    workspace: Workspace,
    tracking_uri: str,
    options: Options,
    folders: ExitStack,
) -> None:
    """Start everything in order; what has been started is among `servers`, whatever happens."""
    database = None
    if options.database == "postgresql":
        click.echo("starting PostgreSQL …")
        socket_folder = postgres.socket_folder()
        folders.callback(shutil.rmtree, socket_folder, ignore_errors=True)
        servers.add(start_postgres(workspace, socket_folder))
        wait_healthy(servers.all)
        postgres.create_database(socket_folder, "prefect")
        database = postgres.url(socket_folder, "prefect")
    click.echo("starting the Prefect and MLflow servers …")
    prefect = servers.add(start_prefect(workspace, free_port(options.prefect_port), database))
    if not tracking_uri.startswith("http"):  # else it is a server already
        servers.add(start_mlflow(workspace, free_port(options.mlflow_port), tracking_uri))
    wait_healthy(servers.all)
    settle_runs(prefect.url, "CRASHED", "its worker was killed")
    if options.workers:
        click.echo("making the deployments, starting the workers …")
        make_deployments(workspace, prefect.url)
        for pool in POOLS:
            servers.add(start_worker(workspace, pool, prefect.url))
        wait_healthy(servers.all)


def watch(workspace: Workspace, servers: Servers) -> None:
    """Until a signal comes; what has gone is started again, and is an error if it goes for good."""
    announce(workspace, servers.all)
    parent = os.getppid()
    # make passes no signal on when it is killed; whoever starts this without make may go
    while "MAKELEVEL" not in os.environ or os.getppid() == parent:
        time.sleep(1)
        if any([server.keep_alive() for server in servers.all]):
            servers.write()
            announce(workspace, servers.all)


@click.command()
@click.option(
    "--params",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("params.yaml"),
    show_default=True,
)
@click.option("--prefect-port", default=4200, show_default=True, help="Taken: a free one.")
@click.option("--mlflow-port", default=5000, show_default=True, help="Taken: a free one.")
@click.option(
    "--database",
    type=click.Choice(["sqlite", "postgresql"]),
    default="sqlite",
    show_default=True,
    help="Prefect's; postgresql (the system's package) bears many workers.",
)
@click.option(
    "--workers/--no-workers",
    default=True,
    show_default=True,
    help="Make the deployments and start a worker for each work pool.",
)
def main(params: Path, prefect_port: int, mlflow_port: int, database: str, workers: bool) -> None:
    """Serve Prefect, MLflow and a worker for each work pool on this machine until Ctrl-C."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)  # also where the shell had them ignored (`&`)
    try:
        settings, workspace = load(params), Workspace(params.resolve().parent)
        options = Options(prefect_port, mlflow_port, database, workers)
        serve(workspace, workspace.database(settings.registry.tracking_uri), options)
    except KeyboardInterrupt:
        click.echo("stopped")
    except (ServeError, SettingsError, postgres.PostgresError) as error:
        click.echo(f"serve: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
