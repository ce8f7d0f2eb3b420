"""Two computations that do not need each other, at once: one here, one in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

from joblib import cpu_count

from components.runs.processes import kill_children, processes
from components.runs.progress import Advance

DIED = "a process that computes beside this one was killed (out of memory?); start again to go on"
LOOK_S = 0.2  # between looks at the other one, once this one is done

Here = TypeVar("Here")
There = TypeVar("There")


def side_by_side(
    here: Callable[[Advance], Here], there: Callable[[Advance], There], advance: Advance
) -> tuple[Here, There]:
    """What both return, in the time of the longer; on a machine with one core one after the other.

    Args:
        here: computes in this process and tells its progress now and then, at which that of `there`
            is heard, and how it has failed. there: a module's function, or a `partial` of one, on
            one thread of a process that ends with this one; picklable, as is what it returns.
        advance: is told of the progress of both.

    Raises:
        WorkerDiedError: the process was killed. Besides whatever one of both raises, which ends the
            other.
    """
    if cpu_count() == 1:  # which knows a container's quota, too
        return here(advance), there(advance)
    ours, theirs = Pipe(duplex=False)
    with ours, processes(1, DIED, partial(_tell_through, theirs)) as executor:
        other = executor.submit(_computed, there)
        theirs.close()  # the process has its own: where that ends, there is no more to hear
        try:
            return here(_hearing(other, ours, advance)), _awaited(other, ours, advance)
        except Exception:
            kill_children()
            raise


def _hearing(other: Future[There], told: Connection, advance: Advance) -> Advance:
    def both(units: int, note: str) -> None:
        advance(units, note)
        _hear(told, advance)
        if other.done():
            other.result()  # which raises what went wrong

    return both


def _awaited(other: Future[There], told: Connection, advance: Advance) -> There:
    while not wait([other], LOOK_S).done:
        _hear(told, advance)
    _hear(told, advance)
    return other.result()


def _hear(told: Connection, advance: Advance) -> None:
    try:
        while told.poll():
            advance(*told.recv())
    except EOFError:  # it has ended
        pass


# ------------------------------------------------------------- in the other process

_told: Connection  # where it tells its progress


def _tell_through(connection: Connection) -> None:
    global _told
    _told = connection


def _computed(there: Callable[[Advance], There]) -> There:
    return there(lambda units, note: _told.send((units, note)))
