"""Many runs over worker processes, one per core, each finished run on disk at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import as_completed

from joblib import cpu_count

from components.runs.execute import execute, pick_device
from components.runs.job import Job
from components.runs.processes import processes
from components.training.history import History

DIED = (
    "a worker process was killed (out of memory?); finished runs are kept: "
    "start again to go on, with fewer sweep.workers if memory is short"
)


def run_all(
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    on_history: Callable[[Job, History], None] = lambda job, history: None,
) -> list[History]:
    """Execute jobs in `workers` processes (None: one per core) and return histories in job order.

    A job whose history exists is not repeated. Every worker computes on one thread, so a run's
    result does not depend on how many run beside it.

    Raises:
        DeviceError: a job's device is not on this machine; before any process is started.
        WorkerDiedError: a worker was killed (out of memory?); call again to go on.
    """
    jobs = list(jobs)
    todo = {index: job for index, job in enumerate(jobs) if not job.path.exists()}
    done: dict[int, History] = {}
    for index, job in enumerate(jobs):
        if index not in todo:
            done[index] = execute(job)
            on_history(job, done[index])
    if todo:
        count = min(workers or cpu_count(), len(todo))  # which knows a container's quota, too
        with processes(count, DIED) as executor:  # whose processes start with the first job
            for device in sorted({job.device for job in todo.values()}):
                pick_device(device)
            futures = {executor.submit(execute, job): index for index, job in todo.items()}
            for future in as_completed(futures):
                index = futures[future]
                done[index] = future.result()
                on_history(jobs[index], done[index])
    return [done[index] for index in range(len(jobs))]
