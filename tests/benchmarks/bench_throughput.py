"""How many runs an hour a machine trains, by how many train at a time (`sweep.workers`).

    .venv/bin/python tests/benchmarks/bench_throughput.py                  on this machine's CPU
    .venv/bin/python tests/benchmarks/bench_throughput.py --device cuda --task fashion-mnist-cnn \\
        --updates 2110 --runs 16                                           sharing one GPU

Every measurement is a small sweep of its own, in an empty folder, from the call of
`components/runs/pool.run_all` to its return: starting the processes and loading the data are
counted. A process computes on one thread. Repetitions go through the numbers in changing order, and
ratios are taken within a repetition, so what else the machine does weighs on all of them. Choose
the smallest number whose ratio is close to the best: more of them only take memory.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from components.runs.execute import device_name, pick_device
from components.runs.job import Job
from components.runs.pool import run_all
from components.tasks import catalog
from components.training.run import RunSpec


def seconds(template: Job, runs: int, at_a_time: int) -> float:
    """Of training so many runs, `at_a_time` of them at once."""
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [
            Job(
                RunSpec(**{**vars(template.spec), "seed": seed}),
                Path(scratch),
                template.data,
                template.device,
            )
            for seed in range(runs)
        ]
        began = time.perf_counter()
        histories = run_all(jobs, workers=at_a_time)
        took = time.perf_counter() - began
    assert all(history.completed for history in histories)
    return took


def measure(
    template: Job, runs: int, numbers: list[int], repetitions: int
) -> dict[int, list[float]]:
    took: dict[int, list[float]] = {number: [] for number in numbers}
    for repetition in range(repetitions):
        shift = repetition % len(numbers)
        for number in numbers[shift:] + numbers[:shift]:
            took[number].append(seconds(template, runs, number))
    return took


def report(took: dict[int, list[float]], runs: int) -> None:
    first = next(iter(took))
    for number, times in took.items():
        ratios = [one / t for one, t in zip(took[first], times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        each = 3600 * runs / statistics.median(times)
        print(
            f"{number:2} at a time  {each:9,.0f} runs/h   "
            f"x{middle:.2f} of {first} at a time  [{low:.2f}, {high:.2f}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="mnist1d-cnn", choices=catalog.TASKS)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=16, help="of each measurement")
    parser.add_argument("--at-a-time", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--data", type=Path, default=Path("data/datasets"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.repetitions < 2:
        sys.exit("--repetitions must be at least 2: quartiles need them")
    task, device = catalog.get(arguments.task), pick_device(arguments.device)
    catalog.load_data(task, arguments.data)  # downloads or generates what is not there yet
    spec = RunSpec(
        task.name,
        "onecycle",
        0.01,
        0,
        arguments.updates,
        min(100, arguments.updates),
        arguments.train_samples,
    )
    template = Job(spec, Path(), arguments.data, arguments.device)
    seconds(template, 2, 2)  # what only the first pays for
    print(
        f"{task.name}, {arguments.updates} updates, {arguments.runs} runs a measurement, "
        f"n = {arguments.repetitions} repetitions\n{device_name(device)}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    report(
        measure(template, arguments.runs, arguments.at_a_time, arguments.repetitions),
        arguments.runs,
    )


if __name__ == "__main__":
    main()
