"""What a worker does: train the runs it is handed, one after the other, on its device.

Both flows are the same work and differ in who asks: a sweep (or its pilots), or somebody who wants
networks trained under a scheduler. Each finished run is on disk at once, and a run that another
worker has done meanwhile is read, so nothing is lost with a worker and nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.runs.execute import execute
from components.runs.job import Job
from components.runs.plan import job_of, note, template
from components.runs.progress import progress, reporting
from components.runs.scheduled import check_unchanged
from components.settings import Seeds
from components.storage.object_store import Store
from components.storage.workspace import Workspace
from flows.inputs import read, workspace_of
from flows.names import of_runs
from flows.parameters import AS_IN_PARAMS, PeakRate, RunRequest, Scheduler, SettingsFile, Task
from flows.retries import DELAYS, may_pass_next_time
from flows.said import flow

HOUR = 60 * 60


@task(
    name="train-run",
    task_run_name="{title}",
    cache_policy=NO_CACHE,
    timeout_seconds=24 * HOUR,
    retries=len(DELAYS),
    retry_delay_seconds=DELAYS,
    retry_condition_fn=may_pass_next_time,
)
def train_run(title: str, run: RunRequest, root: Path, store_url: str | None = None) -> str:
    """One run; returns its line for the log.

    Args:
        store_url: where the LODE is fetched from and the history is left; None: in the workspace.
    """
    torch.set_num_threads(1)  # as everywhere: the same bits wherever a run is trained
    workspace, log = Workspace(root), get_run_logger()
    job = run.job(workspace)
    claims = workspace.state / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    # Two workers may be handed the same run after one was taken for dead; the second waits here
    # and then finds the history.
    claim = claims / f"{job.spec.run_id}.lock"
    with FileLock(claim):
        store = Store(store_url, root) if store_url else None
        if store and not store.get(job.path):  # another worker may have done it
            fetch_lode(job, store)
        if not job.path.exists():
            check_unchanged(job)
        with (
            reporting(lambda how_far: log.info(f"{title}: {how_far}")),
            progress(title, job.spec.points) as advance,
        ):
            history = execute(job, lambda row: advance(1, ""))
        if store:
            store.put(job.path)
        claim.unlink(missing_ok=True)  # who still waits for it will find the history
    return note(history)


def fetch_lode(job: Job, store: Store) -> None:
    """The LODE or policy that the job names, always anew: a refit has the same file names."""
    for folder in filter(None, (job.lode, job.policy)):
        for name in store.names(folder):
            store.get(folder / name)


def train_all(jobs: Sequence[Job], workspace: Workspace, store_url: str | None) -> None:
    """Every job that has no history yet."""
    workspace.check_writable()
    log = get_run_logger()
    for number, job in enumerate(jobs, 1):
        run = RunRequest.of(job, workspace)
        line = train_run(f"{job.spec.task} {job.spec.describe()}", run, workspace.root, store_url)
        log.info(f"{number} of {len(jobs)}: {line}")


@flow(name="sweep-shard", run_name=of_runs)
def sweep_shard(
    runs: list[RunRequest], params: SettingsFile = Path("params.yaml"), store: str | None = None
) -> None:
    """Train a part of a sweep on this worker; `pipeline` with execution `workers` starts these.

    Args:
        runs: what to train; those whose history exists are skipped.
        params: its folder on this worker is the workspace.
        store: fsspec URL that histories are left at; empty: in the workspace, which all share.
    """
    workspace = workspace_of(params)
    train_all([run.job(workspace) for run in runs], workspace, store)


@flow(name="scheduled-training", run_name=of_runs)
def scheduled_training(
    scheduler: Scheduler = "lode",
    seeds: Seeds = [0],  # noqa: B006  the form shows it
    task: Task = AS_IN_PARAMS,
    peak_lr: PeakRate = None,
    params: SettingsFile = Path("params.yaml"),
    runs: list[RunRequest] | None = None,
    store: str | None = None,
) -> None:
    """Train networks under a scheduler, one per seed; histories go to data/scheduled.

    Args:
        scheduler: what sets the learning rate; lode needs a fitted LODE.
        seeds: one training each.
        task: what to train.
        peak_lr: peak learning rate of a parametric scheduler; empty: the best of the sweep.
        params: the settings file on this worker; its folder is the workspace.
        runs: filled in by the pipeline: train exactly these.
        store: fsspec URL that histories are left at; empty: in the workspace, which all share.
    """
    workspace = workspace_of(params)
    if runs is not None:
        jobs = [run.job(workspace) for run in runs]
    else:
        settings, _ = read(params, task)
        made = template(settings, workspace, workspace.scheduled(settings.task))
        jobs = [job_of(made, settings, workspace, scheduler, peak_lr, seed) for seed in seeds]
    train_all(jobs, workspace, store)
