"""`lode check`: does a script keep the contract? Asked of three runs of a few updates each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.evaluation.notation import duration
from components.runs.command import folder_of_run, run_command
from components.runs.contract import Files, read_log
from components.runs.job import Job
from components.runs.plan import template, under
from components.runs.runnable import check_runnable
from components.settings import OwnTaskSettings, Settings
from components.storage.workspace import Workspace
from components.tasks.errors import TaskError
from components.training.history import History

# Few enough to cost nothing, enough for a rate to show in the loss.
UPDATES, POINTS = 20, 10
OTHER_RATE = 0.1  # times the first run's
OK, MISSING = "ok", "missing"


@dataclass(frozen=True)
class Finding:
    """`missing` is not fatal: what is found wanting raises."""

    verdict: str
    text: str


def check(settings: Settings, workspace: Workspace) -> str:
    """What was found, a line each.

    Raises:
        TaskError: the task is no command. CommandError: the script fails, or logs too little; the
            message says what to change.
    """
    own = settings.own
    if own is None or own.command is None:
        raise TaskError(f"{settings.task} is no command, whose script could be tried")
    check_runnable(settings, workspace)
    made = _short(template(settings, workspace, workspace.state / "check"))
    peak = max(settings.sweep.peak_lrs)
    first = run_command(_at(made, peak))
    files = Files.of(folder_of_run(_at(made, peak)), first.run_id)
    findings = [_ran(first), *_logged(files.log)]
    findings.append(_repeated(first, run_command(_at(made, peak))))
    findings.append(_follows(first, run_command(_at(made, OTHER_RATE * peak))))
    findings.append(_noticed(own))
    lines = [f"  {one.verdict:8} {one.text}" for one in findings]
    return "\n".join([f"{settings.task}: {own.command}", *lines])


def _short(job: Job) -> Job:
    updates = min(UPDATES, job.spec.updates)
    return replace(job, spec=replace(job.spec, updates=updates, points=min(POINTS, updates)))


def _at(job: Job, rate: float) -> Job:
    return under(job, "constant", rate, 0)


def _ran(history: History) -> Finding:
    if not history.completed:
        return Finding(MISSING, "its loss is not finite at the highest rate: lower sweep.peak_lrs")
    took = duration(float(history.points["elapsed_s"].iloc[-1]))
    updates = history.meta["updates"]
    return Finding(OK, f"it did {updates} updates in {took} and logged what is needed")


def _logged(log: Path) -> list[Finding]:
    found, rows = read_log(log), []
    if found["lr"].isna().all():
        text = "lr is not logged, so that a run which ignores its rates goes unseen; log it"
        rows.append(Finding(MISSING, text))
    if found["test_metric"].isna().all():
        text = "test_metric is not logged: the comparison shows the last val_metric in its place"
        rows.append(Finding(MISSING, text))
    return rows


def _repeated(first: History, again: History) -> Finding:
    if _losses(first) == _losses(again):
        return Finding(OK, "of the same seed it logged the same again")
    return Finding(
        MISSING,
        "of the same seed it logged something else: seed every generator with the run's seed, or "
        "runs cannot be compared seed by seed",
    )


def _follows(first: History, other: History) -> Finding:
    if _losses(first) != _losses(other):
        return Finding(OK, "at another rate it logged other losses")
    return Finding(
        MISSING,
        f"at {OTHER_RATE:g} times the rate it logged the same losses: it ignores the rates of the "
        "run's JSON (`lr`); set them, or use run.scheduler(optimizer)",
    )


def _losses(history: History) -> list[float]:
    return list(np.asarray(history.points["train_loss"], dtype=np.float64))


def _noticed(own: OwnTaskSettings) -> Finding:
    if own.digest:
        return Finding(OK, f"a change of {', '.join(own.digest)} makes other runs")
    return Finding(
        MISSING,
        "a changed script is not noticed, its old runs count on: name its files, as in "
        "digest: [train.py]",
    )
