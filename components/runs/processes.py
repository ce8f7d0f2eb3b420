"""Processes that compute for this one, each on one thread, and never outlive it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker

import torch

from components.storage.interrupts import undisturbed


class WorkerDiedError(RuntimeError):
    """A process that computes for this one was killed from outside; what is finished is kept."""


@contextmanager
def processes(
    count: int, died: str, begin: Callable[[], object] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """An executor of `count` processes, which start with the first that is submitted.

    An error inside waits for what they are at; Ctrl-C, or what else cancels, ends them at once.

    Args:
        died: the message where one of them was killed. begin: called in each of them, first.

    Raises:
        WorkerDiedError: one was killed.
    """
    # A forked process cannot use CUDA and loses torch's threads; a fork server has started
    # neither, and pays once for what every worker imports (the first optimizer, torch._dynamo).
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.runs.execute", "torch._dynamo"])
    resource_tracker.ensure_running()  # which unblocks Ctrl-C, whoever had blocked it
    with undisturbed():
        forkserver.ensure_running()
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(begin,))
    try:
        yield executor
    except BrokenProcessPool:
        raise WorkerDiedError(died) from None
    except Exception:
        raise
    except BaseException:  # Ctrl-C, or a flow run that is cancelled: runs may take hours yet
        _kill_fork_server()
        kill_children()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def kill_children() -> None:
    """End the processes at once; what they are at is lost."""
    for child in multiprocessing.active_children():
        child.kill()


def _kill_fork_server() -> None:
    # While it imports it has not yet forked what was asked of it; later it would, in vain, and say
    # so with a traceback. The standard library has no other way; the next pool starts another.
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def _start(begin: Callable[[], object] | None) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if begin:
        begin()


def _die_with_parent() -> None:
    # A SIGKILL of the parent reaches no handler of its own; without this, its workers would
    # train on, unseen, beside those of the next start.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
