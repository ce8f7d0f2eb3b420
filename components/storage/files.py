"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DiskFullError(OSError):
    """No room for a file; the message names it and the remedy. What was there is untouched."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it on success and removed on failure.

    Raises:
        DiskFullError: the disk, or one's share of it, is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"{path}: no space left on the disk; free some and start again (finished is kept)"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def folder_of(path: Path, what: str) -> None:
    """A folder with a README.txt that says what is in it: DVC warns of empty ones."""
    readme = path / "README.txt"
    if not readme.exists():
        write_text(readme, f"{what}\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
