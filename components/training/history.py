"""Histories: what a run leaves behind, one Parquet file each, written whole or not at all.

A history has one row per log point 1..T. Everything else known of the run (its settings, status,
test metric, device, versions) is JSON in the file's metadata, so that one file is enough.

Whatever a file says is data until it was checked: `read_history` returns what was written, or
raises. What it guarantees is in `components.training.facts`; whether the values are good ones to
learn from is for validation to say.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.storage.files import atomic_path
from components.storage.shown import cut, shown
from components.training.facts import COMPLETED as COMPLETED
from components.training.facts import DIVERGED as DIVERGED
from components.training.facts import MINIMIZE, best_fault, is_run_id, meta_fault, printable
from components.training.facts import STOPPED as STOPPED
from components.training.run import SERIES

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("point", pa.int32()),  # 1..T
        ("step", pa.int64()),  # updates done at this point
        ("epoch", pa.float64()),  # step / updates per epoch
        ("train_loss", pa.float64()),  # mean over the updates since the previous point
        (
            "val_metric",
            pa.float64(),
        ),  # on the validation split; of a loss its negative: more is better
        ("lr", pa.float64()),  # the last learning rate applied
        ("elapsed_s", pa.float64()),  # seconds since the run's first update
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
_META_KEY = b"lode"
_CHECKSUM = "checksum"  # in the metadata of the file; not in `History.meta`
_PARQUET = b"PAR1"  # a Parquet file's first four bytes
MOVE_OUT = "move it out of the histories folder"
REPEATED = "move it away or delete it, and the run is repeated"


class HistoryError(ValueError):
    """A history cannot be read; the message names the file and what to do about it.

    `problem`: what is wrong, without file and remedy.
    """

    def __init__(self, message: str, problem: str = "") -> None:
        super().__init__(message)
        self.problem = problem or message


class _FaultError(Exception):
    """What is wrong with the file being read, and the remedy."""

    def __init__(self, problem: str, remedy: str = REPEATED) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


@dataclass
class History:
    """One run.

    Attributes:
        points: the log points, columns `COLUMNS`, ordered by point.
        meta: `run_id, task, scheduler, peak_lr, seed, updates, points, status`, then `test_metric`,
            `best_val_metric`, `best_point`, `metric_name`, `metric_percent`, `metric_goal`,
            `seconds_per_epoch`, `decision_seconds` (how long its scheduler decided), `device`,
            `versions`, and where measured `sharpness` (at the end) and `sharpness_series` (a record
            for each measurement on the way). Where `metric_goal` is `minimize`, metrics here are
            the negative of what was logged.
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

    @property
    def metric_sign(self) -> float:
        """From the metric as people know it to what `val_metric` holds, and back: −1 of a loss."""
        return -1.0 if self.meta.get("metric_goal") == MINIMIZE else 1.0

    def series(self) -> np.ndarray:
        """(T, 3) float64: train loss, validation metric and learning rate, in original units."""
        return self.points[list(SERIES)].to_numpy(np.float64, copy=True)

    def describe(self) -> str:
        """`onecycle 0.05 seed 3`, for messages."""
        peak = self.meta.get("peak_lr")
        shown = f" {peak:g}" if peak is not None else ""
        return f"{self.meta.get('scheduler')}{shown} seed {self.meta.get('seed')}"


def history_path(folder: Path, run_id: str) -> Path:
    """Where the history of a run lies in a folder.

    Raises:
        HistoryError: the id is none, so that no file can be named into another folder.
    """
    if not is_run_id(run_id):
        problem = f"{shown(run_id)} is no run's id (16 hexadecimal digits)"
        raise HistoryError(f"{folder}: {problem}; run again what wrote it", problem)
    return folder / f"{run_id}.parquet"


def write_history(history: History, folder: Path) -> Path:
    """Write `<folder>/<run_id>.parquet`: to a temporary name first, then renamed.

    Raises:
        HistoryError: the metadata hold a number that is not finite, or no proper id.
    """
    path = history_path(folder, history.run_id)
    table = pa.Table.from_pandas(history.points[list(COLUMNS)], SCHEMA, preserve_index=False)
    try:
        meta = json.loads(json.dumps(history.meta, allow_nan=False))  # as it will be read
    except ValueError:
        problem = f"a number of {history.describe()} is not finite"
        raise HistoryError(f"{path}: not written: {problem}; look at the task's metric") from None
    text = json.dumps({**meta, _CHECKSUM: _checksum(table, meta)}, sort_keys=True)
    table = table.replace_schema_metadata({_META_KEY: text.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)
    return path


def read_history(path: Path) -> History:
    """Read one history: exactly what was written, or an error.

    A file without a checksum (an import, an earlier version's) is held to everything else.

    Raises:
        HistoryError: the file is missing, truncated, damaged or edited, not Parquet, of another
            schema, or not named after its run.
    """
    path = Path(path)
    try:
        return _read(path)
    except FileNotFoundError:
        problem = "no such history"
        raise HistoryError(f"{printable(str(path))}: {problem}", problem) from None
    except _FaultError as fault:
        problem, remedy = fault.problem, fault.remedy
    except PermissionError as error:
        problem, remedy = f"cannot be read ({error.strerror})", "make it readable"
    except Exception as error:  # whatever a damaged file makes its readers raise
        problem, remedy = (
            f"truncated or damaged ({cut(str(error) or type(error).__name__)})",
            REPEATED,
        )
    raise HistoryError(f"{printable(str(path))}: {problem}; {remedy}", problem)


def read_once(path: Path) -> History:
    """As `read_history`, but a file that is as it was is not read twice: for who changes nothing of
    what he is given."""
    status = path.stat() if path.exists() else None
    return _kept(path, *((status.st_mtime_ns, status.st_size) if status else (0, 0)))


@lru_cache(maxsize=1024)  # some 15 kB each
def _kept(path: Path, _mtime_ns: int, _size: int) -> History:
    return read_history(path)


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


def _read(path: Path) -> History:
    _check_kind(path)
    with pq.ParquetFile(path) as file:
        table = file.read()
    text = (table.schema.metadata or {}).get(_META_KEY)
    if text is None:
        raise _FaultError(
            f"not a history of this project (no {_META_KEY.decode()!r} metadata)", MOVE_OUT
        )
    table, meta = _history_columns(table), _parsed(text)
    checksum = meta.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(table, meta):
        raise _FaultError("its rows or metadata are not those that were written (checksum)")
    fault = meta_fault(meta)
    if fault:
        raise _FaultError(fault)
    if path.stem != meta["run_id"]:
        raise _FaultError(
            f"file name is not the run's id {meta['run_id']}",
            f"name it {meta['run_id']}.parquet, or {MOVE_OUT}",
        )
    points = table.to_pandas().sort_values("point", ignore_index=True)
    if not (points["run_id"] == meta["run_id"]).all():
        raise _FaultError("rows carry another run's id")
    fault = best_fault(meta, points["val_metric"].to_numpy())
    if fault:
        raise _FaultError(fault)
    return History(points, meta)


def _check_kind(path: Path) -> None:
    """Whether the file is Parquet, or once was one of ours."""
    if path.exists() and not path.is_file():  # a folder, or a pipe that would be waited for
        raise _FaultError("not a file", MOVE_OUT)
    with path.open("rb") as file:
        start = file.read(len(_PARQUET))
    ours = path.suffix == ".parquet" and is_run_id(path.stem)
    if start != _PARQUET and not ours:
        raise _FaultError(
            "not a history (no Parquet file)",
            "histories are the .parquet files that `lode sweep` and `lode train` write",
        )


def _history_columns(table: pa.Table) -> pa.Table:
    """The columns of a history in their order and types, whatever others there are."""
    missing = [name for name in COLUMNS if name not in table.schema.names]
    if missing:
        raise _FaultError(f"columns {missing} are missing; expected {list(COLUMNS)}", MOVE_OUT)
    for column in SCHEMA:
        found = table.schema.field(column.name).type
        numeric = pa.types.is_integer(found) or pa.types.is_floating(found)
        if numeric != (column.type != pa.string()):
            raise _FaultError(
                f"columns of another type: {column.name} is {found}, not {column.type}", MOVE_OUT
            )
    try:
        table = table.select(list(COLUMNS)).cast(SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise _FaultError(
            f"columns of another type: {cut(str(error) or type(error).__name__)}", MOVE_OUT
        ) from None
    empty = [name for name in ("run_id", "point", "step") if table[name].null_count]
    if empty:
        raise _FaultError(f"empty cells in its column {', '.join(empty)}")
    return table


def _parsed(text: bytes) -> dict[str, Any]:
    """The metadata; JSON has no NaN and no infinity, though Python's reader takes them."""
    try:
        meta = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _FaultError(
            f"its metadata are not JSON ({cut(str(error) or type(error).__name__)})"
        ) from None
    if not isinstance(meta, dict):
        raise _FaultError(f"its metadata are {shown(meta)}, not an object")
    return meta


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    return float(digits) if math.isfinite(float(digits)) else _refuse(digits[:20])


def _checksum(table: pa.Table, meta: dict[str, Any]) -> str:
    """SHA-256 (hex) of all that a history says: cells, metadata, and which cells are empty."""
    text = json.dumps([meta, table.to_pydict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
