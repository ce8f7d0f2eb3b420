"""What is said of work under way where no terminal shows a bar."""

from __future__ import annotations

import threading
import time

import pytest

from components.runs.progress import Pace, progress, reporting


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
    assert str(pace) == "0 of 100, time left not known yet"
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


def said_while(work: object, count: int) -> list[str]:
    """The first lines that `reporting` says while `work` is under way."""
    lines: list[str] = []
    enough = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) >= count:
            enough.set()

    with reporting(say, every=0.01):
        if work is None:
            assert enough.wait(30)
        else:
            with progress("sweep", 4) as advance:
                advance(1, "constant 0.1 seed 0")
                assert enough.wait(30)
    return lines


def test_a_line_comes_again_and_again_though_nothing_is_finished() -> None:
    lines = said_while("counted", 3)
    counted = [line for line in lines if "at work" not in line]  # said before the first unit
    assert counted[-1].startswith("1 of 4, ") and counted[-1].endswith("; constant 0.1 seed 0")


def test_work_that_counts_nothing_says_for_how_long() -> None:
    assert said_while(None, 2)[0] == "at work for 0 s"


def test_nothing_is_said_afterwards_or_of_work_elsewhere() -> None:
    lines: list[str] = []
    with reporting(lines.append, every=1000):
        pass
    with progress("sweep", 4) as advance:
        advance(1, "")
    assert lines == []
