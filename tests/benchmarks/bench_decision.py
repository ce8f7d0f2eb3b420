"""What the LODE scheduler costs: one decision, and its share of a training run.

    .venv/bin/python tests/benchmarks/bench_decision.py      (--help for its options)

Decision: `components/lode/algorithm1.decide` with `--controller paper` (encode the window, 30
samples, decode, accept, score, average), `components/lode/control.improve` with `default` (the same
with the judge), at the first log point where it is asked, where it looks furthest ahead. T = 100
and a window of 5 is the default of params.yaml. 1,200 points are decoded with T = 615, window 31 by
the paper's, which looks to T + Δt, and with T = 1,140, window 59 by ours, which looks to T + μ.

Share: `components/training/loop.train`, validation included, steered by a LODEScheduler, against
the same run with the same learning rates replayed from a table. Each repetition times both, in
changing order. As a paired difference of a few per cent drowns in the noise of a busy machine, the
seconds spent inside the scheduler's two methods are also measured directly. Both are in per cent of
the replayed run and CPU seconds (one thread): wall time without waiting for others' work.

The last lines give the median decision and share.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_fit import machine, short_fit, synthetic

from components.lode.algorithm1 import decide
from components.lode.control import improve
from components.lode.judge import Judge, held
from components.lode.judge_fit import Runs, fit_judge
from components.lode.model import LODE
from components.lode.opening import with_start
from components.lode.scheduler import LODEScheduler
from components.lode.settings import (
    CONTROLLERS,
    DEFAULT,
    PAPER,
    ControllerSettings,
    JudgeSettings,
)
from components.tasks import catalog
from components.tasks.catalog import Task
from components.tasks.datasets import Data
from components.training.loop import Outcome, train
from components.training.scheduler import Scheduler

LATENCY_TARGET, SHARE_TARGET = 15.0, 5.0  # ms, per cent


class Watched(Scheduler):
    """A scheduler with a stopwatch around its methods, and the rates it gave."""

    def __init__(self, scheduler: LODEScheduler) -> None:
        self.scheduler, self.seconds, self.lrs = scheduler, 0.0, list[float]()

    def lr(self, step: int) -> float:
        began = time.process_time()
        lr = self.scheduler.lr(step)
        self.seconds += time.process_time() - began
        self.lrs.append(lr)
        return lr

    def observe(self, point: int, train_loss: float, val_metric: float, lr: float) -> None:
        began = time.process_time()
        self.scheduler.observe(point, train_loss, val_metric, lr)
        self.seconds += time.process_time() - began


class Replay(Scheduler):
    """Learning rates from a table."""

    def __init__(self, lrs: list[float]) -> None:
        self.lrs = lrs

    def lr(self, step: int) -> float:
        return self.lrs[step]


def decision_times(
    lode: LODE, judge: Judge | None, points: int, mu: int, calls: int
) -> tuple[list[float], list[float]]:
    """Wall and CPU milliseconds of so many decisions on windows of synthetic runs, and 5 before."""
    series = synthetic(points)
    plan, asked = with_start(series[0, :, 2]), ControllerSettings()
    drawn: dict[str, Any] = {"n": asked.n, "sigma": asked.sigma}
    wall, cpu = [], []
    for call in range(-5, calls):
        rng, window = np.random.default_rng([0, call + 5]), series[call % len(series), :mu]
        began, began_cpu = time.perf_counter(), time.process_time()
        if judge is None:
            decide(lode, window, point=mu, points=points, horizon=None, rng=rng, **drawn)
        else:
            improve(lode, judge, window, plan, mu=mu, caution=asked.caution, rng=rng, **drawn)
        took, took_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        if call >= 0:
            wall.append(1e3 * took)
            cpu.append(1e3 * took_cpu)
    return wall, cpu


def report_decisions(lode: LODE, judge: Judge | None, points: int, mu: int, calls: int) -> float:
    """Prints a line; returns the median in milliseconds of wall time."""
    decoded = points + (points - mu if judge is None else mu) + 1
    cells = []
    taken = decision_times(lode, judge, points, mu, calls)
    times = dict(zip(("wall", "CPU"), taken, strict=True))
    for name, values in times.items():
        tenth = statistics.quantiles(values, n=10)[-1]
        cells.append(f"{name} {statistics.median(values):6.2f} ms, 90 % under {tenth:6.2f} ms")
    print(f"T = {points:4}, window {mu:3}, {decoded:5,} points decoded: {'; '.join(cells)}")
    return statistics.median(times["wall"])


def share(
    lode: LODE,
    judge: Judge | None,
    task: Task,
    data: Data,
    updates: int,
    points: int,
    repetitions: int,
) -> tuple[list[float], list[float]]:
    """Per cent of the replayed run: paired difference, and time inside the scheduler."""

    def run(scheduler: Watched | Replay | LODEScheduler, seed: int) -> tuple[float, Outcome]:
        began = time.process_time()
        outcome = train(task, data, scheduler, seed=seed, updates=updates, points=points)
        return time.process_time() - began, outcome

    def fresh(seed: int) -> LODEScheduler:
        controller = PAPER if judge is None else DEFAULT
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that N is not the fit's, which costs nothing
            return LODEScheduler(
                lode,
                judge=judge,
                controller=controller,
                updates=updates,
                points=points,
                seed=seed,
            )

    run(fresh(0), 0)  # pays for what only the first run pays for
    paired, inside = [], []
    for seed in range(repetitions):
        watched = Watched(fresh(seed))
        _, outcome = run(watched, seed)
        if outcome.status != "completed":
            raise SystemExit(f"the run of seed {seed} diverged: nothing to compare")
        pair: list[Replay | LODEScheduler] = [Replay(watched.lrs), fresh(seed)]
        took: dict[type, float] = {}
        for scheduler in pair[:: 1 if seed % 2 else -1]:
            took[type(scheduler)], again = run(scheduler, seed)
            assert again.rows[-1]["train_loss"] == outcome.rows[-1]["train_loss"]
        paired.append(100 * (took[LODEScheduler] / took[Replay] - 1))
        inside.append(100 * watched.seconds / took[Replay])
    return paired, inside


def in_quartiles(name: str, values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{name}: {middle:.1f} % [{low:.1f}, {high:.1f}]"


def a_lode(arguments: argparse.Namespace) -> LODE:
    if not arguments.lode.exists():
        print(f"no {arguments.lode}: a short fit on synthetic histories")
        return short_fit(arguments.warm_up)
    print(f"LODE of {arguments.lode}")
    return LODE.load(arguments.lode)


def a_judge(arguments: argparse.Namespace) -> Judge | None:
    if arguments.controller == PAPER:
        return None
    if (arguments.lode / "judge.json").exists():
        return Judge.load(arguments.lode)
    series = synthetic(100)
    runs = Runs(
        held(with_start(series[..., 2])),
        series[..., 0],
        series[..., 1],
        np.arange(100) % 5,
        np.arange(100) // 5,
    )
    return fit_judge(runs, JudgeSettings(updates=max(2, arguments.warm_up // 10)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--controller", choices=CONTROLLERS, default=DEFAULT)
    parser.add_argument("--lode", type=Path, default=Path("models/lode/mnist1d-cnn"))
    parser.add_argument("--warm-up", type=int, default=600, help="updates of a short fit")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--task", default="mnist1d-cnn", choices=catalog.TASKS)
    parser.add_argument("--data", type=Path, default=Path("data/datasets"))
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    if min(arguments.repetitions, arguments.calls) < 2:
        parser.error("--repetitions and --calls must be at least 2")
    torch.set_num_threads(1)
    print(f"n = {arguments.calls} decisions of 30 samples; {machine()}")
    lode = a_lode(arguments)
    judge = a_judge(arguments)
    report_decisions(lode, judge, 100, 5, arguments.calls)
    longest = (615, 31) if judge is None else (1140, 59)
    latency = report_decisions(lode, judge, *longest, arguments.calls)

    task = catalog.get(arguments.task)
    data = catalog.load_data(task, arguments.data, arguments.train_samples)
    paired, inside = share(
        lode, judge, task, data, arguments.updates, arguments.points, arguments.repetitions
    )
    print(
        f"{task.name}, N = {arguments.updates}, T = {arguments.points}, n = "
        f"{arguments.repetitions} paired runs; time added to the replayed run\n"
        f"{in_quartiles('paired difference', paired)}; "
        f"{in_quartiles('inside the scheduler', inside)}\n\n"
        f"decision, 1,200 points: {latency:.1f} ms (target {LATENCY_TARGET:g})\n"
        f"share of a run: {statistics.median(inside):.1f} % inside the scheduler, "
        f"{statistics.median(paired):.1f} % paired (target {SHARE_TARGET:g})"
    )


if __name__ == "__main__":
    main()
