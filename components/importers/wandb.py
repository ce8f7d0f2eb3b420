"""Runs of Weights & Biases: offline folders, or a project on its server."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.importers.errors import LeftOutError, RunsError
from components.importers.match import Match, number
from components.importers.source import (
    ENDED,
    NOT_FINITE,
    RUNNING,
    Listed,
    finite_or_marked,
    flat,
)
from components.importers.wandb_file import DamagedFileError, WandbFile, read_wandb
from components.storage.shown import cut, printable

# What W&B counts is calls of `log`, not updates: taken only where nothing else says a step.
STEP = "_step"
_OURS = ("_timestamp", STEP, "_wandb")


def wandb_source(source: str) -> OfflineSource | ServerSource:
    """A folder, if there is one of that name, else ENTITY/PROJECT.

    Raises:
        RunsError: neither.
    """
    path = Path(source)
    if path.exists():
        return OfflineSource(path)
    if source.count("/") == 1 and all(source.split("/")):
        return ServerSource(source)
    raise RunsError(
        f"{cut(printable(source))}: no such folder; name one with offline runs, or ENTITY/PROJECT"
    )


class OfflineSource:
    """`run-*.wandb` files anywhere below a folder."""

    kind, remote, counts_updates = "wandb", False, False
    own_step: str | None = STEP

    def __init__(self, source: Path) -> None:
        self.label = printable(str(source))
        self.paths = [source] if source.is_file() else sorted(source.rglob("*.wandb"))
        if not self.paths:
            raise RunsError(f"{self.label}: no run-….wandb files below it")

    def runs(self, match: Match) -> Iterable[Listed]:
        self._files: dict[str, WandbFile | LeftOutError] = {}
        for path in self.paths:
            try:
                file = read_wandb(path)
            except (DamagedFileError, OSError) as error:
                name = cut(printable(path.name), 200)
                self._files[name] = LeftOutError(f"its file cannot be read ({cut(str(error), 80)})")
                yield Listed(name, name)
                continue
            yield self._listed(path, file)

    def _listed(self, path: Path, file: WandbFile) -> Listed:
        """Several files may be of one run that was resumed, or copied."""
        run_id = cut(file.run_id or printable(path.stem), 200)
        before = self._files.get(run_id)
        if isinstance(before, WandbFile):
            known = {row.get("_timestamp") for row in before.rows}
            file.rows = before.rows + [r for r in file.rows if r.get("_timestamp") not in known]
        self._files[run_id] = file
        columns = {key for row in file.rows for key, value in row.items() if _numeric(value)}
        config = {key: value for key, value in file.config.items() if key not in _OURS}
        return Listed(
            run_id,
            cut(file.name or run_id, 200),
            flat(config),
            tuple(sorted(columns - set(_OURS))),
        )

    def log(self, run: Listed, columns: Sequence[str]) -> pd.DataFrame:
        file = self._files[run.id]
        if isinstance(file, LeftOutError):
            raise file
        return _table(file.rows, columns)


class ServerSource:
    """A project on W&B's server, by its own client."""

    kind, remote, counts_updates = "wandb", True, False
    own_step: str | None = STEP

    def __init__(self, project: str) -> None:
        self.label = project
        try:
            import wandb  # it takes a second, and is an extra
        except ModuleNotFoundError:
            raise RunsError(
                "a server of W&B is read by the package wandb: pip install 'lode-pipeline[wandb]' "
                "(offline folders need none)"
            ) from None
        try:
            self._api = wandb.Api(timeout=60)
        except Exception as error:  # whatever it raises where nobody has logged in
            raise RunsError(f"W&B: {cut(str(error))}; log in with `wandb login`") from None
        self._runs: dict[str, Any] = {}

    def runs(self, match: Match) -> Iterable[Listed]:
        try:
            for run in self._api.runs(self.label, filters=_filters(match), per_page=100):
                self._runs[run.id] = run
                columns = tuple(
                    key
                    for key, value in dict(run.summary).items()
                    if _numeric(value) and key not in _OURS
                )
                status = RUNNING if run.state in ("running", "pending") else ENDED
                version = str(getattr(run, "heartbeat_at", ""))
                yield Listed(run.id, cut(run.name, 200), flat(run.config), columns, status, version)
        except Exception as error:  # its client's errors have no common kind
            raise RunsError(f"W&B, {cut(self.label)}: {cut(str(error))}; start again") from None

    def log(self, run: Listed, columns: Sequence[str]) -> pd.DataFrame:
        wanted = [STEP, "_runtime", *columns]
        try:
            # all rows: asked for several keys at once, it would give only those that have them all
            rows = [
                row
                for key in dict.fromkeys(columns)
                for row in self._runs[run.id].scan_history(keys=[STEP, key], page_size=1000)
            ]
        except Exception as error:
            raise RunsError(
                f"W&B, run {run.describe()}: {cut(str(error))}; what was read is kept, start again"
            ) from None
        rows.sort(key=lambda row: row.get(STEP, 0))
        return _table(rows, wanted)


def _filters(match: Match) -> dict[str, Any]:
    """For the server, where a pattern is plain text; the others are matched here."""
    return {
        f"config.{key}": pattern
        for key, pattern in match
        if key != "name" and not any(c in pattern for c in "*?[]") and number(pattern) is None
    }


def _numeric(value: Any) -> bool:
    """W&B writes what is no number as `"NaN"` and `"Infinity"`."""
    if isinstance(value, str):
        return value.lower() in ("nan", "infinity", "-infinity")
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    def cell(value: Any) -> float:
        if not _numeric(value):
            return math.nan
        return NOT_FINITE if isinstance(value, str) else finite_or_marked(float(value))

    names = list(dict.fromkeys(columns))
    table = {name: [cell(row.get(name)) for row in rows] for name in names}
    return pd.DataFrame(table, dtype=np.float64)
