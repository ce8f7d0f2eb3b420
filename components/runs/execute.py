"""From a RunSpec to a history on disk: load the data, train, test once, measure, write."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from components.runs.build import build
from components.runs.command import run_command
from components.runs.job import Job
from components.runs.measured import SharpnessOf
from components.runs.tasks import is_command, task_of
from components.schedulers.pbt import Population, train_population
from components.storage.files import atomic_path
from components.tasks import catalog
from components.tasks.datasets import Data
from components.tasks.errors import TaskError
from components.tasks.task import Task
from components.tasks.trial import Place
from components.training.accelerated import contiguous, on_device, precision
from components.training.history import History, read_history, write_history
from components.training.loop import Outcome, evaluate, train
from components.training.scheduler import Scheduler

Row = dict[str, float]


class DeviceError(ValueError):
    """The device asked for is not on this machine; the message says what is."""


def execute(job: Job, on_point: Callable[[Row], None] = lambda row: None) -> History:
    """Do a run and write its history; a run whose history is there is read, not repeated."""
    if job.path.exists():
        return read_history(job.path)
    history = run_command(job, on_point) if is_command(job) else run(job, on_point)[0]
    write_history(history, job.histories)
    return history


def execute_and_keep(job: Job, on_point: Callable[[Row], None] = lambda row: None) -> History:
    """As `execute`, and keep the weights of the best validation point beside the history; a script
    keeps its own."""
    if is_command(job):
        return execute(job, on_point)
    weights = job.path.with_suffix(".safetensors")
    if job.path.exists() and weights.exists():
        return read_history(job.path)
    history, outcome = run(job, on_point)
    with atomic_path(weights) as temporary:
        save_file(outcome.best_weights, temporary)
    write_history(history, job.histories)
    return history


def run(
    job: Job,
    on_point: Callable[[Row], None] = lambda row: None,
    scheduler: Scheduler | None = None,
) -> tuple[History, Outcome]:
    """Do a run and return its history and the trained network; nothing is written.

    Args:
        scheduler: None builds the job's.
    """
    spec, task = job.spec, task_of(job)
    if job.sharpness is not None and getattr(task.loss, "reduction", None) != "mean":
        raise TaskError(
            f"{task.name}: λ_max needs a loss module with reduction='mean', and the task's is "
            f"{type(task.loss).__name__} without; give it one or set evaluation.sharpness to none"
        )
    data = load_data(task, job.data, spec.train_samples, str(pick_device(job.device)))
    scheduler = build(job) if scheduler is None else scheduler
    length = {"seed": spec.seed, "updates": spec.updates, "points": spec.points}
    measured = SharpnessOf(task, data, spec.points, job.sharpness)
    if isinstance(scheduler, Population):
        outcome = train_population(task, data, scheduler, on_point=on_point, **length)
    else:
        outcome = train(task, data, scheduler, on_point=on_point, look=measured.look, **length)
    contiguous(outcome.network)
    points = pd.DataFrame(
        outcome.rows,
        columns=["point", "step", "epoch", "train_loss", "val_metric", "lr", "elapsed_s"],
    )
    points.insert(0, "run_id", spec.run_id)
    return History(points, _meta(job, data, scheduler, outcome, measured)), outcome


@functools.lru_cache(maxsize=2)
def load_data(task: Task, folder: Path, train_samples: int | None, device: str) -> Data:
    """A task's data on a device, kept for the next run of this process."""
    place = Place(on_device, precision)
    return catalog.load_data(task, folder, train_samples, device=device, place=place)


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA device if there is one, else the CPU.

    Raises:
        DeviceError: the named device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:  # no word of torch's
        raise DeviceError(f"training.device = {name[:80]!r}: use auto, cpu or cuda") from None
    if device.type == "cuda":  # counted: a first use takes memory and seconds
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"training.device = {name!r}, but this machine has {torch.cuda.device_count()} "
                "CUDA devices; use auto or cpu"
            )
    elif device.type != "cpu":
        _check_computes(device, name)
    return device


def _check_computes(device: torch.device, name: str) -> None:
    try:
        torch.ones(1, device=device).sum().item()
    except Exception:  # each kind of device has errors of its own
        raise DeviceError(
            f"training.device = {name!r}, which this machine or its torch does not have; use auto "
            "or cpu"
        ) from None


def _meta(
    job: Job, data: Data, scheduler: Scheduler, outcome: Outcome, measured: SharpnessOf
) -> dict[str, Any]:
    spec, task, device = job.spec, task_of(job), data.device
    sharpness = measured.at_the_end(outcome)  # of the last weights: before the best are loaded
    test_metric = None
    if outcome.status == "completed":
        outcome.network.load_state_dict(outcome.best_weights)
        test_metric = evaluate(task, outcome.network, data.test)
    epochs = outcome.rows[-1]["epoch"] if outcome.rows else 0.0
    best = outcome.rows[outcome.best_point - 1] if outcome.best_point else None
    return {
        "run_id": spec.run_id,
        **asdict(spec),
        "status": outcome.status,
        "test_metric": test_metric,
        "metric_name": task.metric_name,
        "metric_percent": task.in_percent,
        "best_point": outcome.best_point,
        "best_val_metric": best["val_metric"] if best else None,
        "seconds_per_epoch": outcome.train_seconds / epochs if epochs else None,
        "decision_seconds": outcome.decision_seconds,
        "sharpness": sharpness,
        "sharpness_series": measured.series or None,
        "price": asdict(scheduler.price),
        "decisions": getattr(scheduler, "decisions", None),
        "population": getattr(scheduler, "population", None),
        "controller": job.controller or None,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def device_name(device: torch.device) -> str:
    """`NVIDIA H100 80GB HBM3` or `AMD EPYC`: what figures are quoted with."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
