"""Synthetic histories with the shapes real ones have: made up, for tests of the evaluation only."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from components.training.history import COMPLETED, DIVERGED, History, write_history
from components.training.run import RunSpec, log_steps

TASK, UPDATES, POINTS = "mnist1d-cnn", 400, 40
SCHEDULERS, PEAKS = ("constant", "cosine", "exp-decay", "onecycle"), (0.001, 0.01, 0.05)
# the accuracy each scheduler reaches at its best peak, 0.01 (OneCycle: 0.05)
LEVEL = {"constant": 0.90, "cosine": 0.93, "exp-decay": 0.925, "onecycle": 0.945, "lode": 0.951}


def rate(scheduler: str, peak: float, progress: np.ndarray) -> np.ndarray:
    if scheduler == "cosine":
        return peak * (1 + np.cos(np.pi * progress)) / 2
    if scheduler == "exp-decay":
        return peak * 0.5 ** np.floor(3 * progress)
    if scheduler == "onecycle":
        rise = peak * (0.04 + 0.96 * progress / 0.3)
        fall = peak * (1e-5 + (1 + np.cos(np.pi * (progress - 0.3) / 0.7)) / 2)
        return np.where(progress < 0.3, rise, fall)
    if scheduler == "lode":
        return np.where(progress < 0.55, peak, peak * 0.02 ** ((progress - 0.55) / 0.45))
    return np.full_like(progress, peak)


def history(
    scheduler: str,
    peak: float | None,
    seed: int,
    *,
    level: float | None = None,
    diverged: bool = False,
    sharpness: bool = False,
    digest: str | None = None,
    task: str = TASK,
) -> History:
    """A run that ends near `level` (validation) and half a point below it (test)."""
    spec = RunSpec(task, scheduler, peak, seed, UPDATES, POINTS, scheduler_digest=digest)
    noise = np.random.default_rng([seed, *scheduler.encode(), round(1e6 * (peak or 0))])
    steps = np.array(log_steps(UPDATES, POINTS))
    progress = steps / UPDATES
    optimum = 0.05 if scheduler == "onecycle" else 0.01
    penalty = 0.06 * abs(math.log10((peak or optimum) / optimum))
    goal = (LEVEL[scheduler] - penalty if level is None else level) + noise.normal(0, 0.002)
    metric = goal - (goal - 0.1) * np.exp(-6 * progress) - 0.01 * (1 - progress)
    loss = 2.3 * np.exp(-5 * progress) + 0.4 * (1 - goal) + 0.02
    points = pd.DataFrame(
        {
            "run_id": spec.run_id,
            "point": np.arange(1, POINTS + 1),
            "step": steps,
            "epoch": steps / 40,
            "train_loss": loss * np.exp(noise.normal(0, 0.05, POINTS)),
            "val_metric": np.clip(metric + noise.normal(0, 0.003, POINTS), 0, 1),
            "lr": rate(scheduler, peak or 0.03 * math.exp(noise.normal(0, 0.2)), progress),
            "elapsed_s": 2.0 * progress,
        }
    )
    if diverged:
        points = points.iloc[: POINTS // 4]
    best = int(points["val_metric"].argmax())
    meta = {
        "run_id": spec.run_id,
        "task": task,
        "scheduler": scheduler,
        "peak_lr": peak,
        "seed": seed,
        "updates": UPDATES,
        "points": POINTS,
        "train_samples": None,
        "status": DIVERGED if diverged else COMPLETED,
        "test_metric": None if diverged else goal - 0.005 + float(noise.normal(0, 0.001)),
        "best_val_metric": float(points["val_metric"].iloc[best]),
        "best_point": best + 1,
        "seconds_per_epoch": 0.2 + 0.01 * float(noise.random()) + 0.05 * (scheduler == "lode"),
        "device": "Synthetic CPU",
        "threads": 1,
        "versions": {"python": "3.11", "torch": "2.11"},
        "sharpness": None,
        "decisions": decisions() if scheduler == "lode" else None,
        "scheduler_digest": digest,
    }
    if sharpness and not diverged:
        meta["sharpness"] = {
            "lambda_max": 10 * math.exp(noise.normal(0, 0.2)),
            "residual": 1e-4,
            "method": "lanczos",
            "samples": 1024,
        }
    return History(points, meta)


def sweep(seeds: range = range(3)) -> list[History]:
    return [history(s, p, seed) for s in SCHEDULERS for p in PEAKS for seed in seeds]


def scheduled(seeds: range = range(100, 106), **options: object) -> list[History]:
    """The comparison's runs, at the peaks that `sweep()`'s validation chooses."""
    best = {"constant": 0.01, "cosine": 0.01, "exp-decay": 0.01, "onecycle": 0.05, "lode": None}
    return [
        history(
            s,
            p,
            seed,
            sharpness=True,
            digest="0123456789abcdef" if s == "lode" else None,
            **options,
        )  # type: ignore[arg-type]
        for s, p in best.items()
        for seed in seeds
    ]


def pilots(adopted: bool = True) -> dict:
    """What `lode pilot` leaves, as far as the report reads it."""
    shapes = [[0.01 * k] * (POINTS + 1) for k in (1, 2, 3)]
    return {
        "runs": 100,
        "diverged": 1,
        "seconds": 240.0,
        "adopted": adopted,
        "budget": {"finer": 8, "explore": 13, "propose": 12, "screen": 5, "confirm": 18},
        "baseline": {"scheduler": "onecycle", "peak_lr": 0.05, "plan": [0.05] * (POINTS + 1)},
        "gain": {"mean": 0.0116, "error": 0.002, "n": 18},
        "finalists": [{"plan": plan, "screened": 0.9} for plan in shapes],
        "plan": shapes[0],
    }


def decisions() -> list[dict]:
    """Three decisions, the second of which changed the plan."""
    return [
        {"point": point, "predicted": 0.9 + 0.01 * i, "kept": None if i == 1 else "no gain"}
        for i, point in enumerate((10, 20, 30))
    ]


def write(histories: list[History], folder: Path) -> Path:
    for one in histories:
        write_history(one, folder)
    return folder


def write_lode(histories: list[History], fit: dict, folder: Path) -> Path:
    """A real LODE of random weights that has seen nothing."""
    import torch

    from components.lode.channels import Channels
    from components.lode.model import LODE, LODEConfig

    columns = ["train_loss", "val_metric", "lr"]
    series = [h.points[columns].to_numpy(copy=True) for h in histories]
    config = LODEConfig(
        Channels.measure(series),
        POINTS,
        task=TASK,
        fit=fit,
        initial_schedule=tuple(series[0][:, 2].tolist()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LODE(config).save(folder)
    return folder
