"""A pipeline so small that all its steps take seconds, once for all tests that need a finished one.

digits-mlp, 40 updates: two schedulers × two peaks × two seeds, 20 pilots, three kinds of baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from components.runs.execute import execute
from components.runs.job import Job
from components.settings import Settings, load
from components.steps.pipeline import PIPELINE
from components.storage.workspace import Workspace
from components.training.history import History

ROOT = Path(__file__).parents[1]
TASK = "digits-mlp"
TINY: dict[str, Any] = {
    "task": TASK,
    "training.updates": 40,
    "training.points": 20,
    "training.device": "cpu",
    "sweep.sampler": "grid",  # a race of four configurations stops too few to tell
    "sweep.schedulers": ["constant", "onecycle"],
    "sweep.peak_lrs": [0.01, 0.05],
    "sweep.seeds": [0, 1],
    "pilots.runs": 20,
    "lode.fit.updates": 20,
    "lode.judge.updates": 20,
    "lode.scheduler.n": 5,
    "evaluation.seeds": [100, 101],
    "evaluation.sharpness_samples": 256,
    "baselines.schedulers": ["linear", "pbt", "finer-search"],
}


def tiny(**changes: Any) -> Settings:
    """These settings; `lode__fit__updates=21` changes `lode.fit.updates`."""
    return load(ROOT / "params.yaml", TINY | dotted(changes))


def dotted(changes: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in changes.items()}


def write_params(folder: Path, **changes: Any) -> Path:
    """`params.yaml` with these settings in a folder."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in (TINY | dotted(changes)).items():
        section = params
        *sections, name = key.split(".")
        for one in sections:
            section = section[one]
        section[name] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return path


def in_this_process(
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    on_history: Callable[[Job, History], None] = lambda job, history: None,
) -> list[History]:
    """A stand-in for `pool.run_all` without worker processes, whose start takes longer than runs
    this small; the pool has tests of its own."""
    found = []
    for job in jobs:
        found.append(execute(job))
        on_history(job, found[-1])
    return found


def finish(root: Path) -> Path:
    """Run every step in `root`."""
    write_params(root)
    for step in PIPELINE:
        assert step(tiny(), Workspace(root), in_this_process).ran, step.name
    return root
