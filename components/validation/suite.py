"""The Great Expectations suites over a sweep's histories, defined in code.

A file context would rewrite UUIDs on every change (git noise), so the suites live here and in an
ephemeral context. Every expectation carries in its `meta` what follows when it fails: `stop` the
pipeline, or `quarantine` the runs whose rows failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.training.history import COLUMNS, DIVERGED, STOPPED
from components.validation.possible import LARGEST, METRICS, loss_range, metric_range, range_fault
from components.validation.tables import DECLARED_SCHEMA, Sweep

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

STOP, QUARANTINE = "stop", "quarantine"
LR_TOLERANCE = 1e-6  # relative, to the declared schedule
REPEAT = "move the file away and `lode sweep` repeats the run"
MOVE = "move it out of the histories folder"
_PANDAS_TYPES = {
    "run_id": "str",
    "point": "int32",
    "step": "int64",
    "epoch": "float64",
    "train_loss": "float64",
    "val_metric": "float64",
    "lr": "float64",
    "elapsed_s": "float64",
}


def suites(sweep: Sweep) -> dict[str, list[Expectation]]:
    """Expectations by the table they look at; `sweep` is checked last, see `sweep_suite`.

    Of imported runs nothing was declared: each is judged for itself.
    """
    if sweep.imported:
        any_run = any_run_suites(sweep)
        any_run["runs"] = [*_completed(), *any_run["runs"]]
        return {"files": _files(sweep), **any_run}
    return {
        "files": _files(sweep),
        "runs": _runs(sweep),
        "points": _points(sweep),
        "cells": _cells(),
    }


def _expect(kind: str, consequence: str, problem: str, remedy: str = "", **kwargs: Any) -> Any:
    # Importing Great Expectations costs 3-8 s: only where it runs.
    import great_expectations.expectations as gxe

    meta = {"consequence": consequence, "problem": problem, "remedy": remedy}
    return getattr(gxe, kind)(meta=meta, notes=problem, **kwargs)


def _files(sweep: Sweep) -> list[Expectation]:
    # fmt: off
    return [
        _expect("ExpectColumnValuesToBeNull", STOP, "unreadable files", column="problem"),
        _expect("ExpectColumnValuesToBeInSet", STOP, "columns or types are not a history's", MOVE,
                column="schema", value_set=[DECLARED_SCHEMA]),
        _expect("ExpectColumnValuesToBeInSet", STOP, f"runs of another task than {sweep.task}",
                MOVE, column="task", value_set=[sweep.task]),
    ]
    # fmt: on


def _runs(sweep: Sweep) -> list[Expectation]:
    return [*_completed(), _length(sweep), *_metrics(sweep)]


def _completed() -> list[Any]:
    # fmt: off
    return [
        _expect("ExpectColumnValuesToNotBeInSet", QUARANTINE, "did not complete", column="status",
                value_set=[DIVERGED]),
        _expect("ExpectColumnValuesToNotBeInSet", QUARANTINE, "was stopped early", column="status",
                value_set=[STOPPED]),
    ]
    # fmt: on


def _length(sweep: Sweep) -> Any:
    return _expect(
        "ExpectColumnValuesToBeBetween",
        STOP,
        f"completed, but not with T = {sweep.points} points",
        REPEAT,
        column="rows_if_completed",
        min_value=sweep.points,
        max_value=sweep.points,
    )


def _metrics(sweep: Sweep) -> list[Any]:
    """Of the metadata: neither is learned from, both are shown."""
    return [_measured(name, metric_range(sweep.task, sweep.metric)) for name in METRICS]


def _measured(column: str, bounds: tuple[float, float]) -> Any:
    low, high = bounds
    return _between(column, range_fault(column, bounds), min_value=low, max_value=high)


def _points(sweep: Sweep) -> list[Expectation]:
    # fmt: off
    return [
        _expect("ExpectTableColumnsToMatchOrderedList", STOP, "columns are not a history's", MOVE,
                column_list=[*COLUMNS, "point_increase", "step_increase", "lr_error"]),
        *(_expect("ExpectColumnValuesToBeOfType", STOP, f"{name} is not of type {type_}", REPEAT,
                  column=name, type_=type_) for name, type_ in _PANDAS_TYPES.items()),
        _expect("ExpectCompoundColumnsToBeUnique", STOP, "points that occur twice", REPEAT,
                column_list=["run_id", "point"]),
        *_values(sweep),
        _between("lr_error", "lr is not that of the declared schedule", max_value=LR_TOLERANCE),
    ]
    # fmt: on


def _between(column: str, problem: str, consequence: str = QUARANTINE, **bounds: Any) -> Any:
    remedy = REPEAT if consequence == STOP else ""
    kind = "ExpectColumnValuesToBeBetween"
    return _expect(kind, consequence, problem, remedy, column=column, **bounds)


def _values(sweep: Sweep) -> list[Expectation]:
    """Of the log points themselves, whatever run they are of."""
    # fmt: off
    return [
        _between("point", f"points outside 1..{sweep.points}", STOP, min_value=1,
                max_value=sweep.points),
        _between("point_increase", "points do not increase strictly", STOP, min_value=1),
        _between("step_increase", "steps do not increase strictly", min_value=1),
        _between("step", f"step outside 1..{sweep.updates}", min_value=1, max_value=sweep.updates),
        *(_expect("ExpectColumnValuesToNotBeNull", QUARANTINE, f"{name} is not a number",
                  column=name) for name in COLUMNS[1:]),
        _measured("train_loss", loss_range(sweep.task, sweep.max_train_loss, sweep.metric)),
        _measured("val_metric", metric_range(sweep.task, sweep.metric)),
        *(_between(name, f"{name} negative or infinite", min_value=0, max_value=LARGEST)
          for name in ("lr", "epoch", "elapsed_s")),
    ]
    # fmt: on


def _cells() -> list[Expectation]:
    # fmt: off
    return [
        _expect("ExpectColumnValuesToBeBetween", STOP, "the sweep is incomplete: no run for",
                "run `lode sweep`, it repeats no finished run", column="runs", min_value=1),
        _expect("ExpectColumnValuesToBeBetween", STOP, "more than one run for",
                "runs of other settings (e.g. training.train_samples) lie in this folder: move "
                "them out of it", column="runs", max_value=1),
    ]
    # fmt: on


def any_run_suites(sweep: Sweep) -> dict[str, list[Expectation]]:
    """Of `suites`, what holds for runs of any origin; every fault quarantines its run.

    Left out: the grid, the declared schedule, and what the reader of histories guarantees.
    """
    kept = {"runs": [_length(sweep), *_metrics(sweep)], "points": _values(sweep)}
    for expectation in (e for expectations in kept.values() for e in expectations):
        expectation.meta["consequence"] = QUARANTINE
    return kept


def sweep_suite(sweep: Sweep) -> list[Expectation]:
    """Over the runs once the bad ones are known: columns `quarantined` (0 or 1) and
    `accepted_scheduler` (empty where quarantined)."""
    # fmt: off
    expected = [
        _expect("ExpectColumnMeanToBeBetween", STOP,
                f"more than {sweep.max_quarantined:.0%} of the runs are bad",
                "see what made them bad (often too large a peak lr: lower sweep.peak_lrs) or "
                "raise validation.max_quarantined",
                column="quarantined", max_value=sweep.max_quarantined),
    ]
    if not sweep.imported:
        expected.append(
        _expect("ExpectColumnDistinctValuesToContainSet", STOP, "schedulers without a good run",
                "see what made theirs bad, or run `lode sweep`: a LODE learns the shapes it sees, "
                "and one that saw no OneCycle cost the paper 2.5 points of test accuracy (72.4 "
                "against 74.9 %, Table 4)", column="accepted_scheduler",
                value_set=list(sweep.schedulers)))
    # fmt: on
    return expected
