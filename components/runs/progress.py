"""How far a step is: a bar on a terminal; elsewhere, as in a log, a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY_S = 30.0  # between two lines
FOUND_S = 1.0  # what is done as soon as this was there before, and says nothing about the pace

Advance = Callable[[int, str], None]


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show how many of `total` units are done, and how long the others will take.

    Call the yielded function with (units done since, a short note). Goes to stderr.
    """
    shown = _bar if sys.stderr.isatty() else _lines
    with shown(title, total) as advance:
        yield advance


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda advance, note: bar.update(task, advance=advance, note=note)


@contextmanager
def _lines(title: str, total: int) -> Iterator[Advance]:
    """One at once, so that a log says what is being done, and one every `EVERY_S`, done or not."""
    if total == 0:
        yield lambda advance, note: None
        return
    pace, ended = Pace(total), threading.Event()

    def tell() -> None:
        while True:
            print(f"{title}: {pace.said(time.monotonic())}", file=sys.stderr, flush=True)
            if ended.wait(EVERY_S):
                return

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield lambda advance, note: pace.advance(advance, note, time.monotonic())
    finally:
        ended.set()
        teller.join()


class Pace:
    """What is done of `total` units, and from that the time left; times in seconds."""

    def __init__(self, total: int, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.total, self.done, self.found, self.note = total, 0, 0, ""

    def advance(self, units: int, note: str, now: float) -> None:
        self.done, self.note = self.done + units, note
        if now - self.started < FOUND_S:
            self.found = self.done

    def said(self, now: float) -> str:
        """`34 of 100, 2 min 10 s left; onecycle 0.05 seed 3: 0.9321`."""
        made = self.done - self.found
        seconds = (self.total - self.done) * (now - self.started) / made if made else None
        left = "" if seconds is None else f", {duration(seconds)} left"
        return f"{self.done} of {self.total}{left}" + (f"; {self.note}" if self.note else "")


def duration(seconds: float) -> str:
    """`45 s`, `2 min 10 s`, `3 h 5 min`: the two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
