"""How much is to be gained over the sweep's best schedule, by hand-made shapes.

    .venv/bin/python docs/research/headroom.py --updates 500
    .venv/bin/python docs/research/headroom.py --task digits-mlp --updates 300 --best onecycle 0.05

Trains every shape, and the sweep's best, on screening seeds (200 …, never reported on); prints them
by mean test metric. The shapes' peaks are 0.6 to 1.4 times that of the sweep's best. The first of
them is then compared with the sweep's best on other seeds (500 …). Finished runs are kept in
`.lode/research`, so a second call is instant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.statistics import paired_difference
from components.runs.execute import load_data
from components.schedulers.parametric import learning_rate
from components.storage.files import write_text
from components.tasks import catalog
from components.training.loop import evaluate, train
from components.training.scheduler import Scheduler

KEPT, DATA = Path(".lode/research"), Path("data/datasets")
POINTS = 100
Shapes = dict[str, np.ndarray]  # learning rates by name
Job = tuple[str, np.ndarray, int, int]  # task, learning rates, seed, log points


class Replay(Scheduler):
    """A table of learning rates, one per update, as the training loop's scheduler."""

    def __init__(self, lrs: np.ndarray) -> None:
        self._lrs = np.maximum(lrs, 1e-8)

    def lr(self, step: int) -> float:
        return float(self._lrs[step])


def onecycle(updates: int, peak: float, warmup: float) -> np.ndarray:
    """Cosine OneCycle from peak / 25 to peak / 250,000 with another share of warm-up."""
    t, turn = np.arange(updates), max(int(warmup * updates), 1)
    low, end = peak / 25, peak / 25 / 1e4
    up = peak + (low - peak) / 2 * (1 + np.cos(np.pi * t / turn))
    down = end + (peak - end) / 2 * (1 + np.cos(np.pi * (t - turn) / (updates - turn)))
    return np.where(t < turn, up, down)


def trapezoid(
    updates: int, peak: float, warmup: float, decay: float, shape: str = "linear"
) -> np.ndarray:
    """Linear warm-up from peak / 25, plateau, then decay to 0 over the last share `decay`."""
    x = (np.arange(updates) + 0.5) / updates
    up = 1 / 25 + (1 - 1 / 25) * np.clip(x / warmup, 0, 1)
    done = np.clip((x - (1 - decay)) / decay, 0, 1)
    down = {"linear": 1 - done, "cos": (1 + np.cos(np.pi * done)) / 2}[shape]
    return peak * np.minimum(up, down)


def shapes(updates: int, best: float = 0.05) -> dict[str, np.ndarray]:
    """28 of them by name; `best`: peak learning rate of the sweep's best."""
    peaks = [round(factor * best, 6) for factor in (0.6, 0.8, 1.0, 1.4)]
    found = {
        f"onecycle {peak} warm-up {warmup}": onecycle(updates, peak, warmup)
        for peak in peaks
        for warmup in (0.15, 0.3, 0.5)
    }
    for peak in (peaks[0], peaks[2]):
        for warmup in (0.1, 0.3):
            for decay, shape in ((0.7, "linear"), (0.5, "linear"), (0.5, "cos"), (0.3, "linear")):
                name = f"trapezoid {peak} warm-up {warmup} decay {decay} {shape}"
                found[name] = trapezoid(updates, peak, warmup, decay, shape)
    return found


def run(job: Job) -> dict[str, Any]:
    """Train `task` under a table of learning rates; the history's rows and the test metric."""
    import torch

    name, lrs, seed, points = job
    said = json.dumps([name, points, seed]).encode() + np.asarray(lrs, np.float64).tobytes()
    path = KEPT / f"{hashlib.sha256(said).hexdigest()[:20]}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    torch.set_num_threads(1)
    task, data = catalog.get(name), load_data(name, DATA, None, "cpu")
    outcome = train(task, data, Replay(lrs), seed=seed, updates=len(lrs), points=points)
    outcome.network.load_state_dict(outcome.best_weights)
    test = evaluate(task, outcome.network, data.test)
    result = {"status": outcome.status, "rows": outcome.rows, "test": test}
    write_text(path, json.dumps(result))
    return result


def run_all(jobs: list[Job]) -> list[dict[str, Any]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.runs.execute", "torch._dynamo"])
    with ProcessPoolExecutor(mp_context=context) as executor:
        return list(executor.map(run, jobs))


def tests(task: str, found: Shapes, seeds: Sequence[int], points: int) -> dict[str, np.ndarray]:
    """Test metric of every shape on every seed, of the weights at the best validation point."""
    jobs = [(task, lrs, seed, points) for lrs in found.values() for seed in seeds]
    results = iter(run_all(jobs))
    return {name: np.array([next(results)["test"] for _ in seeds]) for name in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="mnist1d-cnn")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument(
        "--best",
        nargs=2,
        default=["onecycle", "0.05"],
        metavar=("SCHEDULER", "PEAK"),
        help="of the sweep",
    )
    parser.add_argument("--seeds", type=int, default=4, help="how many, from 200 on")
    parser.add_argument("--confirm", type=int, default=20, help="how many, from 500 on")
    options = parser.parse_args()
    seeds = range(200, 200 + options.seeds)
    scheduler, peak = options.best[0], float(options.best[1])
    ours = f"sweep's best: {scheduler} {peak}"
    found = shapes(options.updates, peak)
    found[ours] = np.array(
        [learning_rate(scheduler, t, options.updates, peak) for t in range(options.updates)]
    )
    screened = tests(options.task, found, seeds, options.points)
    print(f"{options.task}, {options.updates} updates, test on {len(seeds)} seeds")
    ranked = sorted(screened, key=lambda name: -screened[name].mean())
    for name in ranked:
        print(f"{screened[name].mean():.4f} ± {screened[name].std(ddof=1):.4f}  {name}")
    # The best of many on few seeds is flattered: what it is worth, others must say.
    first = next(name for name in ranked if name != ours)
    pair = {name: found[name] for name in (first, ours)}
    fresh = range(500, 500 + options.confirm)
    best, base = tests(options.task, pair, fresh, options.points).values()
    difference = paired_difference(
        dict(zip(fresh, best, strict=True)), dict(zip(fresh, base, strict=True))
    )
    print(
        f"{first} less the sweep's best on {len(fresh)} other seeds: {difference.mean:+.4f} "
        f"({difference.low:+.4f} to {difference.high:+.4f})"
    )


if __name__ == "__main__":
    main()
