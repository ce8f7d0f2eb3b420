"""SIGKILL in the middle of a real sweep, then a restart: nothing repeated, nothing lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace
from components.training.history import digest, read_histories
from tests.tiny import TASK, in_this_process, tiny, write_params

RUNS = 8
CHANGES = {
    "sweep__peak_lrs": [0.01, 0.05],
    "training__updates": 3000,  # a run takes a second: long enough to be killed in its middle
    "training__points": 30,
}


def start_sweep(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    params = write_params(folder, **CHANGES)
    return subprocess.Popen(
        [sys.executable, "-m", "components.cli", "sweep", "--params", str(params)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def histories(folder: Path) -> Path:
    return folder / "data" / "histories" / TASK


def finished(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in histories(folder).glob("*.parquet")}


def workers_of(group: int) -> list[int]:
    """Processes of a session that still run (zombies do not)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for left-over workers in /proc")
def test_a_killed_sweep_goes_on_and_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start_sweep(killed)
    deadline = time.monotonic() + 200
    while len(finished(killed)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)  # the parent alone: its workers must notice
    process.wait()
    before = finished(killed)
    assert 2 <= len(before) < RUNS, "killed too early or too late to test anything"
    gone = time.monotonic() + 20
    while workers_of(process.pid) and time.monotonic() < gone:
        time.sleep(0.1)
    assert not workers_of(process.pid), "workers outlive their parent"

    before = finished(killed)  # a worker may have finished its file just before it noticed
    output = finish(start_sweep(killed))
    assert f"{RUNS} runs, 0 diverged, {len(before)} found" in output
    after = finished(killed)
    assert {name: after[name] for name in before} == before, "a finished run was repeated"

    STEPS["sweep"](tiny(**CHANGES), Workspace(whole), in_this_process)
    resumed, uninterrupted = read_histories(histories(killed)), read_histories(histories(whole))
    assert len(resumed) == RUNS
    assert digest(resumed) == digest(uninterrupted)
    for one, other in zip(resumed, uninterrupted, strict=True):
        assert one.points.drop(columns="elapsed_s").equals(other.points.drop(columns="elapsed_s"))
