"""Digests of the files of the user's own that some tasks train on: other files are other runs.

Without torch: whoever only asks which runs there are need not wait for it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

from components.tasks.errors import DataError

IMAGENET = "train/<class>/*.JPEG and val/<class>/*.JPEG, the same classes in both"
MIN_CHARACTERS = 10_000  # of a text that is learned character by character


def imagenet_digest(folder: Path) -> str:
    """SHA-256 (hex) of the names of the classes: a subset of ImageNet is another data set.

    Raises:
        DataError: there is no training folder.
    """
    home = folder / "imagenet" / "train"
    if not home.is_dir():
        raise DataError(f"{home}: not there; ImageNet is expected as {IMAGENET} in {home.parent}")
    names = sorted(entry.name for entry in home.iterdir() if entry.is_dir())
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def text_digest(folder: Path) -> str:
    """SHA-256 (hex) of the text's file; errors as of `text_file`."""
    return hashlib.sha256(text_file(folder).read_bytes()).hexdigest()


def text_file(folder: Path) -> Path:
    """The one text in `<folder>/text/`.

    Raises:
        DataError: no file or several.
    """
    home = folder / "text"
    files = sorted(home.glob("*.txt"))
    if not files:
        raise DataError(
            f"no text in {home}: put one UTF-8 file there, named *.txt, of at least "
            f"{MIN_CHARACTERS:,} characters (a novel, a manual, your notes)"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{home}: several texts ({names}); leave the one to be learned")
    return files[0]


def tinystories_digest(folder: Path) -> str:
    """SHA-256 (hex) of the two texts' SHA-256; errors as of `tinystories_files`."""
    parts = ((path, path.stat()) for path in tinystories_files(folder))
    each = [_sha256(path, stat.st_size, stat.st_mtime_ns) for path, stat in parts]
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def tinystories_files(folder: Path) -> tuple[Path, Path]:
    """The training and the validation text.

    Raises:
        DataError: a text is missing, or there are several.
    """
    home, found = folder / "tinystories", []
    for pattern in ("*train.txt", "*valid.txt"):
        files = sorted(home.glob(pattern))
        if len(files) != 1:
            what = f"several {pattern}; leave one" if files else f"no {pattern}; put one there"
            raise DataError(
                f"{home}: {what}. As published: TinyStories-train.txt and TinyStories-valid.txt of "
                "huggingface.co/datasets/roneneldan/TinyStories"
            )
        found.append(files[0])
    return found[0], found[1]


@functools.lru_cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Of a file of gigabytes, so once per process while size and time stay what they are."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# By task; all others train on the same data everywhere.
DIGESTS: dict[str, Callable[[Path], str]] = {
    "imagenet-resnet34": imagenet_digest,
    "text-minigpt": text_digest,
    "tinystories-minigpt": tinystories_digest,
}


def data_digest(task: str, folder: Path) -> str | None:
    """Of what the task trains on in the data folder; None where the data is the same for everybody.

    Raises:
        DataError: the files are not there.
    """
    return DIGESTS[task](folder) if task in DIGESTS else None
