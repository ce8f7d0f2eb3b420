"""Runs as a stranger's script logs them, and a workspace that they can come into."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from click.testing import CliRunner, Result

from components.cli.main import cli
from components.importers.csv import CsvSource
from components.importers.importing import read_runs, write_runs
from components.importers.request import Imported, Request, Target
from components.importers.source import Source
from components.tasks.own import OwnMetric
from components.training.history import History, read_histories

# Real runs of others, where the project's checkout has them beside it.
SHARED = Path(__file__).parents[3] / "shared" / "data"
N, T = 400, 20
LOSS = OwnMetric("val_loss", "minimize")
PARAMS = """\
task: old-runs
tasks:
  old-runs: {imported: true, metric: {name: val_loss, goal: minimize}}
  shares: {imported: true, metric: {name: val_acc, goal: maximize, percent: true}}
training: {updates: 400, points: 20}
"""


def rate(kind: str, step: int, peak: float, updates: int = N) -> float:
    """Of update `step` (1..N), as scripts have it: a warm-up of 5 %, then this or that."""
    share, rise = step / updates, min(1.0, step / (0.05 * updates))
    return (
        peak
        * rise
        * {"cos": (1 + math.cos(math.pi * share)) / 2, "flat": 1.0, "lin": 1 - share}[kind]
    )


def log(
    kind: str = "cos", peak: float = 0.01, seed: int = 0, *, updates: int = N, every: int = 10
) -> pd.DataFrame:
    """Rows `step, train_loss, val_loss, lr`: a loss that falls as the rates' sum grows, the
    validation four times as seldom."""
    steps = np.arange(every, updates + 1, every)
    rates = np.array([rate(kind, int(step), peak, updates) for step in range(1, updates + 1)])
    done = np.cumsum(rates)[steps - 1] / (0.01 * updates)
    noise = 0.01 * np.random.default_rng(seed).random(len(steps))
    loss = 0.5 + 2 * np.exp(-4 * done) + 3 * rates[steps - 1] + noise
    rows = pd.DataFrame({"step": steps, "train_loss": loss, "lr": rates[steps - 1]})
    rows["val_loss"] = np.where(np.arange(1, len(steps) + 1) % 4 == 0, loss + 0.1, np.nan)
    return rows


def sweep(
    kinds: Sequence[str] = ("cos", "flat", "lin"),
    peaks: Sequence[float] = (0.003, 0.01, 0.03),
    seeds: Sequence[int] = (0, 1),
) -> dict[str, tuple[dict[str, Any], pd.DataFrame]]:
    """Configuration and rows by run."""
    return {
        f"{kind}-{peak:g}-{seed}": (
            {"sched": kind, "base_lr": peak, "seed": seed},
            log(kind, peak, seed),
        )
        for kind in kinds
        for peak in peaks
        for seed in seeds
    }


def one_file(path: Path, runs: Mapping[str, tuple[Mapping[str, Any], pd.DataFrame]]) -> Path:
    """All runs in one CSV file, told apart by the column `run`."""
    frames = [rows.assign(run=name, **config) for name, (config, rows) in runs.items()]
    pd.concat(frames).to_csv(path, index=False)
    return path


def json_lines(path: Path, rows: pd.DataFrame) -> Path:
    """One run, a row a line, without what it does not have."""
    lines = [
        json.dumps({k: v for k, v in row.items() if not pd.isna(v)})
        for row in rows.to_dict("records")
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def target(root: Path, metric: OwnMetric = LOSS, task: str = "old-runs") -> Target:
    return Target(task, root / "histories", metric)


def read(source: Source, root: Path, metric: OwnMetric = LOSS, **asked: Any) -> Imported:
    """What would come in."""
    return read_runs(source, Request(**{"points": T} | asked), target(root, metric), root / "state")


def read_csv(path: Path, root: Path, run: str | None = "run", **asked: Any) -> Imported:
    return read(CsvSource(path, run=run), root, **asked)


def write(source: Source, root: Path, metric: OwnMetric = LOSS, **asked: Any) -> list[History]:
    """What has come in, as it is read again."""
    result = read(source, root, metric, **asked)
    write_runs(result, root / "state")
    return read_histories(result.target.folder)


def workspace(root: Path) -> Path:
    (root / "params.yaml").write_text(PARAMS)
    return root


def lode_import(*arguments: str | Path, root: Path) -> Result:
    """`lode import …` in a workspace, in this process."""
    params = ["--params", str(root / "params.yaml")]
    return CliRunner().invoke(cli, ["import", *map(str, arguments), *params])
