"""Histories: what a run leaves behind, one Parquet file each, written whole or not at all.

A history has one row per log point 1..T. Everything else known of the run (its settings, status,
test metric, device, versions) is JSON in the file's metadata, so that one file is enough.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.storage.files import atomic_path
from components.training.run import SERIES

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("point", pa.int32()),  # 1..T
        ("step", pa.int64()),  # updates done at this point
        ("epoch", pa.float64()),  # step / updates per epoch
        ("train_loss", pa.float64()),  # mean over the updates since the previous point
        ("val_metric", pa.float64()),  # on the validation split, higher is better
        ("lr", pa.float64()),  # the last learning rate applied
        ("elapsed_s", pa.float64()),  # seconds since the run's first update
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
_META_KEY = b"lode"
COMPLETED, DIVERGED = "completed", "diverged"


class HistoryError(ValueError):
    """A history cannot be read; the message names the file and what to do about it."""


@dataclass
class History:
    """One run.

    Attributes:
        points: the log points, columns `COLUMNS`, ordered by point.
        meta: `run_id, task, scheduler, peak_lr, seed, updates, points, status`, then `test_metric`,
            `best_val_metric`, `best_point`, `seconds_per_epoch`, `device`, `versions`, and where
            measured `sharpness`.
    """

    points: pd.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return str(self.meta["run_id"])

    @property
    def completed(self) -> bool:
        return self.meta["status"] == COMPLETED

    @property
    def configuration(self) -> tuple[str, float | None]:
        """(scheduler, peak lr): what a sweep varies besides the seed."""
        return self.meta["scheduler"], self.meta["peak_lr"]

    def series(self) -> np.ndarray:
        """(T, 3) float64: train loss, validation metric and learning rate, in original units."""
        return self.points[list(SERIES)].to_numpy(np.float64, copy=True)

    def describe(self) -> str:
        """`onecycle 0.05 seed 3`, for messages."""
        peak = self.meta.get("peak_lr")
        shown = f" {peak:g}" if peak is not None else ""
        return f"{self.meta.get('scheduler')}{shown} seed {self.meta.get('seed')}"


def history_path(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.parquet"


def write_history(history: History, folder: Path) -> Path:
    """Write `<folder>/<run_id>.parquet`: to a temporary name first, then renamed."""
    table = pa.Table.from_pandas(history.points[list(COLUMNS)], SCHEMA, preserve_index=False)
    meta = json.dumps(history.meta, sort_keys=True, allow_nan=False)
    table = table.replace_schema_metadata({_META_KEY: meta.encode()})
    path = history_path(folder, history.run_id)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)
    return path


def read_history(path: Path) -> History:
    """Read one history.

    Raises:
        HistoryError: the file is missing, truncated, not Parquet, or of another schema.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise HistoryError(f"{path}: no such history") from None
    except (pa.ArrowException, OSError) as error:
        raise HistoryError(
            f"{path}: truncated or not Parquet ({error}); delete it and the run is repeated"
        ) from None
    meta = (table.schema.metadata or {}).get(_META_KEY)
    if meta is None:
        raise HistoryError(
            f"{path}: not a history of this project (no {_META_KEY.decode()!r} metadata); "
            "move it out of the histories folder"
        )
    missing = [name for name in COLUMNS if name not in table.schema.names]
    if missing:
        raise HistoryError(f"{path}: columns {missing} are missing; expected {list(COLUMNS)}")
    try:
        points = table.select(list(COLUMNS)).cast(SCHEMA).to_pandas()
        return History(points.sort_values("point", ignore_index=True), json.loads(meta))
    except (pa.ArrowException, ValueError) as error:
        raise HistoryError(f"{path}: columns of another type: {error}") from None


def read_histories(folder: Path) -> list[History]:
    """All histories of a folder, in the order of their file names.

    Raises:
        HistoryError: the folder is missing or holds no history, or one cannot be read.
    """
    paths = sorted(Path(folder).glob("*.parquet"))
    if not paths:
        raise HistoryError(f"{folder}: no histories; run `lode sweep` first")
    return [read_history(path) for path in paths]


def digest(histories: Iterable[History]) -> str:
    """SHA-256 (hex) of what a set of histories says: independent of their order and of wall time.

    `elapsed_s` and the metadata's timings are left out, so an interrupted and resumed sweep has
    the digest of an uninterrupted one.
    """
    total = hashlib.sha256()
    for history in sorted(histories, key=lambda h: h.run_id):
        facts = {key: history.meta.get(key) for key in ("run_id", "task", "status", "test_metric")}
        total.update(json.dumps(facts, sort_keys=True).encode())
        for column in COLUMNS[1:-1]:
            kind = SCHEMA.field(column).type.to_pandas_dtype()
            total.update(history.points[column].to_numpy(dtype=kind).tobytes())
    return total.hexdigest()
