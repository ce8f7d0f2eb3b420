"""Synthetic histories with the shapes real ones have: made up, for tests of the evaluation only."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from components.evaluation.latent_space import LatentSpace
from components.evaluation.results import (
    BaselinePlan,
    ErrorEntry,
    Finalist,
    FitSummary,
    Gain,
    PilotResult,
    Rank,
    RankEntry,
)
from components.evaluation.trajectories import Trajectories
from components.training.history import COMPLETED, DIVERGED, History
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
    if sharpness:
        meta["sharpness_series"] = series(points, noise)
    return History(points, meta)


def series(points: pd.DataFrame, noise: np.random.Generator) -> list[dict]:
    """λ as AdamW's runs have it: λ_max falls while the rate is high, P^-½ H P^-½ follows 38/η."""
    due = points[points["point"].isin([1, 10, 20, 30, 40])]
    return [
        {
            "point": int(row.point),
            "lr": float(row.lr),
            "threshold": 38.0,
            "lambda_max": 30 * math.exp(noise.normal(0, 0.1)) / (1 + 100 * row.lr),
            "residual": 1e-4,
            "lambda_min": -2 * math.exp(noise.normal(0, 0.1)),
            "residual_min": 5e-4,
            "preconditioned": 30 * math.exp(noise.normal(0, 0.1)) / (0.003 + row.lr),
            "residual_preconditioned": 2e-4,
        }
        for row in due.itertuples()
    ]


def sweep(seeds: range = range(3)) -> list[History]:
    return [history(s, p, seed) for s in SCHEDULERS for p in PEAKS for seed in seeds]


def scheduled(seeds: range = range(100, 106), **options: object) -> list[History]:
    """The comparison's runs, at the peaks that `sweep()`'s validation chooses."""
    return [
        history(
            scheduler,
            peak,
            seed,
            sharpness=True,
            digest="0123456789abcdef" if scheduler == "lode" else None,
            **options,
        )  # type: ignore[arg-type]
        for scheduler, peak in chosen().values()
        for seed in seeds
    ]


def chosen() -> dict[str, tuple[str, float | None]]:
    """The rows: each scheduler at the peak that `sweep()`'s validation chooses."""
    best = {"constant": 0.01, "cosine": 0.01, "exp-decay": 0.01, "onecycle": 0.05, "lode": None}
    return {name: (name, peak) for name, peak in best.items()}


def finer(peak: float = 0.07, level: float = 0.96, seeds: range = range(3)) -> list[History]:
    """The runs of a finer search whose best is OneCycle at `peak`."""
    others = [history("cosine", p, seed) for p in (0.008, 0.02) for seed in seeds]
    return others + [history("onecycle", peak, seed, level=level) for seed in seeds]


def pilots(adopted: bool = True) -> PilotResult:
    """What `lode pilot` leaves."""
    shapes = [[0.01 * k] * (POINTS + 1) for k in (1, 2, 3)]
    return PilotResult(
        runs=100,
        diverged=1,
        seconds=240.0,
        run_ids=["a" * 16, "b" * 16],
        budget={"finer": 8, "explore": 12, "propose": 52, "paired": 5, "pairs": 10},
        peaks=[0.02, 0.125],
        baseline=BaselinePlan("onecycle", 0.05, [0.05] * (POINTS + 1)),
        finalists=[Finalist(plan, 0.9) for plan in shapes],
        finalist=shapes[0],
        gain=Gain(0.0116, 0.002, 18),
        adopted=adopted,
        plan=shapes[0] if adopted else [],
    )


def fit() -> FitSummary:
    """What a LODE's config says of its fit."""
    errors = {
        part: {
            channel: ErrorEntry(mean, 0.01, 12)
            for channel in ("train_loss", "val_metric", "log_lr")
        }
        for part, mean in (("fitted", 0.111), ("held_out", 0.222))
    }
    return FitSummary(
        settings={"held_out_seeds": 1, "peak_lr": 0.02},
        histories=36,
        fitted=24,
        held_out=12,
        errors=[(250, 0.2), (300, 0.1)],
        table_a1={"5%": errors, "50%": errors},
        rank=Rank(RankEntry(3, 36, 0.94, 0.95), RankEntry(1, 12, 0.95, 0.95)),
    )


def trajectories(runs: list[History]) -> Trajectories:
    """A run of the best configuration beside predictions that are a little too good."""
    drawn = next(h for h in runs if h.configuration == ("onecycle", 0.05) and h.meta["seed"] == 2)
    predicted = drawn.series() * np.array([0.9, 1.01, 1.0])
    seen = {5: (2, predicted), 50: (20, predicted)}
    return Trajectories(drawn, seen, held_out=True, latents=latents(runs))


def latents(runs: list[History]) -> LatentSpace:
    """States that are what was logged, and nothing else."""
    few = [run for run in runs if run.completed][::12]
    series = np.stack([run.series()[4::5] for run in few])
    names = tuple(str(run.meta["scheduler"]) for run in few)
    return LatentSpace(series, np.linspace(12.5, 100, series.shape[1]), series, names)


def decisions() -> list[dict]:
    """Three decisions, the second of which changed the plan."""
    return [
        {"point": point, "predicted": 0.9 + 0.01 * i, "kept": None if i == 1 else "no gain"}
        for i, point in enumerate((10, 20, 30))
    ]
