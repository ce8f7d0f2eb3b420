"""Learned policies of a workspace: learn one unless it is there, and runs under it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from components.runs.progress import progress
from components.settings import Settings
from components.steps.all_steps import StepResult, sweep_plan
from components.storage.workspace import Workspace
from components.training.threads import one_thread

if TYPE_CHECKING:
    from components.runs.job import Job


def learn_policy(
    settings: Settings,
    workspace: Workspace,
    scheduler: str,
    episodes: int | None = None,
    seed: int = 0,
) -> StepResult:
    """Learn a policy for `settings.task` into `models/<scheduler>/<task>/`.

    Does nothing if a valid policy is there that was learned with the same settings; a killed
    learning goes on where it was.

    Args:
        scheduler: `rl-controller` or `gns`.
        episodes: child trainings of `training.updates` each; None: the method's default. They
            start at rates drawn from the range of `sweep.peak_lrs`.

    Raises:
        PolicyError: impossible arguments.
    """
    from components.runs.execute import load_data, pick_device
    from components.schedulers import learning
    from components.schedulers.policy import PolicyError, save_policy
    from components.tasks import catalog

    started, folder = time.perf_counter(), workspace.policy(scheduler, settings.task)
    job = sweep_plan(settings, workspace).template
    count = learning.METHODS[scheduler].episodes if episodes is None else episodes
    peaks = settings.sweep.peak_lrs
    wanted = {
        "episodes": count,
        "seed": seed,
        "updates": settings.training.updates,
        "lr_range": [min(peaks), max(peaks)],
        "train_samples": job.spec.train_samples,
        "data_digest": job.spec.data_digest,
    }
    try:
        found = learning.load(scheduler, folder, settings.task)
        if all(found.learning.get(key) == value for key, value in wanted.items()):
            return _result(found.learning, found.digest, ran=False, started=started)
    except PolicyError:
        pass  # none, or one that has to be replaced
    workspace.check_writable()
    data = load_data(
        settings.task, workspace.data, job.spec.train_samples, str(pick_device(job.device))
    )
    # as many threads as a run of the sweep has: the same bits whatever the machine's cores
    with one_thread(), progress(f"{scheduler} {settings.task}", count) as advance:
        policy, summary = learning.learn(
            scheduler,
            catalog.get(settings.task),
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
    found = learning.load(scheduler, folder, settings.task)
    return _result(found.learning, found.digest, ran=True, started=started)


def policy_job(
    template: Job, workspace: Workspace, scheduler: str, initial_lr: float, seed: int
) -> Job:
    """`template` as a run under the workspace's policy; its name depends on the policy.

    Raises:
        PolicyError: no policy there, or a damaged one; says which command learns one.
    """
    from components.schedulers.learning import load

    folder = workspace.policy(scheduler, template.spec.task)
    digest = load(scheduler, folder, template.spec.task).digest
    spec = replace(
        template.spec, scheduler=scheduler, peak_lr=initial_lr, seed=seed, scheduler_digest=digest
    )
    return replace(template, spec=spec, policy=folder)


def _teller(advance: Callable[[int, str], None]) -> Callable[[dict[str, float]], None]:
    return lambda row: advance(
        1,
        f"from {row['initial_lr']:.1e}: metric {row['val_metric']:.4f} reward {row['reward']:.3g}",
    )


def _result(summary: dict, digest: str, *, ran: bool, started: float) -> StepResult:
    text = (
        f"policy {digest}, learned on {summary['episodes']} trainings "
        f"({summary['learning_updates']} updates)"
    )
    facts = {"digest": digest, "learning_updates": summary["learning_updates"]}
    return StepResult("learn", ran, text, facts, time.perf_counter() - started)
