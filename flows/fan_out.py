"""Runs trained elsewhere: by the workers of a Prefect work pool, or on a Dask cluster.

Both return a stand-in for `components.runs.pool.run_all`, so every step that trains can use
them. A shard (some runs for one worker) whose process was killed is handed out again, without the
runs it had finished; Prefect knows of it because its heartbeat stops (`flows/deploy.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from components.runs.job import Job, RunAll
from components.settings import Settings
from components.storage.object_store import Store
from components.storage.workspace import Workspace
from components.training.history import History, read_history
from flows.parameters import RunRequest
from flows.retries import FanOutError

POLL_SECONDS = 2.0
UNSEEN_SECONDS = 60.0  # a shard that no worker took so long is worth a word
TRIES = 3  # of one shard, in a row, without one more finished run
# Of Dask on this machine: runs seed torch, of which there is one per process.
LOCAL_CLUSTER: dict[str, Any] = {"threads_per_worker": 1}

OnHistory = Callable[[Job, History], None]


def elsewhere(settings: Settings, workspace: Workspace, deployment: str) -> RunAll | None:
    """Who trains, as params.yaml's `execution` says; None: processes of this machine.

    Args:
        deployment: of the pool's workers, as `components/steps/step.py` names them.
    """
    execution = settings.execution
    if execution.mode == "workers":
        return over_workers(workspace, deployment, execution.runs_per_shard, execution.store)
    if execution.mode == "dask":
        return over_dask(workspace, execution.dask_address)
    return None


def over_workers(
    workspace: Workspace, deployment: str, runs_per_shard: int, store_url: str | None = None
) -> RunAll:
    """Runs as shards of `deployment`; returns when all histories are there.

    Args:
        store_url: where the workers leave histories; None: in the same folder.

    Raises (the function returned):
        FanOutError: no such deployment, a shard failed, or was killed again and again.
    """

    def run_all(
        jobs: Iterable[Job],
        *,
        workers: int | None = None,
        on_history: OnHistory = lambda job, history: None,
    ) -> list[History]:
        jobs = list(jobs)
        store = Store(store_url, workspace.main.root) if store_url else None
        arrivals = _Arrivals(jobs, on_history, store)
        shards = [_Shard(part) for part in split(arrivals.collect(), runs_per_shard)]
        while shards:
            for shard in shards:
                _attend(shard, workspace, deployment, store)
            arrivals.collect()
            shards = [shard for shard in shards if shard.missing]
            if shards:
                time.sleep(POLL_SECONDS)
        return arrivals.histories()

    return run_all


def split(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Parts of at most `size` jobs, as even as can be, in order."""
    count = -(-len(jobs) // size)
    bounds = [len(jobs) * i // count for i in range(count + 1)] if count else [0]
    return [list(jobs[a:b]) for a, b in itertools.pairwise(bounds)]


class _Arrivals:
    """Histories as they appear on disk or in the store, each told of once."""

    def __init__(
        self, jobs: Sequence[Job], on_history: OnHistory, store: Store | None = None
    ) -> None:
        self.jobs, self.on_history, self.store = jobs, on_history, store
        self.found: dict[int, History] = {}

    def collect(self) -> list[Job]:
        """Look; returns the jobs that are still missing."""
        if self.store:
            fetch([job for i, job in enumerate(self.jobs) if i not in self.found], self.store)
        for index, job in enumerate(self.jobs):
            if index not in self.found and job.path.exists():
                self.found[index] = read_history(job.path)
                self.on_history(job, self.found[index])
        return [job for index, job in enumerate(self.jobs) if index not in self.found]

    def histories(self) -> list[History]:
        return [self.found[index] for index in range(len(self.jobs))]


def fetch(jobs: Sequence[Job], store: Store) -> None:
    """Bring the histories that the store has and this machine has not."""
    missing = [job for job in jobs if not job.path.exists()]
    there = {folder: store.names(folder) for folder in {job.histories for job in missing}}
    for job in missing:
        if job.path.name in there[job.histories]:
            store.get(job.path)


@dataclass
class _Shard:
    """Jobs of one worker, and the flow run that does them at present."""

    jobs: list[Job]
    run: FlowRun | None = None
    tries: int = 0
    handed_out: float = field(default_factory=time.monotonic)
    warned: bool = False

    @property
    def missing(self) -> list[Job]:
        return [job for job in self.jobs if not job.path.exists()]


def _attend(
    shard: _Shard, workspace: Workspace, deployment: str, store: Store | None = None
) -> None:
    """Hand the shard out, look how it goes, or hand out again what a dead worker left."""
    left = shard.missing
    if not left:
        return
    if shard.run is None:
        shard.run = _hand_out(left, shard.tries, workspace, deployment, store)
        shard.handed_out = time.monotonic()
        return
    shard.run = _look(shard.run)
    state = shard.run.state
    assert state is not None
    if not state.is_final():
        _warn_if_nobody_takes_it(shard, deployment)
        return
    named = f"{shard.run.name} ({shard.run.id})"
    if state.type in (StateType.FAILED, StateType.CANCELLED, StateType.CANCELLING):
        raise FanOutError(f"{named}: {state.name}: {state.message or 'no message'}")
    if store:
        fetch(left, store)
    left = shard.missing
    if not left:  # finished between the two looks
        return
    if state.type == StateType.COMPLETED and shard.tries == 0 and len(left) == len(shard.jobs):
        raise FanOutError(
            f"{named} has completed, but {left[0].path} is not here: its worker must see the same "
            f"workspace folder as this flow run ({workspace.main.root}): set LODE_WORKSPACE there, "
            "or execution.store here"
        )
    shard.tries = shard.tries + 1 if len(left) == len(shard.jobs) else 1
    if shard.tries >= TRIES:
        raise FanOutError(
            f"{named} was killed {TRIES} times without finishing a run (out of memory?); finished "
            f"runs are kept: start again to go on. Last message: {state.message or 'none'}"
        )
    get_run_logger().warning(f"{named}: {state.name}; {len(left)} runs are handed out again")
    shard.jobs, shard.run, shard.warned = left, None, False


def _hand_out(
    jobs: list[Job], tries: int, workspace: Workspace, deployment: str, store: Store | None
) -> FlowRun:
    if store:
        for folder in {f for job in jobs for f in (job.lode, job.policy) if f}:
            for path in sorted(folder.iterdir()):
                store.put(path)
    runs = [RunRequest.of(job, workspace).model_dump(mode="json") for job in jobs]
    parameters = {"runs": runs, "store": store.url if store else None}
    asked = hashlib.sha256(json.dumps([deployment, parameters]).encode()).hexdigest()[:20]
    try:
        # A parent that was killed and started again finds the shard that is still at work.
        while True:
            run = run_deployment(
                deployment, parameters=parameters, timeout=0, idempotency_key=f"{asked}-{tries}"
            )
            assert isinstance(run, FlowRun)
            if run.state is None or not run.state.is_final():
                return run
            tries += 1  # of an earlier time, whose histories have been deleted since
    except ObjectNotFound:
        raise FanOutError(
            f"Prefect knows no deployment {deployment}: run `make deploy`, and start a worker with "
            "`prefect worker start --pool gpu`"
        ) from None


def _look(run: FlowRun) -> FlowRun:
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        )
    if not found:
        raise FanOutError(f"flow run {run.name} ({run.id}) was deleted; start again to go on")
    return found[0]


def _warn_if_nobody_takes_it(shard: _Shard, deployment: str) -> None:
    waiting = shard.run is not None and shard.run.state_type == StateType.SCHEDULED
    if waiting and not shard.warned and time.monotonic() - shard.handed_out > UNSEEN_SECONDS:
        shard.warned = True
        pool = shard.run.work_pool_name if shard.run else None
        get_run_logger().warning(
            f"no worker has taken {deployment} for {UNSEEN_SECONDS:.0f} s: all are busy, or none "
            f"runs (prefect worker start --pool {pool})"
        )


def over_dask(workspace: Workspace, address: str | None) -> RunAll:
    """Runs as tasks on a Dask cluster; None starts one on this machine.

    Raises:
        FanOutError: prefect-dask is not installed.
    """
    try:
        # optional, since it is heavy and only those with a Dask cluster want it
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise FanOutError(
            "execution.mode = dask needs prefect-dask: pip install 'lode-pipeline[dask]'"
        ) from None
    runner: Any = (
        DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=LOCAL_CLUSTER)
    )

    def run_all(
        jobs: Iterable[Job],
        *,
        workers: int | None = None,
        on_history: OnHistory = lambda job, history: None,
    ) -> list[History]:
        from flows.training import train_run

        jobs = list(jobs)
        arrivals = _Arrivals(jobs, on_history)

        @flow(name="train-on-dask", task_runner=runner)
        def train_on_dask(missing: int) -> None:
            futures = [
                train_run.submit(
                    f"{job.spec.task} {job.spec.describe()}",
                    RunRequest.of(job, workspace.main),
                    workspace.main.root,
                )
                for job in arrivals.collect()
            ]
            for future in futures:
                future.result()
                arrivals.collect()

        missing = arrivals.collect()
        if missing:
            train_on_dask(len(missing))
        return arrivals.histories()

    return run_all
