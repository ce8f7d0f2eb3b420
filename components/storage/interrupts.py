"""Ctrl-C, which a terminal sends to every process of a command, the servers it started included."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Processes and threads started within never hear of Ctrl-C: whoever started them ends them.

    The mask of blocked signals is inherited. A Ctrl-C meanwhile arrives when the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
