"""From a run's log points to its history."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from components.importers.configurations import Run
from components.importers.request import Target
from components.storage.shown import cut
from components.training.history import COLUMNS, COMPLETED, DIVERGED, History


def run_id(kind: str, source_id: str, target: Target, updates: int, points: int) -> str:
    """16 hex digits of what determines it, so that importing again replaces and adds nothing."""
    facts = [kind, source_id, target.task, updates, points]
    return hashlib.sha256(json.dumps(["imported", *facts]).encode()).hexdigest()[:16]


def content(run: Run, scheduler: str, peak_lr: float) -> str:
    """A digest of what a run says, whatever it is called: two of them are one, logged twice."""
    facts = hashlib.sha256(json.dumps([scheduler, peak_lr, run.completed]).encode())
    for name in ("step", "train_loss", "val_metric", "lr"):
        facts.update(run.points[name].to_numpy(np.float64).tobytes())
    return facts.hexdigest()


def history(
    run: Run,
    target: Target,
    *,
    kind: str,
    updates: int,
    points: int,
    scheduler: str,
    peak_lr: float,
    seed: int,
    epoch_updates: int | None = None,
) -> History:
    """The history of a run, its metric such that higher is better."""
    name = run_id(kind, run.listed.id, target, updates, points)
    rows = run.points.copy()
    sign = target.metric.sign
    rows["val_metric"] *= sign
    rows["run_id"], rows["point"] = name, np.arange(1, len(rows) + 1)
    rows["epoch"] = rows["step"] / epoch_updates if epoch_updates else 0.0
    imported = {"source": kind, "id": cut(run.listed.id, 300), "name": cut(run.listed.name, 300)}
    if run.trunk:
        imported["trunk"] = cut(run.trunk, 300)
    meta: dict[str, Any] = {
        "run_id": name,
        "task": target.task,
        "scheduler": scheduler,
        "peak_lr": peak_lr,
        "seed": seed,
        "updates": updates,
        "points": points,
        "status": COMPLETED if run.completed else DIVERGED,
        "imported": imported,
        **target.metric.facts(),
    }
    if run.log.test_metric is not None:
        meta["test_metric"] = sign * run.log.test_metric
    if len(rows):
        meta |= _best(rows["val_metric"])
    types = {"point": "int32", "step": "int64"}
    return History(rows[list(COLUMNS)].astype(types).reset_index(drop=True), meta)


def _best(metric: pd.Series) -> dict[str, float | int]:
    best = int(metric.to_numpy().argmax())
    return {"best_val_metric": float(metric.iloc[best]), "best_point": best + 1}
