"""`make serve` for real: both servers up, a flow run seen in both, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "infra/serve.py"
TASK = "mnist1d-cnn"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.acceptance,
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for left-over servers in /proc"),
]
SETTINGS = """
task: mnist1d-cnn
training: {updates: 20, points: 10, train_samples: 200, device: cpu}
sweep: {schedulers: [constant, onecycle], peak_lrs: [0.01], seeds: [0, 1]}
lode: {fit: {updates: 10}, judge: {updates: 20}, scheduler: {mu: 0.3, n: 2}}
evaluation: {seeds: [100, 101], sharpness: none}
"""


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def still_running(sessions: list[int]) -> list[str]:
    """Command lines of the processes of these sessions that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) in sessions and fields[0] != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except (OSError, IndexError, ValueError):
            continue
    return found


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """`make serve` in a folder, once it is up, and what it announced."""
    (folder / "params.yaml").write_text(SETTINGS)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, str(SERVE), "--prefect-port=0", "--mlflow-port=0", *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    announced = folder / ".lode/serve.json"
    until(lambda: process.poll() is not None or pid_in(announced) == process.pid, 200)
    if process.poll() is not None:
        pytest.fail(process.communicate()[0])
    return process, json.loads(announced.read_text())


def pid_in(announced: Path) -> int | None:
    return json.loads(announced.read_text())["pid"] if announced.exists() else None


def until(done: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert done()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A workspace with both servers, started as `make serve` does; its SIGTERM is a test too."""
    folder = tmp_path_factory.mktemp("serve")
    process, facts = start(folder)
    yield folder, facts
    assert still_running(facts["processes"]), "the servers should have been up until now"
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert facts["prefect"] in printed and "stopped" in printed
    # seen with a browser: without this MLflow 3.17 opens on its pages for language models
    assert f"{facts['mlflow']}/#/experiments?workflowType=machine_learning\n" in printed
    assert not (folder / ".lode/serve.json").exists()
    assert still_running(facts["processes"]) == []


@pytest.mark.timeout(600)
def test_a_flow_run_shows_in_both(serving: tuple[Path, dict[str, Any]]) -> None:
    folder, urls = serving
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flows"],
            cwd=folder,
            env=environment,
            timeout=500,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail((error.output or b"").decode())  # how far it got
    printed = done.stdout.decode()
    assert done.returncode == 0, printed
    assert urls["prefect"] in printed

    completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}  # nights are scheduled
    [run] = ask(f"{urls['prefect']}/api/flow_runs/filter", completed)
    assert run["name"] == TASK and run["state_type"] == "COMPLETED"
    artifacts = ask(f"{urls['prefect']}/api/artifacts/filter", {})
    assert {a["key"] for a in artifacts if a["flow_run_id"] == run["id"]} == {
        f"{kind}-{TASK}" for kind in ("result", "figures", "validation")
    }
    api = f"{urls['mlflow']}/api/2.0/mlflow"
    alias = ask(f"{api}/registered-models/alias?name=lode-{TASK}&alias=champion")
    assert alias["model_version"]["version"] == "1"


def test_the_user_interfaces_answer(serving: tuple[Path, dict[str, Any]]) -> None:
    _, urls = serving
    for url in (urls["prefect"], urls["mlflow"]):
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"<html" in answer.read().lower()
    told = ask(f"{urls['mlflow']}/ajax-api/3.0/mlflow/ui-telemetry")
    assert told["disable_ui_telemetry"] is True  # whatever the page's notice says


def preflight(url: str, origin: str) -> str | None:
    """What a browser asks before a page of `origin` may call; the origin it may then call from."""
    request = urllib.request.Request(
        url,
        method="OPTIONS",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            allowed: str | None = answer.headers["Access-Control-Allow-Origin"]
            return allowed
    except urllib.error.HTTPError as refused:
        return refused.headers["Access-Control-Allow-Origin"]


def test_a_page_from_elsewhere_starts_no_flow_run(serving: tuple[Path, dict[str, Any]]) -> None:
    prefect = serving[1]["prefect"]
    local = prefect.replace("127.0.0.1", "localhost")
    url = f"{prefect}/api/flows/"
    assert preflight(url, local) == local and preflight(url, "http://evil.example") is None
    # what a browser sends without asking first is not taken for JSON
    simple = urllib.request.Request(url, b'{"name": "planted"}', {"Content-Type": "text/plain"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(simple, timeout=30)
    assert refused.value.code == 422


def test_a_second_one_says_where_the_first_is(serving: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = serving
    done = subprocess.run([sys.executable, str(SERVE)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert facts["prefect"] in done.stderr and str(facts["pid"]) in done.stderr


@pytest.mark.timeout(600)
def test_what_a_killed_one_leaves_is_ended(tmp_path: Path) -> None:
    """By its guard; and, where that was killed with it, by the next one."""
    first, facts = start(tmp_path, "--no-workers")
    [guard] = [
        p for p in psutil.Process(first.pid).children() if "processes.py" in str(p.cmdline())
    ]
    guard.kill()
    first.kill()
    first.communicate()
    assert still_running(facts["processes"]), "nobody was there to end them"
    second, now = start(tmp_path, "--no-workers")
    assert still_running(facts["processes"]) == []
    second.kill()
    printed, _ = second.communicate()
    assert "stopped what it had left: prefect, mlflow" in printed
    until(lambda: not still_running(now["processes"]), 30)


@pytest.mark.timeout(600)
def test_ctrl_c_cancels_what_its_workers_do(tmp_path: Path) -> None:
    process, facts = start(tmp_path)
    [on_demand] = [
        found["id"]
        for found in ask(f"{facts['prefect']}/api/deployments/filter", {})
        if found["name"] == "on-demand"
    ]
    asked = {"parameters": {"changes": {"updates": 50_000}}}
    run = ask(f"{facts['prefect']}/api/deployments/{on_demand}/create_flow_run", asked)["id"]
    main = psutil.Process(process.pid)
    until(lambda: any("forkserver" in str(p.cmdline()) for p in below(main)), 200)
    everything = below(main)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in printed
    until(lambda: not psutil.wait_procs(everything, timeout=1)[1], 30)  # its guard goes last
    with sqlite3.connect(tmp_path / ".lode/prefect/prefect.db") as prefect:
        found = prefect.execute("select state_name from flow_run where id = ?", (run,)).fetchall()
    assert found == [("Cancelled",)]


def below(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def test_a_server_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    bad = SETTINGS + "registry: {tracking_uri: sqlite:///params.yaml}\n"  # no database
    (tmp_path / "params.yaml").write_text(bad)
    done = subprocess.run(
        [sys.executable, str(SERVE), "--prefect-port=0", "--mlflow-port=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert "mlflow has gone" in done.stderr and "mlflow.log" in done.stderr
    assert "Traceback" not in done.stderr.splitlines()[0]
    assert not (tmp_path / ".lode/serve.json").exists()
