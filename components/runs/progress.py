"""How far the work is: bars on a terminal, lines for whoever sees none, silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Thread

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from components.evaluation.notation import duration
from components.storage.shown import cut

EVERY = 30.0  # seconds between two lines
_FOUND_WITHIN = 1.0  # seconds; units done in so short a time were found, not done
# What is under way where somebody reports of it, the innermost last.
_under_way: ContextVar[list[Pace] | None] = ContextVar("under_way", default=None)


class Pace:
    """Units done of `total`, and how long the others may take."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.note = total, 0, ""
        self._began = self._counted_from = time.monotonic()
        self._found: int | None = None

    def advance(self, units: int, note: str) -> None:
        """`units` more are done; `note` says what is going on."""
        now = time.monotonic()
        self.done, self.note = self.done + units, note
        # the first may be a checkpoint's, and so many
        if units and (self._found is None or now - self._began < _FOUND_WITHIN):
            self._found, self._counted_from = self.done, now

    @property
    def left(self) -> float | None:
        """Seconds, as if all units took as long as those so far; None: too few are done."""
        worked = self.done - (self._found or 0)
        if worked <= 0:
            return None
        return (time.monotonic() - self._counted_from) / worked * (self.total - self.done)

    def __str__(self) -> str:
        """`40 of 100, about 3 min left; onecycle 0.05 seed 3: 0.9321`."""
        left = (
            "time left not known yet" if self.left is None else f"about {duration(self.left)} left"
        )
        return f"{self.done} of {self.total}, {left}" + (f"; {cut(self.note)}" if self.note else "")


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Count `total` units; call the yielded function with (units done since, a short note).

    Drawn on stderr if that is a terminal; `reporting` tells of it elsewhere.
    """
    pace, paces = Pace(total), _under_way.get()
    paces = [] if paces is None else paces
    paces.append(pace)
    try:
        if sys.stderr.isatty():
            with _bar(title, pace) as advance:
                yield advance
        else:
            yield pace.advance
    finally:
        paces.remove(pace)


@contextmanager
def _bar(title: str, pace: Pace) -> Iterator[Callable[[int, str], None]]:
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
        task = bar.add_task(title, total=pace.total, note="")

        def advance(units: int, note: str) -> None:
            pace.advance(units, note)
            bar.update(task, advance=units, note=note)

        yield advance


@contextmanager
def reporting(say: Callable[[str], None], every: float = EVERY) -> Iterator[None]:
    """While the work inside goes on, say every so many seconds how far it is.

    Args:
        say: called from a thread with `12 of 40, about 3 min left; …`, or where the work counts
            nothing, `at work for 2 min`.
        every: seconds, between two calls and before the first.
    """
    ended, began = Event(), time.monotonic()
    paces: list[Pace] = []

    def repeat() -> None:
        while not ended.wait(every):
            innermost = paces[-1:]  # in one go: the work goes on
            at_work = f"at work for {duration(time.monotonic() - began)}"
            say(str(innermost[0]) if innermost else at_work)

    thread = Thread(target=repeat, name="progress", daemon=True)
    token = _under_way.set(paces)
    thread.start()
    try:
        yield
    finally:
        _under_way.reset(token)
        ended.set()
        thread.join()
