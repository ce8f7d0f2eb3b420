"""Challenger and champion side by side: on the same fresh seeds, and on held-out histories."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.evaluation.statistics import paired_difference, summarize
from components.lode.model import LODE
from components.lode.table_a1 import OBSERVED, relative_errors
from components.registry import Registration, fetch, find
from components.registry.aliases import CHAMPION
from components.retraining.gate import Figures, Versus
from components.retraining.record import (
    COMPARISON,
    Night,
    RetrainingError,
    read_or_none,
    this_night,
)
from components.runs import pool
from components.runs.progress import progress
from components.settings import Settings
from components.steps.all_steps import (
    StepResult,
    controller_settings,
    scheduled_job,
    sweep_plan,
    tracking_uri,
)
from components.storage.files import write_text
from components.storage.workspace import Workspace
from components.training.history import History, digest

if TYPE_CHECKING:
    from components.runs.job import Job
    from components.runs.pool import RunAll

Errors = dict[str, float | None]  # by run id


def compare(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Train under both LODEs on the night's seeds and measure both on the held-out histories.

    The champion is the registry's, under the controller settings it was registered with. Runs go to
    `data/nightly/<task>`, named by their digests: a killed comparison trains what is missing.

    Args:
        run_all: who trains; None: processes of this machine.

    Raises:
        RegistryError: the registry is unreachable; what is fitted and trained is kept.
    """
    started, task = time.perf_counter(), settings.task
    night = this_night(workspace, task)
    champion = find(task, CHAMPION, tracking_uri=tracking_uri(settings, workspace))
    before = read_or_none(workspace.night(task) / COMPARISON)
    if before is not None and _still_holds(before, night, champion):
        return StepResult("compare", ran=False, summary=_said(before), facts=before)
    folder = workspace.night(task) / "champion"
    jobs = _jobs(workspace.challenger(task), controller_settings(settings), settings, workspace)
    if champion is not None:
        shutil.rmtree(folder, ignore_errors=True)  # another night's may have had other files
        fetch(champion.uri, tracking_uri=tracking_uri(settings, workspace), folder=folder)
        jobs += _jobs(folder, controller_of(champion), settings, workspace)
    missing = sum(not job.path.exists() for job in jobs)
    with progress(f"compare {task}", len(jobs)) as advance:
        histories = (run_all or pool.run_all)(
            jobs,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, history.describe()),
        )
    count = len(night.seeds)
    errors = held_out_errors(night, workspace, folder if champion else None, task)
    found = {
        "night": night.id,
        "champion": champion.version if champion else None,
        "tests": _tests(histories[:count]),
        "champion_tests": _tests(histories[count:]) if champion else None,
        "errors": errors[0],
        "champion_errors": errors[1],
        "swept": [run_id for run_id in night.held_out if run_id in night.sweep],
        "fingerprints": {history.run_id: digest([history]) for history in histories},
    }
    write_text(workspace.night(task) / COMPARISON, json.dumps(found, indent=1) + "\n")
    return StepResult(
        "compare",
        ran=missing > 0,
        summary=_said(found),
        facts=found,
        seconds=time.perf_counter() - started,
    )


def _still_holds(found: dict[str, Any], night: Night, champion: Registration | None) -> bool:
    """Whether a finished comparison of this night is with the champion there is, or has already
    made the challenger the champion, a kill having come before the night was recorded."""
    if found["night"] != night.id:
        return False
    if champion is None or champion.version == found["champion"]:
        return (champion is None) == (found["champion"] is None)
    return champion.tags.get("night") == night.id


def compared(night: Night, workspace: Workspace, task: str) -> dict[str, Any]:
    """What `compare` found.

    Raises:
        RetrainingError: nothing yet.
    """
    found = read_or_none(workspace.night(task) / COMPARISON)
    if found is None or found["night"] != night.id:
        raise RetrainingError(f"nothing was compared for {task} yet; run `lode retrain`")
    return dict(found)


def figures(found: dict[str, Any]) -> Figures:
    """What the gate looks at."""
    tests, errors, swept = list(found["tests"].values()), found["errors"], found["swept"]
    versus = None
    if found["champion"] is not None:
        theirs = found["champion_errors"]
        versus = Versus(
            error=_mean(theirs),
            test=summarize(found["champion_tests"].values()).mean,
            error_difference=paired_difference(errors, theirs),
            sweep_difference=paired_difference(
                {key: errors[key] for key in swept}, {key: theirs[key] for key in swept}
            ),
            test_difference=paired_difference(found["tests"], found["champion_tests"]),
        )
    return Figures(
        validated=True,  # what did not pass is not in the night, and too much of it stops `collect`
        runs=len(tests),
        completed=sum(test is not None for test in tests),
        error=_mean(errors),
        test=summarize(tests).mean,
        champion=versus,
    )


def held_out_errors(
    night: Night, workspace: Workspace, champion: Path | None, task: str
) -> tuple[Errors, Errors | None]:
    """Relative MSE of each held-out history under the challenger, and under the champion.

    The mean over the three channels and over both windows of Table A1 (5 and 50 % observed). Both
    are measured in the champion's learning-rate units, or in the challenger's if there is no other.
    None stands for what is not finite: JSON has no infinity.
    """
    histories = night.read(workspace, list(night.files))
    series = np.stack([h.series() for h in histories])
    apart = [i for i, history in enumerate(histories) if history.run_id in night.held_out]
    ours = LODE.load(workspace.challenger(task))
    theirs = LODE.load(champion) if champion else None
    units = (theirs or ours).config.channels

    def errors(lode: LODE) -> Errors:
        if not apart:
            return {}
        shares = [relative_errors(lode, series, share, units) for share in OBSERVED]
        each = np.mean(shares, 0).mean(1)
        return {histories[i].run_id: _finite(float(each[i])) for i in apart}

    return errors(ours), errors(theirs) if theirs else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def controller_of(registered: Registration) -> dict[str, Any]:
    """The controller settings a version was registered with."""
    said = json.loads(registered.tags["controller"])
    return {**said, "horizon": said["horizon"] or None}


def _jobs(
    folder: Path, controller: dict[str, Any], settings: Settings, workspace: Workspace
) -> list[Job]:
    task = settings.task
    template = replace(sweep_plan(settings, workspace).template, histories=workspace.nightly(task))
    seeds = this_night(workspace, task).seeds
    return [scheduled_job(template, folder, controller, seed) for seed in seeds]


def _tests(histories: Sequence[History]) -> dict[str, float | None]:
    """Test metric by seed; None of a run that diverged."""
    return {str(h.meta["seed"]): h.meta["test_metric"] if h.completed else None for h in histories}


def _mean(errors: Errors) -> float:
    """NaN of nothing; infinity where one is not finite."""
    if not errors:
        return math.nan
    finite = [error for error in errors.values() if error is not None]
    return float(np.mean(finite)) if len(finite) == len(errors) else math.inf


def _said(found: dict[str, Any]) -> str:
    measured = figures(found)
    test = "diverged" if measured.test is None else f"{measured.test:.4f}"
    said = f"challenger: test {test}, held-out error {measured.error:.3g}"
    if measured.champion is None:
        return said + "; no champion yet"
    theirs = measured.champion
    test = "diverged" if theirs.test is None else f"{theirs.test:.4f}"
    return f"{said}; champion {found['champion']}: test {test}, error {theirs.error:.3g}"
