"""TinyStories (Eldan & Li 2023) in byte pairs: two texts whose stories `<|endoftext|>` separates.

`<folder>/tinystories/*train.txt` and `*valid.txt`, as published. The byte pairs are learned from
the training text; they and the tokens of both texts are kept beside them, under the texts' digest.
"""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from components.storage.files import atomic_path
from components.tasks.datasets import Batch, Data, Stream, shuffled
from components.tasks.errors import DataError
from components.tasks.own_data import tinystories_digest, tinystories_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONTEXT = 256  # tokens of a sample
TOKENS = (
    50_257  # of the network, as many as GPT-2's vocabulary has; those of a short text are fewer
)
MAX_VAL = 512  # windows validated at every log point
SEPARATOR = "<|endoftext|>"
AT_ONCE = 1_000  # stories tokenised at a time, on all cores

Tokens = np.ndarray[Any, np.dtype[np.uint16]]
Starts = np.ndarray[Any, np.dtype[np.int64]]


def load(folder: Path) -> Data:
    """Streams of x and y (n, 256) int64, y one token after x, from memory-mapped tokens.

    Windows do not overlap; stories follow each other in them, a separator between. Training windows
    are shuffled, so that the first ones are from everywhere. Of the validation text, the first
    half validates, at most 512 windows of it evenly spread; the second half is the test.

    Raises:
        DataError: a text is missing, not UTF-8, without separators or too short; the tokens cannot
            be kept.
    """
    texts = tinystories_files(folder)
    train, valid = _tokens(texts, key=tinystories_digest(folder)[:16])
    starts, valid_starts = _starts(texts[0], train), _starts(texts[1], valid)
    val, test = np.split(valid_starts, [len(valid_starts) // 2])
    spread = np.linspace(0, len(val) - 1, min(len(val), MAX_VAL)).astype(int)
    parts = (
        Windows(train, starts[shuffled(len(starts)).numpy()]),
        Windows(valid, val[spread]),
        Windows(valid, test),
    )
    return Data(*(Stream(part, len(part.starts), workers=False) for part in parts))


@dataclass(frozen=True)
class Windows:
    """Windows of a text's tokens: makes the batches of a stream."""

    tokens: Tokens
    starts: Starts

    def __call__(self, indices: list[int], seeds: list[int] | None) -> Batch:
        """x and y (n, 256) int64; nothing is drawn."""
        places = self.starts[indices, None] + np.arange(CONTEXT + 1)
        windows = torch.from_numpy(self.tokens[places].astype(np.int64))
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def _starts(text: Path, tokens: Tokens) -> Starts:
    # what follows a window's last token is the first one of the next
    starts = np.arange(0, len(tokens) - CONTEXT, CONTEXT)
    if len(starts) < 2:  # validation and test need one each
        raise DataError(
            f"{text}: {len(tokens):,} tokens are too few; take a text of at least "
            f"{2 * CONTEXT + 1}, and better of many thousands"
        )
    return starts


def _tokens(texts: tuple[Path, Path], key: str) -> tuple[Tokens, Tokens]:
    """Both texts' tokens, memory-mapped, after learning byte pairs if need be."""
    home = texts[0].parent
    caches = [home / f"tokens-{part}-{key}.npy" for part in ("train", "valid")]
    with _only_one(home):  # the processes of a sweep all come here at once
        if any(_read(cache) is None for cache in caches):
            tokenizer = _learn(texts[0])
            with atomic_path(home / f"tokenizer-{key}.json") as temporary:
                tokenizer.save(str(temporary))
            for text, cache in zip(texts, caches, strict=True):
                with atomic_path(cache) as temporary, temporary.open("wb") as file:
                    np.save(file, _encode(tokenizer, text), allow_pickle=False)
    train, valid = (_read(cache) for cache in caches)
    assert train is not None and valid is not None
    return train, valid


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Wait for whoever else makes the tokens; a folder that cannot be written has its message."""
    try:
        with (home / ".tokens.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise DataError(
            f"{home}: cannot keep the texts' tokens there ({error}); make the folder writable or "
            "free some space"
        ) from None


def _read(cache: Path) -> Tokens | None:
    """Kept tokens; None where there are none or, with a warning, where they are damaged."""
    if not cache.exists():
        return None
    try:
        tokens = np.load(cache, mmap_mode="r", allow_pickle=False)
        if tokens.dtype == np.uint16 and tokens.ndim == 1 and tokens.max(initial=0) < TOKENS:
            return tokens
        reason = "no tokens of this vocabulary"
    except (OSError, ValueError, EOFError) as error:
        reason = f"not readable ({error})"
    warnings.warn(f"{cache}: {reason}; the texts are tokenised again", stacklevel=3)
    return None


def _learn(text: Path) -> Tokenizer:
    """Byte pairs of a text, at most `TOKENS`; the separator is token 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=[SEPARATOR],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # so that no character is unknown
    )
    tokenizer.train_from_iterator(_stories(text), trainer)
    return tokenizer


def _encode(tokenizer: Tokenizer, text: Path) -> Tokens:
    """The text's tokens, token 0 after every story."""
    stories, parts = _stories(text), []
    while some := list(islice(stories, AT_ONCE)):
        for encoding in tokenizer.encode_batch(some):
            parts.append(np.array([*encoding.ids, 0], dtype=np.uint16))
    return np.concatenate([np.empty(0, np.uint16), *parts])


def _stories(path: Path) -> Iterator[str]:
    """The stories, without the white space around them."""
    lines, separated, story = 0, False, ""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                lines += 1
                if "\0" in line:
                    raise DataError(
                        f"{path}: zero bytes, so it is UTF-16 or no text (line {lines:,}); convert "
                        "it, e.g. with iconv -f UTF-16 -t UTF-8"
                    )
                *ends, rest = line.split(SEPARATOR)
                for end in ends:
                    separated = True
                    if whole := (story + end).strip():
                        yield whole
                    story = ""
                story += rest
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: not UTF-8 (after line {lines:,}); convert it, e.g. with "
            "iconv -f LATIN1 -t UTF-8"
        ) from None
    if not separated:
        raise DataError(f"{path}: no {SEPARATOR} in it; put a line of it after every story")
    if last := story.strip():
        yield last
