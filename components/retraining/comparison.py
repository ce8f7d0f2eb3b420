"""Challenger and champion side by side: on the same fresh seeds, and on held-out histories."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.statistics import paired_difference, summarize
from components.lode.model import LODE
from components.lode.settings import as_shares
from components.lode.table_a1 import OBSERVED, relative_errors
from components.registry.aliases import CHAMPION
from components.registry.models import fetch
from components.registry.promotion import find
from components.registry.registration import Registration
from components.retraining.errors import RetrainingError
from components.retraining.gate import Figures, Versus
from components.retraining.record import COMPARISON, Night, frozen, this_night
from components.retraining.typed_json import read_or_none, write
from components.runs.job import Job, RunAll
from components.runs.plan import missing, sweep_plan
from components.runs.pool import run_all as on_this_machine
from components.runs.progress import progress
from components.runs.scheduled import controller_settings, scheduled_job
from components.settings import Settings
from components.steps.step import StepResult
from components.storage.workspace import Workspace
from components.training.history import History, digest

Errors = dict[str, float | None]  # by run id


@dataclass(frozen=True)
class Comparison:
    """What comparison.json holds. None where there is no champion, else of a run that diverged and
    of an error that is not finite: JSON has no infinity.

    Attributes:
        night: its id. champion: the version the challenger was compared with.
        tests, champion_tests: test metric by seed.
        errors, champion_errors: relative MSE by run id of the held-out histories.
        swept: those of them that are the sweep's.
        fingerprints: digest by run id of the runs on the night's seeds.
    """

    night: str
    champion: int | None
    tests: dict[str, float | None]
    champion_tests: dict[str, float | None] | None
    errors: Errors
    champion_errors: Errors | None
    swept: list[str]
    fingerprints: dict[str, str]

    @property
    def figures(self) -> Figures:
        """What the gate looks at."""
        return Figures(
            validated=True,  # what did not pass is not in the night; too much of it stops `collect`
            runs=len(self.tests),
            completed=sum(test is not None for test in self.tests.values()),
            error=_mean(self.errors),
            test=summarize(self.tests.values()).mean,
            champion=self._versus(),
        )

    def _versus(self) -> Versus | None:
        if self.champion_tests is None or self.champion_errors is None:
            return None
        ours, theirs = (
            {run_id: errors[run_id] for run_id in self.swept}
            for errors in (self.errors, self.champion_errors)
        )
        return Versus(
            error=_mean(self.champion_errors),
            test=summarize(self.champion_tests.values()).mean,
            error_difference=paired_difference(self.errors, self.champion_errors),
            sweep_difference=paired_difference(ours, theirs),
            test_difference=paired_difference(self.tests, self.champion_tests),
        )


def compare(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Train under both LODEs on the night's seeds and measure both on the held-out histories.

    The champion is the registry's, under the controller settings it was registered with. Runs go to
    `data/nightly/<task>`, named by their digests: a killed comparison trains what is missing.

    Args:
        run_all: who trains; None: processes of this machine.

    Raises:
        RetrainingError: no night was begun, or a LODE cannot be compared on its histories.
        RegistryError: the registry is unreachable; what is fitted and trained is kept.
    """
    started, task = time.perf_counter(), settings.task
    night, path = this_night(workspace, task), workspace.night(task) / COMPARISON
    uri = workspace.database(settings.registry.tracking_uri)
    champion = find(task, CHAMPION, tracking_uri=uri)
    before = read_or_none(Comparison, path)
    if before is not None and _still_holds(before, night, champion):
        return StepResult("compare", False, _summary(before))
    folder = None
    jobs = _jobs(workspace.challenger(task), controller_settings(settings), settings, workspace)
    if champion is not None:
        folder = workspace.night(task) / "champion"
        shutil.rmtree(folder, ignore_errors=True)  # another night's may have had other files
        fetch(champion.uri, tracking_uri=uri, folder=folder)
        jobs += _jobs(
            folder, controller_of(champion, settings.training.points), settings, workspace
        )
    absent = missing(jobs)
    histories = _trained(jobs, settings, run_all)
    with frozen(task):
        errors = held_out_errors(night, workspace, folder, task)
    found = _measured(night, champion, histories, errors)
    write(found, path)
    seconds = time.perf_counter() - started
    return StepResult("compare", absent > 0, _summary(found), seconds, trained=absent)


def compared(night: Night, workspace: Workspace, task: str) -> Comparison:
    """What `compare` found.

    Raises:
        RetrainingError: nothing yet.
    """
    found = read_or_none(Comparison, workspace.night(task) / COMPARISON)
    if found is None or found.night != night.id:
        raise RetrainingError(f"nothing was compared for {task} yet; run `lode retrain`")
    return found


def held_out_errors(
    night: Night, workspace: Workspace, champion: Path | None, task: str
) -> tuple[Errors, Errors | None]:
    """Relative MSE of each held-out history under the challenger, and under the champion.

    The mean over the three channels and over both windows of Table A1 (5 and 50 % observed). Both
    are measured in the champion's learning-rate units, or in the challenger's if there is no other.
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


def controller_of(registered: Registration, points: int) -> dict[str, Any]:
    """The controller settings a version was registered with; `points`: T of its fit."""
    return as_shares(json.loads(registered.tags["controller"]), points)


def _still_holds(found: Comparison, night: Night, champion: Registration | None) -> bool:
    """Whether a finished comparison of this night is with the champion there is, or has already
    made the challenger the champion, a kill having come before the night was recorded."""
    if found.night != night.id:
        return False
    if champion is None or champion.version == found.champion:
        return (champion is None) == (found.champion is None)
    return champion.tags.get("night") == night.id


def _jobs(
    folder: Path, controller: dict[str, Any], settings: Settings, workspace: Workspace
) -> list[Job]:
    task = settings.task
    template = replace(sweep_plan(settings, workspace).template, histories=workspace.nightly(task))
    seeds = this_night(workspace, task).seeds
    return [scheduled_job(template, folder, controller, seed) for seed in seeds]


def _trained(jobs: list[Job], settings: Settings, run_all: RunAll | None) -> list[History]:
    with progress(f"compare {settings.task}", len(jobs)) as advance:
        return (run_all or on_this_machine)(
            jobs,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, history.describe()),
        )


def _measured(
    night: Night,
    champion: Registration | None,
    histories: Sequence[History],
    errors: tuple[Errors, Errors | None],
) -> Comparison:
    """Of the challenger's histories, followed by the champion's, and the errors of both."""
    count = len(night.seeds)
    return Comparison(
        night=night.id,
        champion=champion.version if champion else None,
        tests=_tests(histories[:count]),
        champion_tests=_tests(histories[count:]) if champion else None,
        errors=errors[0],
        champion_errors=errors[1],
        swept=[run_id for run_id in night.held_out if run_id in night.sweep],
        fingerprints={history.run_id: digest([history]) for history in histories},
    )


def _tests(histories: Sequence[History]) -> dict[str, float | None]:
    return {str(h.meta["seed"]): h.meta["test_metric"] if h.completed else None for h in histories}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(errors: Errors) -> float:
    """NaN of nothing; infinity where one is not finite."""
    if not errors:
        return math.nan
    finite = [error for error in errors.values() if error is not None]
    return float(np.mean(finite)) if len(finite) == len(errors) else math.inf


def _summary(found: Comparison) -> str:
    ours, theirs = found.figures, found.figures.champion
    text = f"challenger: test {_shown(ours.test)}, held-out error {ours.error:.3g}"
    if theirs is None:
        return f"{text}; no champion yet"
    test = _shown(theirs.test)
    return f"{text}; champion {found.champion}: test {test}, error {theirs.error:.3g}"


def _shown(test: float | None) -> str:
    return "diverged" if test is None else f"{test:.4f}"
