"""SIGKILL in the middle of a real sweep, then a restart: nothing repeated, nothing lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.training.history import digest, read_histories

PARAMS = Path(__file__).parents[2] / "params.yaml"
RUNS = 8
OPTIONS = [
    "--set",
    "sweep.schedulers=[cosine, onecycle]",
    "--set",
    "sweep.peak_lrs=[0.01, 0.05]",
    "--set",
    "sweep.seeds=[0, 1]",
    "--set",
    "training.updates=300",
    "--set",
    "training.points=30",
    "--set",
    "lode.fit.held_out_seeds=1",
    "--set",
    "training.device=cpu",
]


def start_sweep(folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    shutil.copy(PARAMS, folder)
    command = [sys.executable, "-m", "components.cli", "sweep", *OPTIONS]
    return subprocess.Popen(
        [*command, "--params", str(folder / "params.yaml")],
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
    return folder / "data" / "histories" / "mnist1d-cnn"


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
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start_sweep(whole))

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

    resumed, uninterrupted = read_histories(histories(killed)), read_histories(histories(whole))
    assert len(resumed) == RUNS
    assert digest(resumed) == digest(uninterrupted)
    for one, other in zip(resumed, uninterrupted, strict=True):
        assert one.points.drop(columns="elapsed_s").equals(other.points.drop(columns="elapsed_s"))
