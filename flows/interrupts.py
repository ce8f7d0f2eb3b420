"""Ctrl-C in a flow of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.exceptions import CancelledRun, TerminationSignal

from components.storage.interrupts import undisturbed


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
