"""Two computations at once: what comes back, what is told, and every way in which one may end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from components.lode.errors import LODEError
from components.runs import side_by_side as module
from components.runs.processes import WorkerDiedError
from components.runs.progress import Advance
from components.runs.side_by_side import side_by_side

ROOT = Path(__file__).parents[2]
LONG_S = 120.0  # beyond what a test waits for
Told = list[tuple[int, str]]


# ------------------------------------------------------------- what the other process does


def count(name: str, steps: int, advance: Advance) -> tuple[str, int]:
    for step in range(steps):
        advance(1, f"{name} {step}")
    return name, os.getpid()


def fail(advance: Advance) -> None:
    raise LODEError("the judge's loss is no longer finite")


def be_killed(advance: Advance) -> None:
    advance(1, "before")
    os.kill(os.getpid(), signal.SIGKILL)


def take_long(advance: Advance) -> None:
    advance(1, str(os.getpid()))
    time.sleep(LONG_S)


# ------------------------------------------------------------- here


def until(told: Told, number: int, advance: Advance) -> None:
    """Tells progress until so much was heard."""
    deadline = time.monotonic() + LONG_S / 2
    while len(told) < number and time.monotonic() < deadline:
        advance(0, "waiting")
        told[:] = [one for one in told if one != (0, "waiting")]
        time.sleep(0.01)


def test_both_results_and_the_progress_of_both() -> None:
    told: Told = []
    (ours, here), (theirs, there) = side_by_side(
        partial(count, "a", 3), partial(count, "b", 2), lambda *one: told.append(one)
    )
    assert (ours, theirs) == ("a", "b") and here == os.getpid() != there
    assert sorted(told) == [(1, "a 0"), (1, "a 1"), (1, "a 2"), (1, "b 0"), (1, "b 1")]


def test_on_one_core_one_after_the_other_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_count", lambda: 1)
    told: Told = []
    found = side_by_side(
        partial(count, "a", 1), partial(count, "b", 1), lambda *one: told.append(one)
    )
    assert found == (("a", os.getpid()), ("b", os.getpid()))
    assert told == [(1, "a 0"), (1, "b 0")]


@pytest.mark.parametrize(("there", "error"), [(fail, LODEError), (be_killed, WorkerDiedError)])
def test_what_happens_to_the_other_is_heard_at_the_next_progress(
    there: module.Callable[[Advance], None], error: type[Exception]
) -> None:
    def here(advance: Advance) -> None:
        until([], 1, advance)
        pytest.fail("went on to the end")

    with pytest.raises(error, match=r"no longer finite|killed"):
        side_by_side(here, there, lambda *_: None)


@pytest.mark.parametrize(("there", "error"), [(fail, LODEError), (be_killed, WorkerDiedError)])
def test_or_at_the_end(there: module.Callable[[Advance], None], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"no longer finite|killed"):
        side_by_side(lambda advance: None, there, lambda *_: None)


def test_an_error_here_ends_the_other_at_once() -> None:
    told: Told = []

    def here(advance: Advance) -> None:
        until(told, 1, advance)
        raise LODEError("no usable history")

    started = time.monotonic()
    with pytest.raises(LODEError, match="no usable history"):
        side_by_side(here, take_long, lambda *one: told.append(one))
    assert time.monotonic() - started < LONG_S / 2 and not multiprocessing.active_children()
    assert not psutil.pid_exists(int(told[0][1]))


ENDLESS = """
from tests.runs.test_side_by_side import take_long
from components.runs.side_by_side import side_by_side
import time

def here(advance):
    while True:
        advance(0, "")
        time.sleep(0.05)

side_by_side(here, take_long, lambda units, note: units and print(note, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_whatever_ends_this_process_ends_the_other(how: signal.Signals) -> None:
    """SIGKILL reaches this one alone, Ctrl-C the whole group, as a terminal sends it."""
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", ENDLESS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    other = psutil.Process(int(process.stdout.readline()))
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
    _, said = process.communicate(timeout=30)  # which waits for all that hold its output
    assert process.returncode == (-how if how == signal.SIGKILL else -signal.SIGINT), said
    assert said.count("Traceback") <= 1, said  # this script's own of a KeyboardInterrupt
    other.wait(timeout=20)
