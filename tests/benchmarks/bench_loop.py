"""What the training loop costs beside the arithmetic it cannot avoid.

    make bench                                          every benchmark
    .venv/bin/python tests/benchmarks/bench_loop.py     this one (--help for its options)

Three ways to do the same updates of a task, on the same data, network, optimizer and lr schedule:

    bare        forward, backward, step on batches indexed out of a resident tensor; nothing else
    loop        components/training/loop.py with its log points, validation time taken out
    DataLoader  the same as bare, but samples come one by one through torch's DataLoader

Each repetition times all three, one after the other in changing order, and a ratio is taken within
the repetition: what else the machine does then weighs on all of them. Printed are medians and
quartiles of the ratios.
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

from components.schedulers import Scheduler
from components.schedulers.parametric import Parametric
from components.tasks import catalog
from components.tasks.catalog import Task
from components.tasks.datasets import Data
from components.training.execute import device_name, pick_device
from components.training.loop import shuffled_batches, train

PEAK_LR = 0.01


class Constant(Scheduler):
    """The cheapest scheduler there is: what remains is the loop's own cost."""

    def lr(self, step: int) -> float:
        return PEAK_LR


def updates_on(
    task: Task, data: Data, batches: Iterator[tuple[Tensor, Tensor]], updates: int
) -> float:
    """Seconds of so many updates on batches from anywhere, constant lr, no log."""
    device = data.device
    torch.manual_seed(0)
    network = task.network().to(device).train()
    optimizer = task.optimizer(network.parameters())
    optimizer.param_groups[0]["lr"] = PEAK_LR
    started = time.perf_counter()
    for _ in range(updates):
        x, y = next(batches)
        loss = task.loss(network(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()  # waits for the device
    return time.perf_counter() - started


def bare(task: Task, data: Data, updates: int) -> float:
    return updates_on(task, data, shuffled_batches(data.train, task.batch_size, 0), updates)


def per_sample(task: Task, data: Data, updates: int) -> float:
    dataset = TensorDataset(data.train.x.cpu(), data.train.y.cpu())

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from DataLoader(dataset, task.batch_size, shuffle=True)

    return updates_on(task, data, endless(), updates)


def loop(task: Task, data: Data, updates: int) -> float:
    outcome = train(task, data, Constant(), seed=0, updates=updates, points=min(100, updates))
    assert outcome.status == "completed"
    return outcome.train_seconds


def onecycle_loop(task: Task, data: Data, updates: int) -> float:
    scheduler = Parametric("onecycle", peak_lr=PEAK_LR, updates=updates)
    return train(
        task, data, scheduler, seed=0, updates=updates, points=min(100, updates)
    ).train_seconds


WAYS = {
    "bare": bare,
    "loop, constant lr": loop,
    "loop, OneCycle": onecycle_loop,
    "DataLoader": per_sample,
}


def measure(task: Task, data: Data, updates: int, repetitions: int) -> dict[str, list[float]]:
    """Seconds of every way in every repetition; one more repetition comes first, uncounted."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for repetition in range(repetitions + 1):
        names = list(WAYS)
        shift = repetition % len(names)
        for name in names[shift:] + names[:shift]:
            took = WAYS[name](task, data, updates)
            if repetition:
                seconds[name].append(took)
    return seconds


def report(seconds: dict[str, list[float]], updates: int) -> None:
    for name, times in seconds.items():
        ratios = [t / b for t, b in zip(times, seconds["bare"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        each = 1e3 * statistics.median(times) / updates
        print(f"{name:18} {each:9.3f} ms/update   x{middle:.2f} of bare  [{low:.2f}, {high:.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="mnist1d-cnn", choices=catalog.TASKS)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--data", type=Path, default=Path("data/datasets"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.repetitions < 2:
        sys.exit("--repetitions must be at least 2: quartiles need them")
    torch.set_num_threads(1)  # as in a sweep: one process per core
    task, device = catalog.get(arguments.task), pick_device(arguments.device)
    data = catalog.load_data(task, arguments.data, arguments.train_samples).to(device)
    print(
        f"{task.name}, {data.sizes['train']:,} training samples, batch {task.batch_size}, "
        f"{arguments.updates} updates, n = {arguments.repetitions} paired repetitions\n"
        f"{device_name(device)}, 1 of {os.cpu_count()} cores; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    report(measure(task, data, arguments.updates, arguments.repetitions), arguments.updates)


if __name__ == "__main__":
    main()
