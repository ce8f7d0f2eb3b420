"""Learned policies of a workspace: learn one unless it is there, and runs under it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from components.runs.execute import load_data, pick_device
from components.runs.job import Job
from components.runs.progress import progress
from components.runs.tasks import task_of
from components.schedulers import learning
from components.schedulers.policy import Learned, PolicyError, save_policy
from components.settings import Settings
from components.storage.workspace import Workspace
from components.training.threads import one_thread


@dataclass(frozen=True)
class PolicyResult:
    """A policy of a workspace: its `digest`, what learning it took, whether it was learned now."""

    digest: str
    episodes: int
    learning_updates: int
    ran: bool
    seconds: float

    def __str__(self) -> str:
        return (
            f"policy {self.digest}, learned on {self.episodes} trainings "
            f"({self.learning_updates} updates)"
        )


def learn_policy(
    settings: Settings,
    workspace: Workspace,
    job: Job,
    scheduler: str,
    episodes: int | None = None,
    seed: int = 0,
) -> PolicyResult:
    """Learn a policy for `settings.task` into `models/<scheduler>/<task>/`.

    Does nothing if a valid policy is there that was learned with the same settings; a killed
    learning goes on where it was.

    Args:
        job: a template of these settings: device, data and samples of the child trainings.
        scheduler: `rl-controller` or `gns`.
        episodes: child trainings of `training.updates` each; None: the method's default. They
            start at rates drawn from the range of `sweep.peak_lrs`.

    Raises:
        PolicyError: impossible arguments.
    """
    started, folder = time.perf_counter(), workspace.policy(scheduler, settings.task)
    count = learning.METHODS[scheduler].episodes if episodes is None else episodes
    peaks = settings.sweep.peak_lrs
    wanted: dict[str, Any] = {
        "episodes": count,
        "seed": seed,
        "updates": settings.training.updates,
        "lr_range": [min(peaks), max(peaks)],
        "train_samples": job.spec.train_samples,
        "data_digest": job.spec.data_digest,
    }
    found = _found(scheduler, settings, workspace, wanted)
    if found is not None:
        return _result(found, False, started)
    workspace.check_writable()
    device = str(pick_device(job.device))
    task = task_of(job)
    data = load_data(task, workspace.data, job.spec.train_samples, device)
    # as many threads as a run of the sweep has: the same bits whatever the machine's cores
    with one_thread(), progress(f"{scheduler} {settings.task}", count) as advance:
        policy, summary = learning.learn(
            scheduler,
            task,
            data,
            updates=settings.training.updates,
            lr_range=(min(peaks), max(peaks)),
            episodes=count,
            seed=seed,
            checkpoint=workspace.policy_checkpoint(scheduler, settings.task),
            of={key: wanted[key] for key in ("train_samples", "data_digest")},
            on_episode=_teller(advance),
        )
    save_policy(policy, folder, scheduler=scheduler, task=settings.task, learning=summary | wanted)
    return _result(learning.load(scheduler, folder, settings.task), True, started)


def policy_job(
    template: Job, workspace: Workspace, scheduler: str, initial_lr: float, seed: int
) -> Job:
    """`template` as a run under the workspace's policy; its name depends on the policy.

    Raises:
        PolicyError: no policy there, or a damaged one; says which command learns one.
    """
    folder = workspace.policy(scheduler, template.spec.task)
    digest = learning.load(scheduler, folder, template.spec.task).digest
    spec = replace(
        template.spec, scheduler=scheduler, peak_lr=initial_lr, seed=seed, scheduler_digest=digest
    )
    return replace(template, spec=spec, policy=folder)


def _found(
    scheduler: str, settings: Settings, workspace: Workspace, wanted: dict[str, Any]
) -> Learned | None:
    try:
        found = learning.load(scheduler, workspace.policy(scheduler, settings.task), settings.task)
    except PolicyError:  # none, or one that has to be replaced
        return None
    same = all(found.learning.get(key) == value for key, value in wanted.items())
    return found if same else None


def _teller(advance: Callable[[int, str], None]) -> Callable[[dict[str, float]], None]:
    return lambda row: advance(
        1,
        f"from {row['initial_lr']:.1e}: metric {row['val_metric']:.4f} reward {row['reward']:.3g}",
    )


def _result(found: Learned, ran: bool, started: float) -> PolicyResult:
    said, seconds = found.learning, time.perf_counter() - started
    return PolicyResult(found.digest, said["episodes"], said["learning_updates"], ran, seconds)
