"""The servers of `make serve`: how each is started, and whether it can be used.

All listen on 127.0.0.1 only and use the files of the workspace: Prefect's database is in
`.lode/prefect` (SQLite) or `.lode/postgres`, MLflow's the one that params.yaml names.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import postgres
from processes import Started, started_at

from components.registry.database import make_whole
from components.storage.workspace import Workspace

HOST = "127.0.0.1"
DEPLOYMENTS = Path(__file__).resolve().parents[1] / "prefect.yaml"
START_SECONDS = 180  # the first start migrates two databases
STOP_SECONDS = 1.5  # Ctrl-C is to take no longer than a breath, and their databases bear a SIGKILL
RESTARTS, RESTART_SECONDS = 3, 120  # so many starts within so long are enough
WORKER, SERVER, DATABASE = range(3)  # who is stopped before whom
POOLS = ("cpu", "gpu")


class ServeError(RuntimeError):
    """A server cannot be started or has gone; the message says which and where its log is."""


@dataclass
class Server:
    """One server in a process group of its own, so that it can be stopped with its children.

    Attributes:
        url: its page; empty: it has none.
        healthy: whether it can be used now.
        command, folder, environment, user: how it is started, and as whom (None: oneself).
        stops: who stops first, workers, and last, what others need.
        stop_signal: what makes it stop in good order.
        starts: when it was started (monotonic seconds), oldest first. at: lately (of the epoch).
    """

    name: str
    url: str
    healthy: Callable[[], bool]
    log: Path
    command: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    stops: int = SERVER
    stop_signal: signal.Signals = signal.SIGTERM
    starts: list[float] = field(default_factory=list)
    at: float = 0.0

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
        self.at = started_at(self.process.pid)
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
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what is left of its children
        self.start()
        return True

    @property
    def started(self) -> Started:
        signal_ = signal.SIGKILL if self.stops == WORKER else self.stop_signal
        return Started(self.name, self.process.pid, self.at, signal_, STOP_SECONDS)


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
        stops=DATABASE,
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
        stops=WORKER,
    ).start()


def online(prefect_url: str, pool: str, worker: str) -> bool:
    """Whether Prefect's server has heard of the worker."""
    try:
        found = ask_prefect(prefect_url, f"work_pools/{pool}/workers/filter", {})
    except OSError:
        return False
    return any(one["name"] == worker and one["status"] == "ONLINE" for one in found)


def settle_runs(prefect_url: str, state: str, message: str) -> None:
    """Say of the flow runs whose workers were ended here what became of them; nobody else would."""
    running = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
        "work_pools": {"name": {"any_": POOLS}},
    }
    for run in ask_prefect(prefect_url, "flow_runs/filter", running):
        told = {"state": {"type": state, "message": message}, "force": True}
        ask_prefect(prefect_url, f"flow_runs/{run['id']}/set_state", told)


def ask_prefect(prefect_url: str, route: str, body: dict[str, Any]) -> Any:
    """Raises OSError: no answer."""
    request = urllib.request.Request(
        f"{prefect_url}/api/{route}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


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
