"""Outcomes in words: which runs, which rows, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from components.training.history import History
from components.validation.checks import Outcome

SHOWN = 8  # of a long list; validation.json has all


def listing(items: Iterable[Any], shown: int = SHOWN, separator: str = ", ") -> str:
    """`a, b, c and 5 more`."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return separator.join(texts[:shown]) + more


def by_run(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Offending rows' points by run id; no points where the whole run is meant."""
    runs: dict[str, list[Any]] = {}
    for row in rows:
        points = runs.setdefault(str(row["run_id"]), [])
        if "point" in row:
            points.append(row["point"])
    return runs


def stop_message(outcome: Outcome, runs: Mapping[str, History], bad: list[str]) -> str:
    """One line: problem, the runs (by id in `runs`) and rows it shows in, remedy.

    `bad`: the quarantined runs in words, for the message that there are too many.
    """
    too_many = outcome.kwargs.get("column") == "quarantined"
    where = listing(bad, separator="; ") if too_many else _where(outcome, runs)
    fault = f"{outcome.problem}: {where}" if where else outcome.problem
    return f"{fault}; {outcome.remedy}" if outcome.remedy else fault


def _where(outcome: Outcome, runs: Mapping[str, History]) -> str:
    if outcome.table == "files":
        return listing((_file(row) for row in outcome.rows), separator="; ")
    if outcome.table == "cells":
        return listing(
            f"{row['scheduler']} {row['peak_lr']:g} seed {row['seed']}" for row in outcome.rows
        )
    if outcome.rows:
        return listing(
            (_run(run_id, points, runs) for run_id, points in by_run(outcome.rows).items()),
            separator="; ",
        )
    if isinstance(outcome.observed, list):
        return listing(outcome.observed)
    return f"found {outcome.observed}"


def _file(row: Mapping[str, Any]) -> str:
    value = row["value"]
    if value is None or str(row["file"]) in str(value):  # a reader's message names the file itself
        return str(value or row["file"])
    return f"{row['file']} ({value})"


def _run(run_id: str, points: list[Any], runs: Mapping[str, History]) -> str:
    name = f"{runs[run_id].describe()} ({run_id})" if run_id in runs else run_id
    return f"{name} at point {listing(points)}" if points else name
