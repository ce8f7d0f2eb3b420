"""λ_max by `components/evaluation/sharpness.py` beside others: time, and error against fp64.

    .venv/bin/python tests/benchmarks/bench_sharpness.py      (--help for its options)

Three networks after a short training, each on its first training samples in batches of 256, as a
run is measured. Ways, each to the same tolerance of 1e-3:

ours              λ_max: double backward on graphs that are kept, thick-restart Lanczos
ours, both ends   λ_max and λ_min
ours, recomputed  λ_max where no graph fits
scipy             λ_max: ARPACK on our products, as scipy has it by default
curvlinops        λ_max: its products, ARPACK with ten vectors; what this project did before
PyHessian         λ_max: its power iteration, to 1e-3 of the eigenvalue's change

The last two are taken where they are importable. They are not among the project's packages:

    .venv/bin/uv pip install --target /tmp/peers --no-deps pyhessian curvlinops-for-pytorch \\
        backpack-for-pytorch einconv einops linear_operator opt_einsum unfoldNd
    PYTHONPATH=/tmp/peers .venv/bin/python tests/benchmarks/bench_sharpness.py

The ways take turns within each repetition, and times are of the processor, one thread, so that a
machine that others use weighs on all alike. Errors are against ARPACK at 1e-8 on products in fp64:
of λ_max relative to itself, of λ_min to λ_max. Ratios are medians and quartiles over repetitions.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from components.evaluation import hessian as kept
from components.evaluation.hessian import Hessian, as_evaluated
from components.evaluation.sharpness import sharpness
from components.runs.execute import device_name
from components.tasks import catalog
from components.tasks.datasets import Split
from components.training.loop import shuffled_batches

BATCH, TOL, PEAK_LR = 256, 1e-3, 0.01
SAMPLES = {"digits-mlp": 1024, "mnist1d-cnn": 1024, "text-minigpt": 16}
BEFORE = "curvlinops"


@dataclass(frozen=True)
class Case:
    """A trained network and what its Hessian is taken on."""

    network: nn.Module
    loss: nn.Module
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Found:
    lambda_max: float
    lambda_min: float | None = None
    products: int | None = None


def trained(name: str, data: Path, updates: int) -> Case:
    task = catalog.get(name)
    split = letters() if name == "text-minigpt" else catalog.load_data(task, data).train
    torch.manual_seed(0)
    network = task.network().train()
    optimizer = task.optimizer(network.parameters())
    optimizer.param_groups[0]["lr"] = PEAK_LR
    batches = shuffled_batches(split, task.batch_size, seed=0)
    for _ in range(updates):
        x, y = next(batches)
        optimizer.zero_grad()
        task.loss(network(x), y).backward()
        optimizer.step()
    x, y = split.sample(SAMPLES[name])
    return Case(network.eval(), task.loss, x, y)


def letters() -> Split:
    """Windows of 64 characters, each of which depends on the one before: what a text says is no
    matter here, and none is in this repository."""
    drawn = np.random.default_rng(0)
    follows = drawn.dirichlet(np.full(64, 0.05), size=64)
    text = [0]
    for _ in range(65 * 256):
        text.append(int(drawn.choice(64, p=follows[text[-1]])))
    windows = torch.tensor(text[: 65 * 256]).view(256, 65)
    return Split(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())


def ours(case: Case, **more: Any) -> Found:
    found = sharpness(
        case.network,
        case.loss,
        case.x,
        case.y,
        samples=len(case.x),
        batch_size=BATCH,
        tol=TOL,
        **more,
    )
    return Found(found["lambda_max"], found.get("lambda_min"), found["matvecs"])


def both_ends(case: Case) -> Found:
    return ours(case, lowest=True)


def recomputed(case: Case) -> Found:
    with mock.patch.object(kept, "GRAPHS", 0):
        return ours(case)


def arpack(product: Any, size: int, dtype: Any = np.float32, **asked: Any) -> list[float]:
    """Eigenvalues, ascending."""
    calls = LinearOperator((size, size), matvec=product, dtype=dtype)
    start = np.random.default_rng(0).standard_normal(size).astype(dtype)
    return sorted(map(float, eigsh(calls, v0=start, return_eigenvectors=False, **asked)))


def scipy_default(case: Case) -> Found:
    with as_evaluated(case.network, case.x.device):
        hessian = Hessian(case.network, case.loss, case.x, case.y, BATCH)

        def product(v: np.ndarray) -> np.ndarray:
            return hessian(torch.from_numpy(v.reshape(-1).copy())).numpy()

        (value,) = arpack(product, len(hessian.start(0)), k=1, which="LA", tol=TOL)
    return Found(value, products=hessian.products)


def curvlinops(case: Case) -> Found:
    from curvlinops import HessianLinearOperator

    parameters = [p for p in case.network.parameters() if p.requires_grad]
    batches = list(zip(case.x.split(BATCH), case.y.split(BATCH), strict=True))
    operator = HessianLinearOperator(
        case.network,
        case.loss,
        parameters,
        batches,
        num_data=len(case.x),
        check_deterministic=False,
    )
    products = 0

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        found: np.ndarray = (operator @ torch.from_numpy(v.reshape(-1).copy())).numpy()
        return found

    size = sum(p.numel() for p in parameters)
    (value,) = arpack(product, size, k=1, which="LA", ncv=10, tol=TOL, maxiter=30)
    return Found(value, products=products)


def pyhessian(case: Case) -> Found:
    import pyhessian

    batches = list(zip(case.x.split(BATCH), case.y.split(BATCH), strict=True))
    torch.manual_seed(0)
    of = pyhessian.hessian(case.network, case.loss, dataloader=batches, cuda=False)
    values, _ = of.eigenvalues(maxIter=300, tol=TOL, top_n=1)
    case.network.zero_grad(set_to_none=True)
    return Found(float(values[0]))


WAYS: dict[str, Callable[[Case], Found]] = {
    "ours": ours,
    "ours, both ends": both_ends,
    "ours, recomputed": recomputed,
    "scipy": scipy_default,
}
PEERS: dict[str, Callable[[Case], Found]] = {"curvlinops": curvlinops, "PyHessian": pyhessian}


def available() -> dict[str, Callable[[Case], Found]]:
    there = {n: w for n, w in PEERS.items() if importlib.util.find_spec(n.lower()) is not None}
    for name in PEERS.keys() - there.keys():
        print(f"{name} is not importable here; the head of this file says how to get it")
    return WAYS | there


def exact(case: Case) -> tuple[float, float]:
    """λ_max and λ_min in fp64."""
    network, x = copy.deepcopy(case.network).double(), case.x
    x = x.double() if x.is_floating_point() else x
    with as_evaluated(network, x.device):
        hessian = Hessian(network, case.loss, x, case.y, BATCH)

        def product(v: np.ndarray) -> np.ndarray:
            return hessian(torch.from_numpy(v.reshape(-1).copy())).numpy()

        bottom, top = arpack(
            product, len(hessian.start(0)), np.float64, k=2, which="BE", ncv=60, tol=1e-8
        )
    return top, bottom


def measure(
    case: Case, ways: dict[str, Callable[[Case], Found]], repetitions: int
) -> tuple[dict[str, Found], dict[str, list[float]]]:
    """What each way finds, and its processor seconds; a first, uncounted turn warms up."""
    found = {name: way(case) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for repetition in range(repetitions):
        shift = repetition % len(names)
        for name in names[shift:] + names[:shift]:
            started = time.process_time()
            ways[name](case)
            seconds[name].append(time.process_time() - started)
    return found, seconds


def report(case: Case, found: dict[str, Found], seconds: dict[str, list[float]]) -> None:
    top, bottom = exact(case)
    print(f"exact: λ_max {top:.6g}, λ_min {bottom:.6g}")
    reference = BEFORE if BEFORE in seconds else "ours"
    for name, one in found.items():
        ratios = [t / r for t, r in zip(seconds[name], seconds[reference], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        error = f"{abs(one.lambda_max / top - 1):8.1e}"
        lowest = (
            "       –" if one.lambda_min is None else f"{abs(one.lambda_min - bottom) / top:8.1e}"
        )
        print(
            f"{name:17} {statistics.median(seconds[name]):7.3f} s  x{middle:.2f} of {reference} "
            f"[{low:.2f}, {high:.2f}]  products {one.products or '–':>4}  "
            f"error of λ_max {error}  of λ_min {lowest}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(SAMPLES), choices=SAMPLES)
    parser.add_argument("--updates", type=int, default=300, help="of the training before")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--data", type=Path, default=Path("data/datasets"))
    arguments = parser.parse_args()
    if arguments.repetitions < 2:
        sys.exit("--repetitions must be at least 2: quartiles need them")
    warnings.filterwarnings("ignore")  # of the peers'
    torch.set_num_threads(1)  # as in a comparison: one process per core
    print(
        f"n = {arguments.repetitions} repetitions, batches of {BATCH}, tolerance {TOL:g}\n"
        f"{device_name(torch.device('cpu'))}, 1 of {os.cpu_count()} cores; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )
    ways = available()
    for name in arguments.tasks:
        case = trained(name, arguments.data, arguments.updates)
        size = sum(p.numel() for p in case.network.parameters())
        print(f"\n{name}: {size:,} parameters, {len(case.x)} samples, {arguments.updates} updates")
        report(case, *measure(case, ways, arguments.repetitions))


if __name__ == "__main__":
    main()
