"""`make serve`: the Prefect server and the MLflow server on this machine, until Ctrl-C.

Both listen on 127.0.0.1 only and use the files of the workspace: Prefect's database is
`.lode/prefect`, MLflow's the database that params.yaml names. `.lode/serve.json` tells a flow where
to report; it is removed when the servers stop.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import flows  # noqa: F401  telemetry off, before anything else
from components.files import write_text
from components.settings import SettingsError, load
from components.steps import tracking_uri
from components.workspace import Workspace
from flows.__main__ import running_server

HOST = "127.0.0.1"
START_SECONDS = 180  # the first start migrates two databases
STOP_SECONDS = 15


class ServeError(RuntimeError):
    """A server cannot be started or has gone; the message says which and where its log is."""


@dataclass
class Server:
    """One server in a process group of its own, so that it can be stopped with its children."""

    name: str
    url: str
    health: str
    process: subprocess.Popen[bytes]
    log: Path

    def check_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            end = self.log.read_text(errors="replace").strip().splitlines()[-15:]
            raise ServeError(
                f"{self.name} has gone (exit code {code}); the end of {self.log}:\n    "
                + "\n    ".join(end)
            )

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.health, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM to the whole group, SIGKILL to what is left of it after a while."""
        self._signal(signal.SIGTERM)
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


def start(name: str, workspace: Workspace, port: int, health: str, command: list[str],
          **environment: str) -> Server:  # fmt: skip
    """Start a server of the environment, its output in `.lode/serve/<name>.log`."""
    log = workspace.state / "serve" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--host", HOST, "--port", str(port)],
            cwd=workspace.root, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    return Server(name, f"http://{HOST}:{port}", health, process, log)


def start_prefect(workspace: Workspace, port: int) -> Server:
    return start(
        "prefect", workspace, port, "/api/health", ["prefect", "server", "start"],
        PREFECT_HOME=str(workspace.state / "prefect"),
        PREFECT_SERVER_UI_API_URL=f"http://{HOST}:{port}/api",
    )  # fmt: skip


def start_mlflow(workspace: Workspace, port: int, tracking_uri: str) -> Server:
    return start(
        "mlflow", workspace, port, "/health",
        ["mlflow", "server", "--workers", "1", "--backend-store-uri", tracking_uri,
         "--default-artifact-root", workspace.artifacts.as_uri()],
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # jobs of its LLM features
    )  # fmt: skip


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


@contextmanager
def announced(workspace: Workspace, servers: list[Server]) -> Iterator[None]:
    """`.lode/serve.json` for as long as the servers are up."""
    path = workspace.state / "serve.json"
    facts: dict[str, Any] = {server.name: server.url for server in servers}
    facts |= {"pid": os.getpid(), "processes": [server.process.pid for server in servers]}
    write_text(path, json.dumps(facts))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def serve(workspace: Workspace, tracking_uri: str, prefect_port: int, mlflow_port: int) -> None:
    """Start the servers, say where they are, and stop them when told or when one has gone."""
    other = running_server(workspace)
    if other:
        raise ServeError(
            f"already running: {other['prefect']}, {other.get('mlflow', '')} (process "
            f"{other['pid']}); stop it with Ctrl-C or: kill {other['pid']}"
        )
    servers: list[Server] = []
    try:
        click.echo("starting the Prefect and MLflow servers …")
        servers.append(start_prefect(workspace, free_port(prefect_port)))
        if not tracking_uri.startswith("http"):  # else it is a server already
            servers.append(start_mlflow(workspace, free_port(mlflow_port), tracking_uri))
        wait_healthy(servers)
        with announced(workspace, servers):
            for server in servers:
                click.echo(f"{server.name:8} {server.url}")
            click.echo("`make demo` reports here now. Ctrl-C stops both.")
            while True:
                time.sleep(1)
                for server in servers:
                    server.check_alive()
    finally:
        # a second Ctrl-C must not leave half of them behind
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for server in servers:
            server.stop()


@click.command()
@click.option("--params", type=click.Path(dir_okay=False, path_type=Path),
              default=Path("params.yaml"), show_default=True)  # fmt: skip
@click.option("--prefect-port", default=4200, show_default=True, help="Taken: a free one.")
@click.option("--mlflow-port", default=5000, show_default=True, help="Taken: a free one.")
def main(params: Path, prefect_port: int, mlflow_port: int) -> None:
    """Serve the Prefect and the MLflow user interface on this machine until Ctrl-C."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)  # also where the shell had them ignored (`&`)
    try:
        settings, workspace = load(params), Workspace(params.resolve().parent)
        serve(workspace, tracking_uri(settings, workspace), prefect_port, mlflow_port)
    except KeyboardInterrupt:
        click.echo("stopped")
    except (ServeError, SettingsError) as error:
        click.echo(f"serve: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
