"""Downloads of published data: into a temporary folder beside the final place, never for ever."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 30  # seconds without a byte; torchvision sets no limit


@contextmanager
def download_folder(home: Path) -> Iterator[Path]:
    """A folder in `home` for what is downloaded; gone afterwards with all that was not moved."""
    before = socket.getdefaulttimeout()
    home.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=home) as temporary:
            socket.setdefaulttimeout(PATIENCE)
            yield Path(temporary)
    finally:
        socket.setdefaulttimeout(before)


def last_line(error: Exception) -> str:
    """What a failed download has to say."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
