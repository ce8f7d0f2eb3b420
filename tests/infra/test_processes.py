"""What a killed `make serve` leaves is ended with all below it; what only has its number is not."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

FILE = Path(__file__).parents[2] / "infra/processes.py"
# A server with a child in its group, one in a session of its own, and one whose parent has gone.
SERVER = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.Popen({sleep})"])
print("up", flush=True)
time.sleep(600)
"""
# A `make serve`: it writes down what it starts, and has a guard.
SERVING = f"""
import signal, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, {str(FILE.parent)!r})
import processes
path = Path(sys.argv[1])
guard = processes.guard(path)
server = subprocess.Popen([sys.executable, "-c", sys.argv[2]], start_new_session=True)
started = processes.Started("it", server.pid, processes.started_at(server.pid), patience=1.0)
processes.write(path, [[started], []])
time.sleep(600)
"""


@pytest.fixture(scope="module")
def processes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("processes", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["processes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def alive(pids: list[int]) -> list[int]:
    return [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != "zombie"]


def session(leader: int) -> list[int]:
    """Processes below a leader, and those of its session."""
    below = [p.pid for p in psutil.Process(leader).children(recursive=True)]
    return sorted({leader, *below, *(p for p in psutil.pids() if _sid(p) == leader)})


def _sid(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    pids = session(process.pid)
    assert len(pids) == 4
    yield process, pids
    for pid in alive(pids):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_everything_below_a_server_ends(
    processes: ModuleType, server: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    process, pids = server
    one = processes.Started("it", process.pid, processes.started_at(process.pid), patience=1.0)
    processes.write(tmp_path / "p.json", [[one]])
    assert processes.end_written(tmp_path / "p.json") == ["it"]
    assert alive(pids) == []
    assert not (tmp_path / "p.json").exists()


def test_another_with_the_same_number_is_left_alone(
    processes: ModuleType, server: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    process, pids = server
    earlier = processes.Started("it", process.pid, processes.started_at(process.pid) - 60)
    processes.write(tmp_path / "p.json", [[earlier]])
    assert processes.end_written(tmp_path / "p.json") == []
    assert alive(pids) == pids


@pytest.mark.parametrize("content", ["", "{", "[[1]]", '[[{"pid": "x"}]]', "3"])
def test_a_damaged_file_names_nobody(processes: ModuleType, content: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(content)
    assert processes.end_written(tmp_path / "p.json") == []


def test_the_guard_ends_them_when_its_owner_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    owner = subprocess.Popen(
        [sys.executable, "-c", SERVING, str(path), SERVER], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout and owner.stdout.readline() == "up\n"
    pids = [p.pid for p in psutil.Process(owner.pid).children(recursive=True)]
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 60
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(pids) == [], "the servers and the guard itself"
