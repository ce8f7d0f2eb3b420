"""Any text, character by character: the one `.txt` file in `<folder>/text/`, in UTF-8."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from components.tasks.datasets import Data, Split, shuffled
from components.tasks.errors import DataError
from components.tasks.own_data import MIN_CHARACTERS, text_file

CONTEXT = 64  # characters of a sample
TOKENS = 128  # of the network: the most frequent characters and UNKNOWN
UNKNOWN = 0
MAX_UNKNOWN = 0.05  # of the training part; guessing "unknown" would be what is learned
MAX_VAL = 256  # windows validated at every log point; more would take longer than the training


def load(folder: Path) -> Data:
    """The first 90 % of the text for training, then 5 % and 5 %; x and y (n, 64) int64.

    Windows do not overlap, and y is x one character later. Training windows are shuffled, so that
    the first ones are from everywhere. At most 256 windows, evenly spread, validate.

    Raises:
        DataError: no file or several; a file that is not UTF-8, too short, or has too many
            different characters.
    """
    path = text_file(folder)
    text = _read(path)
    val, test = len(text) * 90 // 100, len(text) * 95 // 100
    ids = _vocabulary(path, text[:val])
    parts = (text[:val], text[val:test], text[test:])
    train, validation, last = (_windows(_encode(part, ids)) for part in parts)
    spread = torch.linspace(0, len(validation) - 1, min(len(validation), MAX_VAL)).long()
    return Data(
        train=_split(train[shuffled(len(train))]),
        val=_split(validation[spread]),
        test=_split(last),
    )


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 (byte {error.start}); convert it, e.g. with "
            f"iconv -f LATIN1 -t UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(
            f"{path}: contains zero bytes, so it is UTF-16 or no text; convert it, e.g. with "
            f"iconv -f UTF-16 -t UTF-8"
        )
    if len(text) < MIN_CHARACTERS:
        raise DataError(
            f"{path}: {len(text):,} characters are too few; take a text of at least "
            f"{MIN_CHARACTERS:,}"
        )
    return text


def _vocabulary(path: Path, text: str) -> dict[str, int]:
    """Ids from 1 of the most frequent characters, in the order of their code points."""
    counts = Counter(text)
    known = sorted(counts, key=lambda c: (-counts[c], c))[: TOKENS - 1]
    unknown = 1 - sum(counts[c] for c in known) / len(text)
    if unknown > MAX_UNKNOWN:
        raise DataError(
            f"{path}: {len(counts):,} different characters, and {unknown:.0%} of the text are none "
            f"of the {TOKENS - 1} most frequent, which the network knows; take a text in an "
            "alphabetic script"
        )
    return {character: i for i, character in enumerate(sorted(known), start=1)}


def _encode(text: str, ids: dict[str, int]) -> Tensor:
    return torch.tensor([ids.get(character, UNKNOWN) for character in text])


def _windows(tokens: Tensor) -> Tensor:
    """(n, 65): each window and the character after it."""
    return tokens.unfold(0, CONTEXT + 1, CONTEXT)


def _split(windows: Tensor) -> Split:
    return Split(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())
