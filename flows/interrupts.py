"""Ctrl-C in a flow of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from prefect import State, Task
from prefect.client.orchestration import get_client
from prefect.exceptions import CancelledRun, TerminationSignal
from prefect.states import Cancelled

from components.storage.interrupts import undisturbed

P = ParamSpec("P")
R = TypeVar("R")


def stopped() -> State[Any]:
    """How a run ends in which Ctrl-C was pressed; Prefect would take it for a crash."""
    return Cancelled(message="stopped with Ctrl-C; finished runs are kept")


class Stoppable(Task[P, R]):
    """A task that returns `stopped()` where Ctrl-C was pressed in it, and so stops its flow."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # six overloads
        result: Any = super().__call__(*args, **kwargs)
        if isinstance(result, State):
            raise KeyboardInterrupt
        return result


def reach_server() -> None:
    """Start the server that a flow run without one reports to, where Ctrl-C does not reach it.

    It must outlive the flow run, whose end it is told. It takes seconds to start, in which Ctrl-C
    is heard all the same.
    """

    def start() -> None:
        with undisturbed():
            get_client(sync_client=True)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join()


@contextmanager
def stopping() -> Iterator[None]:
    """A flow run that was stopped inside (Ctrl-C, SIGTERM) ends its process as Ctrl-C does."""
    try:
        yield
    except (CancelledRun, TerminationSignal):
        raise KeyboardInterrupt from None
