"""`make serve`: Prefect, MLflow and a worker for each work pool on this machine, until Ctrl-C.

The servers listen on 127.0.0.1 only and use the files of the workspace: Prefect's database is in
`.lode/prefect` (SQLite) or `.lode/postgres`, MLflow's the one that params.yaml names. The
deployments of prefect.yaml are made, so that flows can be run from Prefect's page at once.
`.lode/serve.json` tells a flow where to report; it is removed when the servers stop.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import postgres

import flows  # noqa: F401  telemetry off, before anything else
from components.registry.database import make_whole
from components.settings import SettingsError, load
from components.storage.files import write_text
from components.storage.workspace import Workspace
from flows.server import running_server

HOST = "127.0.0.1"
DEPLOYMENTS = Path(__file__).resolve().parents[1] / "prefect.yaml"
START_SECONDS = 180  # the first start migrates two databases
STOP_SECONDS = 15
RESTARTS, RESTART_SECONDS = 3, 120  # so many starts within so long are enough


class ServeError(RuntimeError):
    """A server cannot be started or has gone; the message says which and where its log is."""


@dataclass
class Server:
    """One server in a process group of its own, so that it can be stopped with its children.

    Attributes:
        url: its page; empty: it has none.
        healthy: whether it can be used now.
        command, folder, environment, user: how it is started, and as whom (None: oneself).
        stop_signal: what makes it stop in good order.
        starts: when it was started (monotonic seconds), oldest first.
    """

    name: str
    url: str
    healthy: Callable[[], bool]
    log: Path
    command: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    starts: list[float] = field(default_factory=list)

    def start(self) -> Server:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab" if self.starts else "wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                user=self.user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.starts.append(time.monotonic())
        return self

    def check_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            end = self.log.read_text(errors="replace").strip().splitlines()[-15:]
            raise ServeError(
                f"{self.name} has gone (exit code {code}); the end of {self.log}:\n    "
                + "\n    ".join(end)
            )

    def keep_alive(self) -> bool:
        """Start it again if it has gone, but not if it goes again and again; whether it had."""
        if self.process.poll() is None:
            return False
        recent = [t for t in self.starts if time.monotonic() - t < RESTART_SECONDS]
        if len(recent) >= RESTARTS:
            self.check_alive()
        click.echo(f"{self.name} has gone (exit code {self.process.poll()}); starting it again")
        self._signal(signal.SIGKILL)  # what is left of its children
        self.start()
        return True

    def stop(self) -> None:
        """A signal to the whole group, SIGKILL to what is left of it after a while."""
        self._signal(self.stop_signal)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and self._signal(0):
            self.process.poll()  # reaps it, else the group never empties
            time.sleep(0.1)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServeError(f"no free port on {HOST}")


def log_of(workspace: Workspace, name: str) -> Path:
    return workspace.state / "serve" / f"{name}.log"


def module(*arguments: str) -> list[str]:
    """A Python module of this environment as a command."""
    return [sys.executable, "-m", *arguments]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def start_postgres(workspace: Workspace, socket_folder: Path) -> Server:
    data = workspace.state / "postgres"
    postgres.initialise(data)
    return Server(
        "postgres",
        "",
        lambda: postgres.ready(socket_folder),
        log_of(workspace, "postgres"),
        postgres.command(data, socket_folder),
        Path("/"),
        user=postgres.user(),
        stop_signal=signal.SIGINT,  # SIGTERM would wait for its clients to leave
    ).start()


def start_prefect(workspace: Workspace, port: int, database: str | None) -> Server:
    url = f"http://{HOST}:{port}"
    environment = {
        "PREFECT_HOME": str(workspace.state / "prefect"),
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        # Prefect's default is *: any page in this machine's browser could start flow runs
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{url},http://localhost:{port}",
    }
    if database:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    return Server(
        "prefect",
        url,
        lambda: answers(f"{url}/api/health"),
        log_of(workspace, "prefect"),
        module("prefect", "server", "start", "--host", HOST, "--port", str(port)),
        workspace.root,
        environment,
    ).start()


def start_mlflow(workspace: Workspace, port: int, tracking_uri: str) -> Server:
    if tracking_uri.startswith("sqlite:"):
        with suppress(sqlite3.Error, OSError):  # which MLflow itself will say, in its log
            make_whole(Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0]))
    url = f"http://{HOST}:{port}"
    return Server(
        "mlflow",
        url,
        lambda: answers(f"{url}/health"),
        log_of(workspace, "mlflow"),
        module(
            "mlflow",
            "server",
            "--host",
            HOST,
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            tracking_uri,
            "--default-artifact-root",
            workspace.artifacts.as_uri(),
        ),
        workspace.root,
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # jobs of its LLM features
    ).start()


def start_worker(workspace: Workspace, pool: str, prefect_url: str) -> Server:
    """One worker; pool `gpu` trains, so it does one flow run at a time."""
    name = f"{pool}-{socket.gethostname()}-{os.getpid()}"
    limit = ["--limit", "1"] if pool == "gpu" else []
    environment = {
        "PREFECT_API_URL": f"{prefect_url}/api",
        "PREFECT_HOME": str(workspace.state / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "LODE_WORKSPACE": str(workspace.root),
    }
    return Server(
        f"worker-{pool}",
        "",
        lambda: online(prefect_url, pool, name),
        log_of(workspace, f"worker-{pool}"),
        module(
            "prefect",
            "worker",
            "start",
            "--type",
            "process",
            "--pool",
            pool,
            "--name",
            name,
            *limit,
        ),
        workspace.root,
        environment,
    ).start()


def online(prefect_url: str, pool: str, worker: str) -> bool:
    """Whether Prefect's server has heard of the worker."""
    request = urllib.request.Request(
        f"{prefect_url}/api/work_pools/{pool}/workers/filter",
        b"{}",
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return any(w["name"] == worker and w["status"] == "ONLINE" for w in json.load(answer))
    except OSError:
        return False


def make_deployments(workspace: Workspace, prefect_url: str) -> None:
    done = subprocess.run(
        module("flows.deploy", "--prefect-file", str(DEPLOYMENTS)),
        cwd=workspace.root,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PREFECT_API_URL": f"{prefect_url}/api",
            "PREFECT_HOME": str(workspace.state / "prefect"),
        },
    )
    if done.returncode:
        raise ServeError(f"the deployments could not be made: {done.stderr.strip()}")


def wait_healthy(servers: list[Server]) -> None:
    deadline = time.monotonic() + START_SECONDS
    for server in servers:
        while not server.healthy():
            server.check_alive()
            if time.monotonic() > deadline:
                raise ServeError(
                    f"{server.name} did not answer within {START_SECONDS} s; see {server.log}"
                )
            time.sleep(0.3)


def announcement(workspace: Workspace) -> Path:
    return workspace.state / "serve.json"


def announce(workspace: Workspace, servers: list[Server]) -> None:
    """Tell flows, in `.lode/serve.json`, where the servers are."""
    facts: dict[str, Any] = {server.name: server.url for server in servers if server.url}
    facts |= {"pid": os.getpid(), "processes": [server.process.pid for server in servers]}
    write_text(announcement(workspace), json.dumps(facts))


@dataclass(frozen=True)
class Options:
    """What to serve; a port that is taken becomes a free one."""

    prefect_port: int
    mlflow_port: int
    database: str
    workers: bool


def serve(workspace: Workspace, tracking_uri: str, options: Options) -> None:
    """Start the servers, say where they are, and stop them when told or when one has gone."""
    other = running_server(workspace)
    if other:
        raise ServeError(
            f"already running: {other['prefect']}, {other.get('mlflow', '')} (process "
            f"{other['pid']}); stop it with Ctrl-C or: kill {other['pid']}"
        )
    servers: list[Server] = []
    folders = ExitStack()
    try:
        start_all(servers, workspace, tracking_uri, options, folders)
        for server in servers:
            click.echo(f"{server.name:10} {server.url or 'is up'}")
        click.echo("`make demo` reports here now. Ctrl-C stops everything.")
        watch(workspace, servers)
    finally:
        announcement(workspace).unlink(missing_ok=True)
        # a second Ctrl-C must not leave half of them behind
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for server in reversed(servers):
            server.stop()
        folders.close()


def start_all(
    servers: list[Server],
    workspace: Workspace,
    tracking_uri: str,
    options: Options,
    folders: ExitStack,
) -> None:
    """Start everything in order; what has been started is in `servers`, whatever happens."""
    database = None
    if options.database == "postgresql":
        click.echo("starting PostgreSQL …")
        socket_folder = postgres.socket_folder()
        folders.callback(shutil.rmtree, socket_folder, ignore_errors=True)
        servers.append(start_postgres(workspace, socket_folder))
        wait_healthy(servers)
        postgres.create_database(socket_folder, "prefect")
        database = postgres.url(socket_folder, "prefect")
    click.echo("starting the Prefect and MLflow servers …")
    prefect = start_prefect(workspace, free_port(options.prefect_port), database)
    servers.append(prefect)
    if not tracking_uri.startswith("http"):  # else it is a server already
        servers.append(start_mlflow(workspace, free_port(options.mlflow_port), tracking_uri))
    wait_healthy(servers)
    if options.workers:
        click.echo("making the deployments, starting the workers …")
        make_deployments(workspace, prefect.url)
        servers.extend(start_worker(workspace, pool, prefect.url) for pool in ("cpu", "gpu"))
        wait_healthy(servers)


def watch(workspace: Workspace, servers: list[Server]) -> None:
    """Until a signal comes; what has gone is started again, and is an error if it goes for good."""
    announce(workspace, servers)
    while True:
        time.sleep(1)
        if any([server.keep_alive() for server in servers]):
            announce(workspace, servers)


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
