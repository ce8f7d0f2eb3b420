"""How fast the LODE is fitted, and how exactly it decodes, against torchdiffeq.

    .venv/bin/python tests/benchmarks/bench_fit.py      (--help for its options)

Timed is the fit's own update (`components/lode/fit.py`: batch, encode window, decode whole series,
loss with path penalty, backward, Adam), in one process and one thread, three ways:

    ours      RK4 on its fixed grid with Hermite output and hand-written gradients
    dopri5    the same, but torchdiffeq's dopri5 at rtol = atol = 1e-5 solves the ODE
    plain     dopri5, and the encoder too as its readable reference under autograd

All start at the same weights, those of a short fit on synthetic histories of a sweep made here, and
do the same updates. Each repetition times all three, one after the other in changing order, and a
ratio is taken within the repetition: what else the machine does then weighs on all of them. Windows
are of 30 points (as in the figures the target was set by), or those the fit draws (5 % of the run,
half, all of it or anything), where encoding a long window costs all three alike.

The decode error is that of the standardised channels over the whole training length, against
dopri5 at 1e-10 in float64, on the LODE of a folder with its real histories, or else on the short
fit's. The last lines give the ratios (medians) at the window of 30 points.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from components.lode import fit as fitting
from components.lode import kernels
from components.lode.channels import Channels
from components.lode.fit_data import FitData
from components.lode.model import LODE, LODEConfig
from components.lode.settings import FitSettings
from components.lode.solver import dopri5
from components.runs.execute import device_name
from components.schedulers.names import PAPER_SCHEDULERS
from components.schedulers.parametric import learning_rate
from components.training.history import read_histories

PEAKS = (0.001, 0.005, 0.01, 0.05, 0.1)
SEEDS = 5
WINDOW = 30
TARGETS = {600: 10.0, 100: 3.0}
ERROR_TARGET = 2e-3
WAYS = ("ours", "dopri5", "plain")


def synthetic(points: int, seed: int = 0) -> np.ndarray:
    """Histories (100, points, 3) of a sweep that never was: 4 schedules x 5 peaks x 5 seeds.

    The loss falls with the learning rate spent, which saturates, and a high rate keeps it from
    falling further until it is annealed; the metric follows the loss. Noise shrinks with both.
    """
    rng, runs = np.random.default_rng(seed), []
    for name in PAPER_SCHEDULERS:
        for peak in PEAKS:
            lr = np.array([learning_rate(name, 10 * p, 10 * points, peak) for p in range(points)])
            work = np.cumsum(lr / (lr + 0.01)) / points
            for _ in range(SEEDS):
                speed = 8 * rng.lognormal(0, 0.1)
                loss = 0.05 + 2.2 / (1 + speed * work) ** 2 + 4 * lr * (1 - np.exp(-9 * work))
                noise = 0.03 * rng.standard_normal((2, points)) * loss
                runs.append(np.stack((loss + noise[0], 0.97 - 0.35 * loss + 0.3 * noise[1], lr), 1))
    return np.stack(runs)


class Updates(fitting._Training):
    """The fit, one update at a time; `window`: points of every window, None: as the fit draws."""

    window: int | None = None

    def _batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.window is None:
            return super()._batch(rng)
        size = min(self.settings.batch_size, len(self.fitted))
        whole = self.fitted[torch.as_tensor(rng.choice(len(self.fitted), size, replace=False))]
        starts = rng.integers(0, self.config.points - self.window + 1, size)
        columns = torch.as_tensor(starts[:, None] + np.arange(self.window))
        return self.times[columns], whole.gather(1, columns[..., None].expand(-1, -1, 3)), whole

    def seconds(self, updates: int) -> float:
        """So many updates, the same ones at every call."""
        start, began = self.done, time.perf_counter()
        for _ in range(updates):
            self._update()
        self.done = start
        return time.perf_counter() - began


def prepared(
    points: int,
    batch: int,
    updates: int,
    weights: LODE | None = None,
    solver: str = "rk4",
    solver_steps: int = 32,
) -> Updates:
    series = synthetic(points)
    config = LODEConfig(
        Channels.measure(list(series)), points, solver=solver, solver_steps=solver_steps
    )
    # A run's last updates: the weights hardly move, so the cost is that of fitted dynamics.
    settings = FitSettings(updates=updates, batch_size=batch, held_out_seeds=0)
    nothing_held_out = FitData(series, np.zeros(len(series), bool), np.full(len(series), "any"), 0)
    training = Updates(
        config, settings, nothing_held_out, max(2, points // 20), Path(tempfile.gettempdir())
    )
    if weights is not None:
        training.model.load_state_dict(weights.state_dict())
        training.done = updates * 9 // 10
    return training


def short_fit(updates: int) -> LODE:
    """A LODE of the synthetic sweep at T = 100; its weights serve any T, time being relative."""
    training = prepared(100, 100, updates)
    for _ in range(updates):
        training._update()
    lode = training.model.eval()
    lode.config = replace(
        lode.config, initial_schedule=tuple(float(lr) for lr in synthetic(100)[-1, :, 2])
    )
    return lode


@contextmanager
def way(name: str) -> Iterator[None]:
    scan = kernels.reference_scan if name == "plain" else kernels.scan
    with mock.patch.object(kernels, "scan", scan):
        yield


@dataclass(frozen=True)
class Case:
    points: int
    batch: int
    window: int | None
    solver_steps: int

    def measure(self, weights: LODE, updates: int, repetitions: int) -> dict[str, list[float]]:
        """Seconds per update of every way in every repetition; one before them is uncounted."""
        trainings = {}
        for name in WAYS:
            solver = "rk4" if name == "ours" else "dopri5"
            trainings[name] = prepared(
                self.points, self.batch, 1000, weights, solver, self.solver_steps
            )
            trainings[name].window = self.window
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        for repetition in range(repetitions + 1):
            for name in WAYS if repetition % 2 else WAYS[::-1]:
                with way(name):
                    took = trainings[name].seconds(updates if repetition else 1)
                if repetition:
                    seconds[name].append(took / updates)
        return seconds

    def report(self, seconds: dict[str, list[float]]) -> float:
        """Prints a line; returns the ratio of dopri5 to ours."""
        cells = [f"{self.points:4} {self.batch:6} {self.window or 'fit':>7}"]
        cells += [f"{1 / statistics.median(seconds[name]):8.1f}" for name in WAYS]
        medians = {}
        for name in WAYS[1:]:
            pairs = zip(seconds[name], seconds["ours"], strict=True)
            low, medians[name], high = statistics.quantiles([a / b for a, b in pairs], n=4)
            cells.append(f"{medians[name]:6.1f} [{low:.1f}, {high:.1f}]".ljust(20))
        print(" ".join(cells), flush=True)
        return medians["dopri5"]


@torch.no_grad()
def decode_errors(lode: LODE, series: np.ndarray) -> dict[str, tuple[float, float]]:
    """(rms, largest) error of the decoded standardised channels by solver, float32 as in use."""
    points = series.shape[1]
    grid, seen = np.arange(points + 1) / points, max(2, points // 20)
    z0 = lode.encode_series(grid[1 : seen + 1], series[:, :seen])
    exact = copy.deepcopy(lode).double()
    truth = exact.readout(dopri5(exact.field, z0.double(), grid, 1e-10))
    found = {}
    for steps in (8, 16, 24, 32):
        lode.config = replace(lode.config, solver="rk4", solver_steps=steps)
        found[f"rk4, {steps} steps"] = lode.decode(z0, grid)
    found["dopri5 1e-5"] = lode.readout(dopri5(lode.field, z0, grid))
    errors = {name: (path - truth).abs() for name, path in found.items()}
    return {name: (float(e.square().mean().sqrt()), float(e.max())) for name, e in errors.items()}


def report_errors(arguments: argparse.Namespace, fitted: LODE) -> None:
    lode, what, series = fitted, "of the short fit", synthetic(100)
    if arguments.lode.exists():
        lode, what = LODE.load(arguments.lode), f"of {arguments.lode}, synthetic histories"
        folder = arguments.histories / lode.config.task
        runs = [h for h in read_histories(folder) if h.completed] if folder.exists() else []
        runs = [h for h in runs if len(h.points) == lode.config.points]
        if runs:
            series = np.stack([h.series() for h in runs])
            what = f"of {arguments.lode}, {len(runs)} runs of {folder}"
    print(f"\ndecode error {what}: rms, largest (target {ERROR_TARGET:g})")
    used = f"rk4, {arguments.solver_steps} steps"
    for name, (rms, largest) in decode_errors(lode, series).items():
        print(f"{name:15} {rms:.1e}  {largest:.1e}{'   <- timed' if name == used else ''}")


def machine() -> str:
    return (
        f"{device_name(torch.device('cpu'))}, 1 of {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchdiffeq {version('torchdiffeq')}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, nargs="+", default=[100, 600])
    parser.add_argument("--batch", type=int, nargs="+", default=[20, 100], help="20: the paper's")
    parser.add_argument("--solver-steps", type=int, default=32, help="of ours")
    parser.add_argument("--updates", type=int, default=5, help="per way and repetition")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--warm-up", type=int, default=600, help="updates of the short fit")
    parser.add_argument("--lode", type=Path, default=Path("models/lode/mnist1d-cnn"))
    parser.add_argument("--histories", type=Path, default=Path("data/histories"))
    arguments = parser.parse_args()
    if arguments.repetitions < 2 or min(arguments.points) < WINDOW:
        parser.error(f"--repetitions must be at least 2, --points at least {WINDOW}")
    torch.set_num_threads(1)
    print(
        f"n = {arguments.repetitions} paired repetitions of {arguments.updates} updates, "
        f"{arguments.solver_steps} RK4 steps\n"
        f"{machine()}\n\n             updates/s:                      time as a multiple of ours\n"
        "   T  batch  window     ours   dopri5    plain   dopri5             plain",
        flush=True,
    )
    fitted = short_fit(arguments.warm_up)
    ratios: dict[tuple[int, int], float] = {}
    for window in (WINDOW, None):
        for points in arguments.points:
            for batch in arguments.batch:
                case = Case(points, batch, window, arguments.solver_steps)
                seconds = case.measure(fitted, arguments.updates, arguments.repetitions)
                ratio = case.report(seconds)
                if window:
                    ratios[points, batch] = ratio
    report_errors(arguments, fitted)
    print()
    for batch in reversed(arguments.batch):
        said = [
            f"T={points}: {ratios[points, batch]:.1f}"
            + (f" (target {TARGETS[points]:g})" if points in TARGETS else "")
            for points in reversed(arguments.points)
        ]
        print(f"batch {batch}, ratio " + "  ".join(said))


if __name__ == "__main__":
    main()
