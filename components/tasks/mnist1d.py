"""MNIST-1D (Greydanus & Kobak 2024): 40-point signals of ten classes, generated, never downloaded.

The `mnist1d` package's generator with its default arguments and seed, 15,000 signals. Generating
takes seconds, so the signals are kept in `<folder>/mnist1d/`.
"""

from __future__ import annotations

import hashlib
import random
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from components.storage.files import atomic_path
from components.tasks.datasets import Data, Split, shuffled
from components.tasks.errors import DataError

TRAIN, VAL, TEST = 4_000, 1_000, 10_000
SAMPLES = TRAIN + VAL + TEST


def load(folder: Path) -> Data:
    """4,000 / 1,000 / 10,000 signals, x (n, 1, 40) as the generator leaves them (mean 0, std 1).

    A damaged cache is replaced, with a warning.

    Raises:
        DataError: the cache's folder cannot be written.
    """
    cache = folder / "mnist1d" / f"signals-{SAMPLES}.npz"
    signals = _read(cache) if cache.exists() else None
    if signals is None:
        signals = _generate()
        _write(cache, *signals)
    x, y = (torch.from_numpy(array) for array in signals)
    x, y = x[:, None], y.long()
    parts = shuffled(SAMPLES).split([TRAIN, VAL, TEST])
    return Data(*(Split(x[part], y[part]) for part in parts))


def _generate() -> tuple[np.ndarray, np.ndarray]:
    """x (15000, 40) float32 and y (15000,) uint8, independent of the caller's random state."""
    from mnist1d.data import get_dataset_args, make_dataset

    arguments = get_dataset_args()
    arguments.num_samples = SAMPLES
    with _global_rng_kept():
        made = make_dataset(arguments)
    x = np.concatenate([made["x"], made["x_test"]]).astype(np.float32)
    return x, np.concatenate([made["y"], made["y_test"]]).astype(np.uint8)


@contextmanager
def _global_rng_kept() -> Iterator[None]:
    # the generator seeds and draws from the global generators of random and numpy
    python, legacy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


def _digest(x: np.ndarray, y: np.ndarray) -> str:
    return hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()


def _write(cache: Path, x: np.ndarray, y: np.ndarray) -> None:
    try:
        with atomic_path(cache) as temporary, temporary.open("wb") as file:
            np.savez(file, x=x, y=y, digest=np.array(_digest(x, y)))
    except OSError as error:
        raise DataError(
            f"{cache.parent}: cannot keep the generated signals there ({error}); "
            "make the folder writable or free some space"
        ) from None


def _read(cache: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The cached signals; None, with a warning, where they are not what was written."""
    try:
        with np.load(cache, allow_pickle=False) as file:
            x, y, digest = file["x"], file["y"], str(file["digest"])
        if digest == _digest(x, y):
            return x, y
        reason = "the signals do not have the digest written with them"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = f"not readable ({error})"
    warnings.warn(f"{cache}: {reason}; the signals are generated again", stacklevel=3)
    return None
