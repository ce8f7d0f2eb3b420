"""Can a latent ODE that takes the learning rate as an input judge schedules it never saw?

    .venv/bin/python docs/research/judge.py --sweep grid      # needs the histories of `make demo`
    .venv/bin/python docs/research/judge.py --sweep random

Fits an ensemble dh/dt = f(h, lr(t)) on 100 runs, the pipeline's grid or as many random trapezoids,
and compares its predicted final validation metric with the measured one (mean over screening seeds,
last 3 points) of the 28 shapes of headroom.py.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from headroom import POINTS, run_all, shapes, trapezoid
from scipy.stats import spearmanr
from torch import nn

from components.schedulers.parametric import learning_rate
from components.training.history import read_histories

TASK, UPDATES, SEEDS = "mnist1d-cnn", 1000, range(200, 204)
BINS, MEMBERS, WIDTH, HIDDEN = 25, 5, 16, 32
LR_OFFSET = 1e-4

Runs = tuple[np.ndarray, np.ndarray, np.ndarray]  # lr, loss, metric, each (R, BINS)


class Judges(nn.Module):
    """`MEMBERS` lr-conditioned ODEs in one; u (B, BINS) -> (MEMBERS, B, BINS, 2)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def layer(inputs: int, outputs: int) -> nn.ParameterList:
            weight = torch.randn(MEMBERS, inputs, outputs, generator=generator) / math.sqrt(inputs)
            return nn.ParameterList([weight, torch.zeros(MEMBERS, 1, outputs)])

        sizes = ((WIDTH + 2, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, WIDTH))
        self.field = nn.ModuleList(layer(*size) for size in sizes)
        self.readout = nn.ModuleList(layer(*size) for size in ((WIDTH + 1, HIDDEN), (HIDDEN, 2)))
        self.start = nn.Parameter(0.3 * torch.randn(MEMBERS, 1, WIDTH, generator=generator))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        h, seen, step = self.start.expand(MEMBERS, len(u), WIDTH), [], 4 / BINS
        for k in range(BINS):  # midpoint rule
            drive = torch.stack((u[:, k], u[:, k].exp().clamp(max=10)), -1).expand(MEMBERS, -1, -1)
            half = h + step / 2 * _mlp(self.field, torch.cat((h, drive), -1))
            h = h + step * _mlp(self.field, torch.cat((half, drive), -1))
            seen.append(torch.cat((h, drive[..., :1]), -1))
        return _mlp(self.readout, torch.stack(seen, 2).flatten(1, 2)).unflatten(1, (len(u), BINS))


def _mlp(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for i, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias, x, weight)
        x = torch.tanh(x) if i + 1 < len(layers) else x
    return x


def binned(series: np.ndarray) -> np.ndarray:
    """Means over `BINS` equal parts of the last axis."""
    edges = np.arange(BINS + 1) * series.shape[-1] // BINS
    return np.stack([series[..., a:b].mean(-1) for a, b in pairwise(edges)], -1)


def targets(loss: np.ndarray, metric: np.ndarray) -> np.ndarray:
    return np.stack((np.log(np.minimum(loss, 4) + 0.01), -np.log(1.02 - metric)), -1)


def judge(fitted: Runs, schedules: np.ndarray, updates: int, seed: int = 0) -> np.ndarray:
    """Fit on runs and return the predicted final metric (MEMBERS, S) of schedules (S, BINS)."""
    torch.set_num_threads(1)
    u, y = np.log(fitted[0] + LR_OFFSET), targets(*fitted[1:])
    centre, scale = u.mean(), u.std()
    middle, spread = y.mean((0, 1)), y.std((0, 1))
    x = torch.tensor((u - centre) / scale, dtype=torch.float32)
    goal = torch.tensor((y - middle) / spread, dtype=torch.float32)
    judges = Judges(seed)
    bootstrap = np.random.default_rng(seed).exponential(size=(MEMBERS, len(x)))
    weights = torch.tensor(bootstrap / bootstrap.mean(1, keepdims=True), dtype=torch.float32)
    emphasis = torch.tensor([1.0, 2.0]) * torch.ones(BINS, 1)
    emphasis[-2:] *= 3  # the end is what is judged
    optimizer = torch.optim.AdamW(judges.parameters(), lr=5e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, updates, cycle_momentum=False)
    for _ in range(updates):
        error = (judges(x) - goal).square() * emphasis
        loss = (error.mean((2, 3)) * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(judges.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        asked = torch.tensor((np.log(schedules + LR_OFFSET) - centre) / scale, dtype=torch.float32)
        final = judges(asked)[:, :, -1, 1].numpy() * spread[1] + middle[1]
    return 1.02 - np.exp(-final)


def grid_runs() -> Runs:
    histories = read_histories(Path("data/histories") / TASK)
    histories = [h for h in histories if h.completed and h.meta["updates"] == UPDATES]
    lrs = [
        [learning_rate(*h.configuration[:1], t, UPDATES, h.meta["peak_lr"]) for t in range(UPDATES)]
        for h in histories
    ]
    columns = (np.stack([h.points[c] for h in histories]) for c in ("train_loss", "val_metric"))
    return binned(np.array(lrs)), *(binned(column) for column in columns)  # type: ignore[return-value]


def random_runs(count: int = 100) -> Runs:
    """Trapezoids of random peak, warm-up, decay and shape; seeds 0-4 in turn."""
    rng = np.random.default_rng(7)
    tables = []
    for _ in range(count):
        peak, warmup = (
            math.exp(rng.uniform(math.log(0.005), math.log(0.1))),
            rng.uniform(0.01, 0.45),
        )
        decay = rng.uniform(0.2, 1 - warmup)
        tables.append(trapezoid(UPDATES, peak, warmup, decay, str(rng.choice(["linear", "cos"]))))
    results = run_all([(TASK, table, i % 5, POINTS) for i, table in enumerate(tables)])
    whole = [i for i, result in enumerate(results) if len(result["rows"]) == POINTS]
    pick = [[(r["train_loss"], r["val_metric"]) for r in results[i]["rows"]] for i in whole]
    loss, metric = np.array(pick).transpose(2, 0, 1)
    return binned(np.stack([tables[i] for i in whole])), binned(loss), binned(metric)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", choices=("grid", "random"), default="grid")
    parser.add_argument("--fit-updates", type=int, default=1500)
    options = parser.parse_args()
    asked = shapes(UPDATES)
    results = run_all([(TASK, lrs, seed, POINTS) for lrs in asked.values() for seed in SEEDS])
    ends = [np.mean([row["val_metric"] for row in result["rows"][-3:]]) for result in results]
    true = np.reshape(ends, (len(asked), len(SEEDS))).mean(1)
    fitted = grid_runs() if options.sweep == "grid" else random_runs()
    members = judge(fitted, binned(np.stack(list(asked.values()))), options.fit_updates)
    mean, spread = members.mean(0), members.std(0)
    pick = int(np.argmax(mean - spread))
    print(
        f"{options.sweep}: Spearman {spearmanr(mean, true)[0]:.2f}, "
        f"bias {np.mean(mean - true):+.4f}, rmse {np.sqrt(np.mean((mean - true) ** 2)):.4f}, "
        f"members' std {spread.mean():.4f}; picks "
        f"{list(asked)[pick]}: {true[pick]:.4f}, the best {true.max():.4f}, the sweep's "
        f"{true[list(asked).index('onecycle 0.05 warm-up 0.3')]:.4f}"
    )


if __name__ == "__main__":
    main()
