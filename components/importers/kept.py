"""Logs that a slow tracker has sent: an import that was stopped does not ask for them again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from components.importers.source import Listed
from components.storage.files import atomic_path


class Kept:
    """A folder with the logs of one source and one choice of columns, until `done`."""

    def __init__(self, folder: Path, source: str, columns: Sequence[str]) -> None:
        self.folder = folder / _digest(source, *columns)

    def read(self, run: Listed) -> pd.DataFrame | None:
        """The log, if it is there and whole."""
        try:
            return pd.read_parquet(self._path(run))
        except (OSError, ValueError):  # none, or of a disk that was full
            return None

    def write(self, run: Listed, log: pd.DataFrame) -> None:
        with atomic_path(self._path(run)) as temporary:
            log.to_parquet(temporary)

    def done(self) -> None:
        """All has come in: nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, run: Listed) -> Path:
        # of a run that has gone on since, another
        return self.folder / f"{_digest(run.id, run.status, run.version)}.parquet"


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:24]
