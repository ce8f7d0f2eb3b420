"""Runs in an MLflow tracker: a server, a database or a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from components.importers.errors import RunsError
from components.importers.match import Match
from components.importers.source import (
    ENDED,
    NOT_FINITE,
    RUNNING,
    Listed,
    Param,
    finite_or_marked,
)
from components.registry.connection import RegistryError
from components.registry.foreign import Tracker, tracker
from components.storage.shown import cut

STEP, ELAPSED = "_step", "_elapsed_s"
LARGEST = 1.79e308  # MLflow's databases keep an infinity as the largest number


class MlflowSource:
    """A tracker as a source of runs; made by `mlflow_source`."""

    kind, remote, counts_updates = "mlflow", True, True
    own_step: str | None = STEP

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self.label = tracker, tracker.label

    def runs(self, match: Match) -> Iterable[Listed]:
        for run in self._tracker.runs(match):
            yield Listed(
                run.run_id,
                cut(run.name, 200),
                {"experiment": run.experiment} | {k: _value(v) for k, v in run.params.items()},
                (*run.metrics, ELAPSED),
                RUNNING if run.status in ("RUNNING", "SCHEDULED") else ENDED,
                str(run.ended_ms),
            )

    def log(self, run: Listed, columns: Sequence[str]) -> pd.DataFrame:
        parts = []
        for name in columns:
            if name not in run.columns or name == ELAPSED:
                continue
            rows = self._tracker.metric(run.id, name)
            steps, times, values = zip(*rows, strict=True) if rows else ((), (), ())
            logged = [finite_or_marked(v if abs(v) < LARGEST else NOT_FINITE) for v in values]
            parts.append(pd.DataFrame({STEP: steps, "_time": times, name: logged}))
        if not parts:
            return pd.DataFrame(columns=list(columns), dtype=float)
        # one row for what was logged together, in the order in which it was
        log = pd.concat(parts, ignore_index=True).sort_values("_time", kind="stable")
        log = log.groupby(["_time", STEP], sort=False, as_index=False).last()
        log[ELAPSED] = (log["_time"] - log["_time"].min()) / 1000.0
        return log.astype(float)


@contextmanager
def mlflow_source(uri: str, experiments: Sequence[str]) -> Iterator[MlflowSource]:
    """
    Args:
        uri: of the tracker. experiments: names; none: the only one.

    Raises:
        RunsError: it is not there, or not to be reached; also instead of any error of MLflow
            inside the block.
    """
    try:
        with tracker(uri, experiments) as connected:
            yield MlflowSource(connected)
    except RegistryError as error:
        said = str(error).partition(";")[0]
        raise RunsError(
            f"{said}; look at the address of the tracker and start again: what was read is kept"
        ) from error


def _value(text: str) -> Param:
    """A parameter, which MLflow keeps as text."""
    if text in ("True", "False"):
        return text == "True"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return cut(text, 300)
    return value if isinstance(value, bool | int | float) else cut(text, 300)
