"""Many runs over worker processes, one per core, each finished run on disk at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

import torch
from joblib import cpu_count

from components.runs.execute import execute, pick_device
from components.runs.job import Job
from components.storage.interrupts import undisturbed
from components.training.history import History


class WorkerDiedError(RuntimeError):
    """A worker process was killed from outside; finished runs are kept."""


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
        with _executor(count) as executor:  # whose processes start with the first job
            for device in sorted({job.device for job in todo.values()}):
                pick_device(device)
            futures = {executor.submit(execute, job): index for index, job in todo.items()}
            for future in as_completed(futures):
                index = futures[future]
                done[index] = future.result()
                on_history(jobs[index], done[index])
    return [done[index] for index in range(len(jobs))]


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    # A forked process cannot use CUDA and loses torch's threads; a fork server has started
    # neither, and pays once for what every worker imports (the first optimizer, torch._dynamo).
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.runs.execute", "torch._dynamo"])
    resource_tracker.ensure_running()  # which unblocks Ctrl-C, whoever had blocked it
    with undisturbed():
        forkserver.ensure_running()
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield executor
    except BrokenProcessPool:
        raise WorkerDiedError(
            "a worker process was killed (out of memory?); finished runs are kept: "
            "start again to go on, with fewer sweep.workers if memory is short"
        ) from None
    except Exception:
        raise
    except BaseException:  # Ctrl-C, or a flow run that is cancelled: runs may take hours yet
        _kill_fork_server()
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _kill_fork_server() -> None:
    # While it imports it has not yet forked what was asked of it; later it would, in vain, and say
    # so with a traceback. The standard library has no other way; the next pool starts another.
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # A SIGKILL of the parent reaches no handler of its own; without this, its workers would
    # train on, unseen, beside those of the next start.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
