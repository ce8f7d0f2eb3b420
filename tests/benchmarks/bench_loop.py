"""What the training loop costs beside the arithmetic it cannot avoid.

    make bench                                          every benchmark
    .venv/bin/python tests/benchmarks/bench_loop.py     this one (--help for its options)

Ways to do the same updates of a task, on the same data, network, optimizer and lr schedule:

    bare        forward, backward, step on batches indexed out of a resident tensor; nothing else
    loop        components/training/loop.py with its log points, validation time taken out
    DataLoader  the same as bare, but samples come one by one through torch's DataLoader

In a repetition all of them train side by side, a log interval (a few updates) of each in turn and
in changing order, so that what else the machine does, and a change of its speed, weighs on all
alike. A repetition's ratio is of the sums over its intervals; medians and quartiles over
repetitions are printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from components.runs.execute import device_name, pick_device
from components.schedulers.parametric import Parametric
from components.tasks import catalog
from components.tasks.catalog import Task
from components.tasks.datasets import Data
from components.training.accelerated import on_device, precision
from components.training.history import COMPLETED
from components.training.loop import log_points, shuffled_batches
from components.training.run import log_steps
from components.training.scheduler import Scheduler

PEAK_LR = 0.01


class Constant(Scheduler):
    """The cheapest scheduler there is: what remains is the loop's own cost."""

    def lr(self, step: int) -> float:
        return PEAK_LR


Intervals = Iterator[float]  # seconds of each log interval, trained when asked for


def plainly(
    task: Task, data: Data, batches: Iterator[tuple[Tensor, Tensor]], updates: int, points: int
) -> Intervals:
    """On batches from anywhere, constant lr, no log."""
    device = data.device
    torch.manual_seed(0)
    network, precise = on_device(task.network(), device).train(), precision(task, device)
    optimizer = task.optimizer(network.parameters())
    optimizer.param_groups[0]["lr"] = PEAK_LR
    done = 0
    for end in log_steps(updates, points):
        started = time.perf_counter()
        for _ in range(done, end):
            x, y = next(batches)
            with precise:
                loss = task.loss(network(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device
        done = end
        yield time.perf_counter() - started


def bare(task: Task, data: Data, updates: int, points: int) -> Intervals:
    batches = shuffled_batches(data.train, task.batch_size, 0)
    return plainly(task, data, batches, updates, points)


def per_sample(task: Task, data: Data, updates: int, points: int) -> Intervals:
    dataset = TensorDataset(data.train.x.cpu(), data.train.y.cpu())

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from DataLoader(dataset, task.batch_size, shuffle=True)

    return plainly(task, data, endless(), updates, points)


def under(scheduler: Scheduler, task: Task, data: Data, updates: int, points: int) -> Intervals:
    before = 0.0
    for outcome in log_points(task, data, scheduler, seed=0, updates=updates, points=points):
        assert outcome.status == COMPLETED
        yield outcome.train_seconds - before
        before = outcome.train_seconds


def loop(task: Task, data: Data, updates: int, points: int) -> Intervals:
    return under(Constant(), task, data, updates, points)


def onecycle_loop(task: Task, data: Data, updates: int, points: int) -> Intervals:
    scheduler = Parametric("onecycle", peak_lr=PEAK_LR, updates=updates)
    return under(scheduler, task, data, updates, points)


WAYS = {
    "bare": bare,
    "loop, constant lr": loop,
    "loop, OneCycle": onecycle_loop,
    "DataLoader": per_sample,
}


def repetition(task: Task, data: Data, updates: int, points: int) -> dict[str, float]:
    """Seconds of every way, side by side."""
    running = {name: way(task, data, updates, points) for name, way in WAYS.items()}
    seconds, names = dict.fromkeys(WAYS, 0.0), list(WAYS)
    for point in range(points):
        shift = point % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name] += next(running[name])
    return seconds


def measure(
    task: Task, data: Data, updates: int, points: int, repetitions: int
) -> dict[str, list[float]]:
    """Of every repetition; a short one comes first, uncounted."""
    repetition(task, data, min(updates, 4), min(points, 4))
    found = [repetition(task, data, updates, points) for _ in range(repetitions)]
    return {name: [seconds[name] for seconds in found] for name in WAYS}


def report(seconds: dict[str, list[float]], updates: int) -> None:
    for name, times in seconds.items():
        ratios = [t / b for t, b in zip(times, seconds["bare"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        each = 1e3 * statistics.median(times) / updates
        print(f"{name:18} {each:9.3f} ms/update   x{middle:.3f} of bare  [{low:.3f}, {high:.3f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="mnist1d-cnn", choices=catalog.TASKS)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100, help="log points, at most --updates")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--data", type=Path, default=Path("data/datasets"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.repetitions < 2:
        sys.exit("--repetitions must be at least 2: quartiles need them")
    points = min(arguments.points, arguments.updates)
    torch.set_num_threads(1)  # as in a sweep: one process per core
    task, device = catalog.get(arguments.task), pick_device(arguments.device)
    data = catalog.load_data(task, arguments.data, arguments.train_samples).to(device)
    data = Data(data.train, data.val.first(256), data.test)  # its time is taken out anyway
    print(
        f"{task.name}, {data.sizes['train']:,} training samples, batch {task.batch_size}, "
        f"{arguments.updates} updates, {points} log points, "
        f"n = {arguments.repetitions} paired repetitions\n"
        f"{device_name(device)}, 1 of {os.cpu_count()} cores; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    seconds = measure(task, data, arguments.updates, points, arguments.repetitions)
    report(seconds, arguments.updates)


if __name__ == "__main__":
    main()
