"""Every scheduler by name: what builds it from a job."""

from __future__ import annotations

from collections.abc import Callable

from components.lode.scheduler import load_scheduler
from components.runs.job import Job
from components.schedulers.hypergradient import Hypergradient
from components.schedulers.learning import frozen
from components.schedulers.parametric import PARAMETRIC, Parametric
from components.schedulers.pbt import Population
from components.schedulers.plan import Plan
from components.schedulers.schedule_free import ScheduleFree
from components.training.scheduler import Scheduler


def build(job: Job) -> Scheduler:
    """The scheduler of a job's spec, ready for update 0.

    Raises:
        KeyError: no scheduler of that name.
    """
    return BUILDERS[job.spec.scheduler](job)


def _parametric(job: Job) -> Scheduler:
    spec = job.spec
    return Parametric(spec.scheduler, peak_lr=_peak_lr(job), updates=spec.updates)


def _plan(job: Job) -> Scheduler:
    return Plan(job.plan, updates=job.spec.updates, points=job.spec.points)


def _lode(job: Job) -> Scheduler:
    assert job.lode is not None, "scheduler lode needs the folder of a fitted LODE"
    spec = job.spec
    return load_scheduler(
        job.lode, updates=spec.updates, points=spec.points, seed=spec.seed, **job.controller
    )


def _hypergradient(job: Job) -> Scheduler:
    return Hypergradient(_peak_lr(job))


def _learned(job: Job) -> Scheduler:
    assert job.policy is not None, f"scheduler {job.spec.scheduler} needs the folder of a policy"
    spec = job.spec
    return frozen(
        spec.scheduler,
        job.policy,
        task=spec.task,
        initial_lr=_peak_lr(job),
        updates=spec.updates,
        digest=spec.scheduler_digest,
    )


def _pbt(job: Job) -> Scheduler:
    return Population(**job.controller)


def _schedule_free(job: Job) -> Scheduler:
    return ScheduleFree(_peak_lr(job), updates=job.spec.updates)


def _peak_lr(job: Job) -> float:
    assert job.spec.peak_lr is not None, f"{job.spec.scheduler} needs a peak learning rate"
    return job.spec.peak_lr


BUILDERS: dict[str, Callable[[Job], Scheduler]] = {
    **dict.fromkeys(PARAMETRIC, _parametric),
    "hypergradient": _hypergradient,
    "schedule-free": _schedule_free,
    "plan": _plan,
    "multi-power-law": _plan,
    "lode": _lode,
    "rl-controller": _learned,
    "gns": _learned,
    "pbt": _pbt,
}
