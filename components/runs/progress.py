"""How far the work is: a bar on a terminal; elsewhere, as in a log, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
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

EVERY_S = 30.0  # between two lines
_FOUND_WITHIN_S = 1.0  # units done in so short a time were found, not done

Advance = Callable[[int, str], None]
Say = Callable[[str], None]


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
        if units and (self._found is None or now - self._began < _FOUND_WITHIN_S):
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
        left = "" if self.left is None else f", about {duration(self.left)} left"
        return f"{self.done} of {self.total}{left}" + (f"; {cut(self.note)}" if self.note else "")


@dataclass(frozen=True)
class _Report:
    """Who is told, and of what: the paces under way, the innermost last."""

    say: Say
    paces: list[Pace] = field(default_factory=list)


_report: ContextVar[_Report | None] = ContextVar("report", default=None)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show how many of `total` units are done, and how long the others will take.

    Call the yielded function with (units done since, a short note). On a terminal it is a bar on
    stderr; elsewhere lines on stderr, unless somebody is `reporting`, who is told then.
    """
    if sys.stderr.isatty():
        with _bar(title, total) as drawn, _counted(total) as count:
            yield lambda units, note: (count(units, note), drawn(units, note))[0]
    elif _report.get() is None:
        with reporting(lambda how_far: _print(f"{title}: {how_far}")), _counted(total) as count:
            yield count
    else:
        with _counted(total) as count:
            yield count


@contextmanager
def reporting(say: Say) -> Iterator[None]:
    """While the work inside goes on, say how far it is: as it begins, then every `EVERY_S`.

    Args:
        say: called from a thread with `12 of 40, about 3 min left; …`, or where the work counts
            nothing, `at work for 2 min`.
    """
    report, ended, began = _Report(say), Event(), time.monotonic()

    def repeat() -> None:
        while not ended.wait(EVERY_S):
            innermost = report.paces[-1:]  # in one go: the work goes on
            at_work = f"at work for {duration(time.monotonic() - began)}"
            say(str(innermost[0]) if innermost else at_work)

    thread = Thread(target=repeat, name="progress", daemon=True)
    token = _report.set(report)
    thread.start()
    try:
        yield
    finally:
        _report.reset(token)
        ended.set()
        thread.join()


@contextmanager
def _counted(total: int) -> Iterator[Advance]:
    report = _report.get()
    if report is None or total == 0:
        yield lambda units, note: None
        return
    pace = Pace(total)
    if not report.paces:
        report.say(str(pace))
    report.paces.append(pace)
    try:
        yield pace.advance
    finally:
        report.paces.remove(pace)


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
        yield lambda units, note: bar.update(task, advance=units, note=note)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
