"""How far the work is: in a log, on a terminal (a pseudo-terminal), and for who reports of it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time

import pytest

from components.runs import progress as module
from components.runs.progress import Pace, progress, reporting

STEP = """
import time
from components.runs import progress
progress.EVERY_S = 0.5
with progress.progress("sweep digits-mlp", 4) as advance:
    time.sleep(1.2)
    for number in range(3):
        advance(1, f"seed {number}")
        time.sleep(0.4)
"""


def test_in_a_log_it_is_a_line_at_once_and_then_at_intervals() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert done.stdout == ""
    assert lines[:2] == ["sweep digits-mlp: 0 of 4"] * 2, "also while no run has ended"
    assert re.fullmatch(r"sweep digits-mlp: \d of 4, about \d s left; seed \d", lines[-1])


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


class Clock:
    """Stands in for the clock (a mock: else the tests would wait)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_time_left_counts_what_was_done_and_not_what_was_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(100)
    assert str(pace) == "0 of 100"
    for _ in range(20):  # finished runs, read
        clock.now += 0.01
        pace.advance(1, "")
    assert pace.left is None
    for _ in range(10):
        clock.now += 30
        pace.advance(1, "onecycle 0.05 seed 3: 0.9321")
    assert pace.left == pytest.approx(70 * 30)
    assert str(pace) == "30 of 100, about 35 min left; onecycle 0.05 seed 3: 0.9321"


def test_what_a_checkpoint_had_is_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(4000)
    clock.now = 5
    pace.advance(2000, "from the checkpoint")
    clock.now = 15
    pace.advance(100, "")
    assert pace.left == pytest.approx(190)


class Listener:
    """Hears what is said; `enough` once there are `count` lines."""

    def __init__(self, count: int) -> None:
        self.lines: list[str] = []
        self.count, self.enough = count, threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) >= self.count:
            self.enough.set()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)


@pytest.mark.usefixtures("often")
def test_who_reports_is_told_at_once_and_again_of_the_innermost_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say = Listener(3)
    with reporting(say), progress("pilot", 4) as advance:
        advance(1, "constant 0.1 seed 0")
        assert say.enough.wait(30)
        inner = Listener(3)
        say.count, say.enough = len(say.lines) + 3, inner.enough
        with progress("fit", 9):
            assert say.enough.wait(30)
    assert say.lines[0] == "0 of 4", "before anything is done"
    assert "1 of 4; constant 0.1 seed 0" in say.lines and "0 of 9" in say.lines
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("often")
def test_work_that_counts_nothing_says_for_how_long() -> None:
    say = Listener(2)
    with reporting(say):
        assert say.enough.wait(30)
    assert say.lines[0] == "at work for 0 s"


def test_nothing_is_said_afterwards() -> None:
    say = Listener(1)
    with reporting(say):
        pass
    with progress("sweep", 4) as advance:
        advance(1, "")
    assert say.lines == []
