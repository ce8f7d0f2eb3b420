"""A folder of histories as the tables that the expectations look at.

Great Expectations checks columns of tables, so what is to be checked becomes a column here: the
difference to the previous point of the run, the distance to the declared schedule, the number of
runs in each cell of the grid. Nothing is judged in this file.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from components.schedulers.parametric import PARAMETRIC, learning_rate
from components.tasks.own import OwnMetric
from components.training.facts import printable
from components.training.history import (
    COLUMNS,
    COMPLETED,
    SCHEMA,
    History,
    HistoryError,
    read_history,
)
from components.validation.possible import METRICS

Sampler = Literal["grid", "racing", "tpe"]  # how a sweep chose what it ran
DECLARED_SCHEMA = ", ".join(f"{column.name} {column.type}" for column in SCHEMA)

# What identifies a row of each table in messages and in Data Docs.
KEYS: dict[str, list[str]] = {
    "files": ["file"],
    "runs": ["run_id"],
    "points": ["run_id", "point"],
    "cells": ["scheduler", "peak_lr", "seed"],
    "sweep": ["run_id"],
}


@dataclass(frozen=True)
class Sweep:
    """What was declared: the sweep that a folder of histories should hold.

    The folder may hold more: runs of former settings, which are set aside, not judged.

    Attributes:
        schedulers, peak_lrs, seeds: the grid; `peak_lrs` is ignored when `sampler` is `tpe`.
        updates, points, train_samples: N, T and the part of the training data of every run.
        data_digest: of the user's own data, as in `RunSpec`.
        max_train_loss: a larger loss makes a run bad; None: see `loss_range`.
        metric: of a task of the user's own; None: as the catalog has it.
        imported: the sweep is whatever runs of this N and T the folder holds.
        max_quarantined: largest share of bad runs, in [0, 1], that the pipeline accepts.
    """

    task: str
    schedulers: tuple[str, ...]
    peak_lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    updates: int
    points: int
    train_samples: int | None = None
    data_digest: str | None = None
    sampler: Sampler = "grid"
    max_train_loss: float | None = None
    max_quarantined: float = 0.2
    metric: OwnMetric | None = None
    imported: bool = False

    def declares(self, history: History) -> bool:
        """Whether a run belongs to the sweep."""
        if self.imported:
            return all(history.meta[key] == getattr(self, key) for key in ("updates", "points"))
        scheduler, peak_lr = history.configuration
        budget = ("updates", "points", "train_samples", "data_digest")
        return (
            all(history.meta.get(key) == getattr(self, key) for key in budget)
            and scheduler in self.schedulers
            and history.meta["seed"] in self.seeds
            and peak_lr is not None
            and (self.sampler == "tpe" or peak_lr in self.peak_lrs)
        )


@dataclass(frozen=True)
class Tables:
    """`files` one row per file, `runs` per readable run of the sweep, `points` per log point of
    these, `cells` per (scheduler, peak lr, seed) that the sweep declares; `histories` the readable
    runs by file name, `outside` those of them that the sweep does not declare."""

    files: pd.DataFrame
    runs: pd.DataFrame
    points: pd.DataFrame
    cells: pd.DataFrame
    histories: dict[str, History]
    outside: list[History]


def read_tables(paths: Iterable[Path], sweep: Sweep) -> Tables:
    """Read every file, the unreadable ones into `files.problem`."""
    rows: list[dict[str, Any]] = []
    histories: dict[str, History] = {}
    for path in paths:
        row, history = _read_file(path)
        rows.append(row)
        if history is not None:
            histories[path.name] = history
    files = pd.DataFrame(rows, dtype=object)
    # A run of another task says nothing about this sweep; the expectation on `files` names it.
    own = [h for h in histories.values() if h.meta["task"] == sweep.task]
    declared = [history for history in own if sweep.declares(history)]
    outside = [history for history in own if not sweep.declares(history)]
    return Tables(
        files=files,
        runs=pd.DataFrame(run_rows(declared)),
        points=points_table(declared),
        cells=_cells(declared, sweep),
        histories=histories,
        outside=outside,
    )


def _read_file(path: Path) -> tuple[dict[str, Any], History | None]:
    name = printable(path.name)
    row: dict[str, Any] = {
        "file": name,
        "problem": None,
        "schema": None,
        "run_id": None,
        "task": None,
        "updates": None,
        "points": None,
    }
    try:
        history = read_history(path)
        schema = pq.read_schema(path)
    except (HistoryError, OSError) as error:
        # the name alone: reports hold no machine's paths
        row["problem"] = str(error).replace(printable(str(path)), name)
        return row, None
    row["schema"] = ", ".join(f"{column.name} {column.type}" for column in schema)
    row |= {key: history.meta[key] for key in ("run_id", "task", "updates", "points")}
    return row, history


def run_rows(histories: Iterable[History]) -> list[dict[str, Any]]:
    return [_run_row(history) for history in histories]


def _run_row(history: History) -> dict[str, Any]:
    meta = history.meta
    return {
        **{key: meta[key] for key in ("run_id", "scheduler", "peak_lr", "seed", "status")},
        # a diverged run ends early and is right to: only completed ones have all T points
        "rows_if_completed": len(history.points) if meta["status"] == COMPLETED else None,
        **{name: _number(meta.get(name)) for name in METRICS},
    }


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def points_table(histories: Iterable[History]) -> pd.DataFrame:
    """All log points, with what can only be seen across rows as columns of their own.

    Added columns: `point_increase`, `step_increase` to the previous row of the run (empty in its
    first), and `lr_error` = |lr / declared lr − 1|.
    """
    frames = [_with_derived(history) for history in histories]
    if not frames:
        return pd.DataFrame(columns=[*COLUMNS, "point_increase", "step_increase", "lr_error"])
    return pd.concat(frames, ignore_index=True)


def _with_derived(history: History) -> pd.DataFrame:
    points = history.points.assign(
        point_increase=history.points["point"].diff(),
        step_increase=history.points["step"].diff(),
        lr_error=np.nan,
    )
    scheduler, peak_lr = history.configuration
    followed = not history.meta.get("imported")  # whose schedulers may mean something else
    if followed and scheduler in PARAMETRIC and peak_lr is not None:
        updates = history.meta["updates"]
        # `lr` is the last one applied: that of update step − 1, counted from 0. A step that cannot
        # be one leaves the error empty; another expectation names it.
        declared = np.array(
            [
                learning_rate(scheduler, int(step) - 1, updates, peak_lr) if step >= 1 else np.nan
                for step in points["step"]
            ]
        )
        scale = np.maximum(np.abs(declared), np.finfo(float).tiny)
        points["lr_error"] = np.abs(points["lr"].to_numpy() - declared) / scale
    return points


def _cells(histories: list[History], sweep: Sweep) -> pd.DataFrame:
    """Runs in every declared cell; under TPE, of the configurations it tried; in a race the first
    seed of all, and all of those that went on."""
    if sweep.imported:
        wanted: Iterable[Any] = ()
    elif sweep.sampler == "grid":
        wanted = itertools.product(sweep.schedulers, sweep.peak_lrs, sweep.seeds)
    elif sweep.sampler == "racing":
        first = sweep.seeds[:1]
        went_on = {h.configuration for h in histories if h.meta["seed"] not in first}
        wanted = (
            (*one, seed)
            for one in itertools.product(sweep.schedulers, sweep.peak_lrs)
            for seed in (sweep.seeds if one in went_on else first)
        )
    else:
        tried = sorted({history.configuration for history in histories})
        wanted = ((*configuration, seed) for configuration in tried for seed in sweep.seeds)
    found = Counter((*history.configuration, history.meta["seed"]) for history in histories)
    return pd.DataFrame(
        [{**dict(zip(KEYS["cells"], cell, strict=True)), "runs": found[cell]} for cell in wanted],
        columns=[*KEYS["cells"], "runs"],
    )
