"""Ctrl-C, as a terminal sends it: to the command and to every process it has started."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny import write_params

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for what is left in /proc"),
]
DEMO, SWEEP = ("-m", "flows"), ("-m", "components.cli", "sweep")
LONG = {"training__updates": 20_000, "pilots__runs": 0, "baselines__schedulers": []}


def interrupt(folder: Path, command: tuple[str, ...], after: str, wait: float) -> tuple[int, str]:
    """Start a command, wait for a line that has `after` and some seconds, press Ctrl-C."""
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, *command],  # a background job ignores it
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    said = ""
    while after not in said:
        line = process.stdout.readline()
        assert line, f"ended before {after!r}: {said}"
        said += line
    time.sleep(wait)
    os.killpg(process.pid, signal.SIGINT)
    try:
        rest, _ = process.communicate(timeout=30)  # which waits for all that hold its output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said + rest


# While Prefect is imported, while its server starts, while the fork server imports, while training.
@pytest.mark.parametrize(
    ("after", "wait"),
    [("running under", 0.5), ("running under", 5), ("8 runs: 0 of 8", 0.5), ("sweep ", 12)],
)
def test_the_demo_ends_without_a_traceback(after: str, wait: float, tmp_path: Path) -> None:
    write_params(tmp_path, **LONG)
    code, said = interrupt(tmp_path, DEMO, after, wait)
    assert (code, said.splitlines()[-1]) == (
        130,
        "stopped; finished runs are kept, start again to go on",
    ), said
    assert "Traceback" not in said and "Error" not in said
    if after.startswith("sweep"):
        database = f"file:{tmp_path / '.lode/prefect/prefect.db'}?mode=ro"
        with sqlite3.connect(database, uri=True) as prefect:
            for runs in ("flow_run", "task_run"):
                states = prefect.execute(f"select state_name from {runs}").fetchall()
                assert states == [("Cancelled",)], runs


def test_so_does_a_step(tmp_path: Path) -> None:
    write_params(tmp_path, **LONG)
    code, said = interrupt(tmp_path, SWEEP, "sweep digits-mlp: 0", 8)
    assert code == 130 and said.splitlines()[-1].startswith("stopped; finished runs are kept")
    assert "Traceback" not in said
