"""Real servers for the tests: `make serve` on PostgreSQL, with workers, and questions to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Seconds for a flow run that takes 60 to 180: CI's machine may be a slow one, or a busy one.
PATIENCE = 500
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}


def ask(url: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for a true value and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


def kill_session(pid: int) -> None:
    """SIGKILL to a process and all that it started, in sessions of their own, too: a machine that
    has lost its power. (Prefect's worker starts every flow run in one; it would go on.)"""
    doomed, sessions = {pid}, {pid}
    while True:
        found = {
            one
            for one, (parent, session) in _parents_and_sessions().items()
            if one not in doomed and (parent in doomed or session in sessions)
        }
        if not found:
            break
        doomed |= found
        sessions |= found
    for one in doomed:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _parents_and_sessions() -> dict[int, tuple[int, int]]:
    """Of every process on this machine."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            found[int(entry.name)] = int(fields[1]), int(fields[3])
    return found


@dataclass
class Production:
    """A workspace in which everything of `make serve` is up."""

    root: Path
    facts: dict[str, Any]
    process: subprocess.Popen[str]

    @property
    def prefect(self) -> str:
        return str(self.facts["prefect"])

    @property
    def api(self) -> str:
        return f"{self.prefect}/api"

    def start(self, deployment: str, **parameters: Any) -> str:
        """A new flow run's id, as the page's button makes one."""
        found = ask(f"{self.api}/deployments/name/{deployment}")
        run = ask(
            f"{self.api}/deployments/{found['id']}/create_flow_run", {"parameters": parameters}
        )
        return str(run["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(ask(f"{self.api}/flow_runs/{run_id}"))

    def end_of(self, run_id: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The flow run when it has ended; if it does not, the error says how far everything got."""

        def ended() -> dict[str, Any] | None:
            try:
                run = self.run(run_id)
            except OSError:  # the server is being restarted
                return None
            return run if run["state_type"] in FINAL else None

        try:
            return dict(until(ended, seconds, f"the end of flow run {run_id}"))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def everything(self) -> str:
        """State and last lines of every flow run, and what the machine is doing."""
        lines = [f"load {os.getloadavg()}"]
        try:
            runs = self.runs()
        except OSError as error:  # it may be the server that hangs
            return f"{lines[0]}, and Prefect does not answer: {error}"
        for run in runs:
            if run["state_type"] != "SCHEDULED" or run["start_time"]:
                lines += [f"== {run['name']} {run['id']}: {run['state_name']}, {run['start_time']}"]
                lines += self.log(run["id"]).splitlines()[-15:]
        return "\n".join(lines)

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        return list(ask(f"{self.api}/flow_runs/filter", {"flow_runs": filters}))

    def log(self, run_id: str) -> str:
        asked = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
        return "\n".join(line["message"] for line in ask(f"{self.api}/logs/filter", asked))

    def wait_for_log(self, run_id: str, text: str, seconds: float = 60) -> None:
        """A run's lines reach the server in batches, the last ones after the run's end."""
        until(lambda: text in self.log(run_id), seconds, f"{text!r} in the log of {run_id}")

    def wait_until_idle(self, seconds: float = PATIENCE) -> None:
        """No flow run is under way, a failed run's other shards included."""
        busy = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
        until(lambda: not self.runs(state=busy), seconds, "the end of all flow runs")

    def worker(self, pool: str, name: str) -> subprocess.Popen[bytes]:
        """One more worker, in a session of its own."""
        log = (self.root / f"{name}.log").open("wb")
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "prefect",
                "worker",
                "start",
                "--type",
                "process",
                "--pool",
                pool,
                "--name",
                name,
                "--limit",
                "1",
            ],
            cwd=self.root,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={
                **clean_environment(),
                "PREFECT_API_URL": self.api,
                "PREFECT_HOME": str(self.root / f"{name}-home"),
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "LODE_WORKSPACE": str(self.root),
            },
        )

    def server_pid(self, name: str) -> int:
        """Of one of the servers, as it runs now."""
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if name == "postgres" and f"{self.root}/.lode/postgres" in command:
                return int(entry.name)
            if name == "mlflow" and f"sqlite:///{self.root}/mlflow.db" in command:
                return int(entry.name)
        raise AssertionError(f"no {name} runs")


def serve(folder: Path, settings: str) -> Production:
    (folder / "params.yaml").write_text(settings)
    shutil.copy(ROOT / ".gitignore", folder)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "--quiet"), ("add", "-A"), (*author, "commit", "--quiet", "-m", "x")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "infra/serve.py"),
            "--database=postgresql",
            "--prefect-port=0",
            "--mlflow-port=0",
        ],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    announced = folder / ".lode/serve.json"
    deadline = time.monotonic() + 280
    while not announced.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    if not announced.exists():
        process.terminate()
        raise AssertionError(process.communicate()[0])
    return Production(folder, json.loads(announced.read_text()), process)
