"""One thread: for small matrices, and for the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes on one thread.

    Products of 100 × 20 matrices gain nothing from a second one, and on a busy machine waiting
    for it costs a hundredfold; also, sums are then taken in one order, hence the same bits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
