"""How far a step is, in a log and on a terminal (a pseudo-terminal)."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from components.runs.progress import FOUND_S, Pace, duration

STEP = """
import time
from components.runs import progress
progress.EVERY_S = 0.5
with progress.progress("sweep digits-mlp", 4) as advance:
    time.sleep(1.2)
    for number in range(3):
        advance(1, f"seed {number}")
    time.sleep(0.8)
"""


def test_in_a_log_it_is_a_line_at_once_and_then_at_intervals() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert done.stdout == ""
    assert lines[:2] == ["sweep digits-mlp: 0 of 4"] * 2, "also while no run has ended"
    assert re.fullmatch(r"sweep digits-mlp: 3 of 4, \d s left; seed 2", lines[-1])
    assert 4 <= len(lines) <= 6


def test_a_step_with_nothing_to_do_says_nothing() -> None:
    code = "from components.runs.progress import progress\nwith progress('sweep', 0): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_on_a_terminal_it_is_a_bar_with_the_time_left() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", STEP], stderr=theirs, env={**os.environ, "COLUMNS": "120"}
    )
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other side has closed it
                break
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "3/4" in text and "left" in text and "seed 2" in text


def test_the_time_left_follows_from_what_was_made_not_from_what_was_found() -> None:
    pace = Pace(100, started=0.0)
    assert pace.said(0.0) == "0 of 100"
    pace.advance(80, "found", FOUND_S / 2)
    assert pace.said(10.0) == "80 of 100; found"
    pace.advance(10, "onecycle 0.05", 20.0)
    assert pace.said(20.0) == "90 of 100, 20 s left; onecycle 0.05"
    pace.advance(10, "last", 40.0)
    assert pace.said(40.0) == "100 of 100, 0 s left; last"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (130, "2 min 10 s"), (11_100, "3 h 5 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
