"""From settings to jobs: the sweep's, and a run under any scheduler."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from components.evaluation.ranking import best_configurations
from components.lode.settings import RATES, SEEDS, OutOfRangeError, Range
from components.runs.job import Job
from components.runs.law import law_job, read_law
from components.runs.scheduled import lode_job
from components.runs.tasks import digest_of, own_of
from components.schedulers.names import (
    LEARNED_SCHEDULERS,
    LODE,
    MULTI_POWER_LAW,
    PARAMETRIC_SCHEDULERS,
)
from components.settings import Settings
from components.storage.digests import text_digest
from components.storage.workspace import Workspace
from components.training.history import History, HistoryError, read_histories
from components.training.run import RunSpec

POPULATION = 8  # members of a PBT run; it costs so many trainings


class JobError(ValueError):
    """The run asked for is not fully described; the message says what to add."""


@dataclass(frozen=True)
class SweepPlan:
    """What to sweep; `template` is a job whose scheduler, peak lr and seed are replaced.

    `sampler`: `grid` (every scheduler × peak lr, the paper's), `racing` (the same on the first
    seed, `survivors` of them on the others) or `tpe` (`trials` configurations, peak lr log-uniform
    between the smallest and the largest of `peak_lrs`).
    """

    template: Job
    sampler: str
    schedulers: tuple[str, ...]
    peak_lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    trials: int
    survivors: int

    @property
    def grid(self) -> list[tuple[str, float]]:
        """Every scheduler × peak lr, in a fixed order."""
        return list(itertools.product(self.schedulers, self.peak_lrs))

    def jobs(self, scheduler: str, peak_lr: float) -> list[Job]:
        """The runs of one configuration, one per seed."""
        return [under(self.template, scheduler, peak_lr, seed) for seed in self.seeds]

    def grid_jobs(self) -> list[Job]:
        """Every run of the grid, in a fixed order."""
        return [job for configuration in self.grid for job in self.jobs(*configuration)]


def template(settings: Settings, workspace: Workspace, histories: Path) -> Job:
    """A job of these settings that has no scheduler yet; its history goes to `histories`."""
    training = settings.training
    spec = RunSpec(
        task=settings.task,
        scheduler="",
        peak_lr=None,
        seed=0,
        updates=training.updates,
        points=training.points,
        train_samples=training.train_samples,
        data_digest=digest_of(settings, workspace),
    )
    own = own_of(settings, workspace)
    return Job(spec, histories, workspace.data, training.device, own=own)


def sweep_plan(settings: Settings, workspace: Workspace) -> SweepPlan:
    """The sweep that params.yaml asks for."""
    sweep = settings.sweep
    return SweepPlan(
        template(settings, workspace, workspace.histories(settings.task)),
        sweep.sampler,
        tuple(sweep.schedulers),
        tuple(sweep.peak_lrs),
        tuple(sweep.seeds),
        sweep.trials,
        sweep.survivors,
    )


def under(job: Job, scheduler: str, peak_lr: float | None, seed: int) -> Job:
    """`job` as a run under a scheduler that needs nothing but a peak lr."""
    spec = replace(job.spec, scheduler=scheduler, peak_lr=peak_lr, seed=seed)
    return replace(job, spec=spec)


def job_of(
    template: Job,
    settings: Settings,
    workspace: Workspace,
    scheduler: str,
    peak_lr: float | None,
    seed: int,
) -> Job:
    """`template` as a run under any scheduler, with what else determines it (LODE, policy, range).

    Raises:
        JobError: a peak lr too few or too many, or a peak lr or seed that no run may have; or the
            Multi-Power Law does not fit the sweep.
        PolicyError, WorkspaceError: no policy, LODE, or law's schedule in the workspace.
    """
    _check("--seed", SEEDS, seed)
    if peak_lr is not None:
        _check("--peak-lr", RATES, peak_lr)
    if scheduler == LODE:
        if peak_lr is not None:
            raise JobError("scheduler lode sets the learning rate itself; drop --peak-lr")
        return lode_job(template, settings, workspace, seed)
    if scheduler in LEARNED_SCHEDULERS:
        if peak_lr is None:
            raise JobError(
                f"scheduler {scheduler} needs the learning rate it starts from: add --peak-lr 0.01"
            )
        from components.runs.policies import policy_job  # torch

        return policy_job(template, workspace, scheduler, peak_lr, seed)
    if scheduler == "pbt":
        return _population_job(template, settings, peak_lr, seed)
    if scheduler == MULTI_POWER_LAW:
        return _law_job(template, workspace, peak_lr, seed)
    if peak_lr is None:
        peak_lr = _best_of_sweep(settings, workspace, scheduler)
    return under(template, scheduler, peak_lr, seed)


def _check(option: str, allowed: Range, value: float) -> None:
    try:
        allowed.check(value)
    except OutOfRangeError as error:
        raise JobError(f"{option} {value:g}: {error}") from None


def missing(jobs: list[Job]) -> int:
    """How many have no history yet."""
    return sum(not job.path.exists() for job in jobs)


def note(history: History) -> str:
    """`onecycle 0.05 seed 3: 0.9321`, for progress bars and logs."""
    best = history.meta.get("best_val_metric")
    shown = "diverged" if best is None else f"{history.metric_sign * best:.4f}"
    return f"{history.describe()}: {shown}"


def _population_job(template: Job, settings: Settings, peak_lr: float | None, seed: int) -> Job:
    if peak_lr is not None:
        raise JobError("scheduler pbt draws its learning rates itself; drop --peak-lr")
    peaks = settings.sweep.peak_lrs
    controller = {"lr_range": [min(peaks), max(peaks)], "members": POPULATION}
    spec = replace(
        template.spec,
        scheduler="pbt",
        peak_lr=None,
        seed=seed,
        scheduler_digest=text_digest(controller)[:16],
    )
    return replace(template, spec=spec, controller=controller)


def _law_job(template: Job, workspace: Workspace, peak_lr: float | None, seed: int) -> Job:
    if peak_lr is not None:
        raise JobError(f"scheduler {MULTI_POWER_LAW} finds its peak itself; drop --peak-lr")
    found = read_law(template.spec.task, workspace)
    if found.refused:
        raise JobError(f"scheduler {MULTI_POWER_LAW} has no schedule for this: {found.refused}")
    length, spec = (found.updates, len(found.table) - 1), template.spec
    if length != (spec.updates, spec.points):
        raise JobError(
            f"the schedule of {MULTI_POWER_LAW} is of {length[0]} updates and {length[1]} log "
            "points, as the sweep's runs; drop --set"
        )
    return law_job(template, found, seed)


def _best_of_sweep(settings: Settings, workspace: Workspace, scheduler: str) -> float:
    try:
        best = best_configurations(read_histories(workspace.histories(settings.task)))
        return best[scheduler]
    except (HistoryError, KeyError):
        instead = ", or run `lode sweep` first and the best of the sweep is taken"
        raise JobError(
            f"scheduler {scheduler} needs a peak learning rate: add --peak-lr 0.01"
            + (instead if scheduler in PARAMETRIC_SCHEDULERS else "")
        ) from None
