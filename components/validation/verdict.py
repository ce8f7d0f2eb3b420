"""From the outcomes of the expectations to what the LODE may learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.training.history import History, digest
from components.validation.checks import Checker, Outcome
from components.validation.suite import QUARANTINE, suites, sweep_suite
from components.validation.tables import Sweep, Tables
from components.validation.wording import by_run, listing, stop_message


@dataclass(frozen=True)
class BadRun:
    """A quarantined run: its file stays where it is, the LODE does not learn from it.

    `reasons`: each with `problem`, `expectation` and the `points` it shows in (none: the run as a
    whole).
    """

    run_id: str
    run: str
    reasons: list[dict[str, Any]]

    def describe(self) -> str:
        problems = (
            reason["problem"]
            + (f" at point {listing(reason['points'], 3)}" if reason["points"] else "")
            for reason in self.reasons
        )
        return f"{self.run} ({self.run_id}): {'; '.join(problems)}"


@dataclass(frozen=True)
class ValidationResult:
    """What the LODE may learn from.

    Attributes:
        accepted: run ids, sorted.
        quarantined: the sweep's bad runs.
        outside: run ids in the folder that the declared sweep does not contain; not accepted.
        histories_digest: `components.training.history.digest` of the accepted runs.
        outcomes: of every expectation.
        stops: why the pipeline must stop, in words; empty in what `validate` returns.
    """

    task: str
    accepted: tuple[str, ...]
    quarantined: tuple[BadRun, ...]
    outside: tuple[str, ...]
    histories_digest: str
    outcomes: tuple[Outcome, ...]
    stops: tuple[str, ...]
    files: int
    points: int

    @property
    def success(self) -> bool:
        return not self.stops

    def summary(self) -> str:
        """`100 runs of mnist1d-cnn: 97 accepted, 3 quarantined` and the reasons, a line each."""
        outside = f", {len(self.outside)} outside the declared sweep" if self.outside else ""
        head = (
            f"{self.files} runs of {self.task}: {len(self.accepted)} accepted, "
            f"{len(self.quarantined)} quarantined{outside}"
        )
        return "\n  ".join([head, *(bad.describe() for bad in self.quarantined)])


def decide(tables: Tables, declared: Sweep, checker: Checker) -> ValidationResult:
    """Run the suites, the last one over what they leave of the sweep."""
    frames = {
        "files": tables.files,
        "runs": tables.runs,
        "points": tables.points,
        "cells": tables.cells,
    }
    outcomes: list[Outcome] = []
    for name, expectations in suites(declared).items():
        if len(frames[name]):  # all files unreadable: the first suite has said so
            outcomes += checker.check(name, frames[name], expectations)
    runs = {history.run_id: history for history in tables.histories.values()}
    bad_runs = quarantined(outcomes, runs)
    if len(tables.runs):
        outcomes += checker.check("sweep", _verdicts(tables, bad_runs), sweep_suite(declared))
    bad, outside = {run.run_id for run in bad_runs}, {h.run_id for h in tables.outside}
    own = {run_id for run_id in tables.runs.get("run_id", [])}
    accepted = tuple(sorted(own - bad - outside))
    named = [run.describe() for run in bad_runs]
    stops = tuple(stop_message(outcome, runs, named) for outcome in outcomes if outcome.stops)
    return ValidationResult(
        task=declared.task,
        accepted=() if stops else accepted,
        quarantined=tuple(bad_runs),
        outside=tuple(sorted(outside)),
        histories_digest=digest([runs[run_id] for run_id in accepted]),
        outcomes=tuple(outcomes),
        stops=stops,
        files=len(tables.files),
        points=len(tables.points),
    )


def quarantined(outcomes: list[Outcome], runs: dict[str, History]) -> list[BadRun]:
    bad: dict[str, list[dict[str, Any]]] = {}
    for outcome in outcomes:
        if outcome.success or outcome.consequence != QUARANTINE:
            continue
        for run_id, points in by_run(outcome.rows).items():
            reason = {"problem": outcome.problem, "points": points}
            bad.setdefault(run_id, []).append({**reason, "expectation": outcome.expectation})
    return [BadRun(run_id, runs[run_id].describe(), bad[run_id]) for run_id in sorted(bad)]


def _verdicts(tables: Tables, quarantined: list[BadRun]) -> pd.DataFrame:
    is_bad = tables.runs["run_id"].isin([run.run_id for run in quarantined])
    return pd.DataFrame(
        {
            "run_id": tables.runs["run_id"],
            "quarantined": is_bad.astype(float),
            "accepted_scheduler": tables.runs["scheduler"].where(~is_bad),
        }
    )
