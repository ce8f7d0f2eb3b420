"""Every history there is to learn from, wherever it lies, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.settings import Settings
from components.steps.all_steps import sweep_plan
from components.storage.workspace import Workspace
from components.training.history import History, HistoryError, read_history
from components.validation import accepted_histories
from components.validation.tables import REQUIRED_META

SWEEP, PILOTS, IMPORTED = "sweep", "pilots", "imported"


@dataclass(frozen=True)
class Found:
    """A history, the folder it is of (`sweep`, `pilots`, `scheduled`, `nightly`, `imported`) and
    its file."""

    history: History
    source: str
    path: Path


@dataclass
class Gathered:
    """What was found.

    Attributes:
        runs: of this task, N and T, each run id once; diverged ones too.
        duplicates: how many were left out as their run id was there already.
        skipped: how many were of another task, budget or data, by reason.
        unreadable: why, by file name.
        seeds: of every readable run of the task, skipped ones too.
    """

    runs: list[Found] = field(default_factory=list)
    duplicates: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    seeds: set[int] = field(default_factory=set)


def gather(settings: Settings, workspace: Workspace) -> Gathered:
    """Read the accepted sweep, and all files of the other folders.

    Raises:
        ValidationError: no validated sweep; run `lode validate` first.
    """
    task = settings.task
    asked = _asked(settings, workspace)
    gathered, seen = Gathered(), set()
    for found in [
        *_sweep(settings, workspace),
        *_files(PILOTS, workspace.pilots(task), gathered.unreadable),
        *_files("scheduled", workspace.scheduled(task), gathered.unreadable),
        *_files("nightly", workspace.nightly(task), gathered.unreadable),
        *_files(IMPORTED, workspace.imported(task), gathered.unreadable),
    ]:
        history = found.history
        if history.meta["task"] == task:
            gathered.seeds.add(int(history.meta["seed"]))
        other = _another(history, asked)
        if other:
            gathered.skipped[other] += 1
        elif history.run_id in seen:
            gathered.duplicates += 1
        else:
            seen.add(history.run_id)
            gathered.runs.append(found)
    return gathered


def _asked(settings: Settings, workspace: Workspace) -> dict[str, Any]:
    spec = sweep_plan(settings, workspace).template.spec
    keys = ("task", "updates", "points", "train_samples", "data_digest")
    return {key: getattr(spec, key) for key in keys}


def _another(history: History, asked: dict[str, Any]) -> str:
    """Why a run is none of these; empty if it is. An import need not know of the last two keys."""
    for key, value in asked.items():
        if key in history.meta and history.meta[key] != value:
            return f"{key} {history.meta[key]} instead of {value}"
    return ""


def _sweep(settings: Settings, workspace: Workspace) -> Iterator[Found]:
    folder = workspace.histories(settings.task)
    for history in accepted_histories(folder, workspace.validation(settings.task)):
        yield Found(history, SWEEP, folder / f"{history.run_id}.parquet")


def _files(source: str, folder: Path, unreadable: dict[str, str]) -> Iterator[Found]:
    for path in _parquet(folder):
        try:
            history = read_history(path)
        except HistoryError as error:
            unreadable[f"{source}/{path.name}"] = str(error).replace(f"{path}: ", "")
            continue
        missing = [key for key in REQUIRED_META if key not in history.meta]
        if missing:
            unreadable[f"{source}/{path.name}"] = f"metadata keys missing: {', '.join(missing)}"
            continue
        yield Found(history, source, path)


def _parquet(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("*.parquet"))
