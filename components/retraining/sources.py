"""Every history there is to learn from, wherever it lies, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.runs.plan import sweep_plan
from components.settings import Settings
from components.storage.shown import shown
from components.storage.workspace import Workspace
from components.training.facts import printable
from components.training.history import History, HistoryError, history_path, read_history
from components.training.run import RunSpec
from components.validation.accepted import accepted_histories
from components.validation.wording import listing

SWEEP, PILOTS, IMPORTED = "sweep", "pilots", "imported"
# What runs to learn from have in common. An import need not know of the last two.
SHARED = ("task", "updates", "points", "train_samples", "data_digest")


@dataclass(frozen=True)
class FoundRun:
    """A history, the source it is of (`sweep`, `pilots`, `scheduled`, `nightly`, `imported`) and
    its file."""

    history: History
    source: str
    path: Path


@dataclass
class Sources:
    """What all sources hold.

    Attributes:
        runs: of this task, N and T, each run id once; diverged ones too.
        duplicates: how many were left out as their run id was there already.
        skipped: how many were of another task, budget or data, or where nobody reads, by reason.
        unreadable: why, by file name.
        seeds: of every readable run of the task, skipped ones too.
    """

    runs: list[FoundRun] = field(default_factory=list)
    duplicates: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    seeds: set[int] = field(default_factory=set)


def read_sources(settings: Settings, workspace: Workspace) -> Sources:
    """Read the accepted sweep, and all files of the other folders.

    Raises:
        ValidationError: no validated sweep; run `lode validate` first.
    """
    task = settings.task
    folders = {
        PILOTS: workspace.pilots(task),
        "scheduled": workspace.scheduled(task),
        "nightly": workspace.nightly(task),
        IMPORTED: workspace.imported(task),
    }
    asked = sweep_plan(settings, workspace).template.spec
    sources, seen = Sources(), set()
    for found in [
        *_sweep(settings, workspace),
        *(run for name in folders for run in _folder(name, folders[name], sources.unreadable)),
    ]:
        history = found.history
        if history.meta["task"] == task:
            sources.seeds.add(int(history.meta["seed"]))
        differs = mismatch(history, asked)
        if differs:
            sources.skipped[differs] += 1
        elif history.run_id in seen:
            sources.duplicates += 1
        else:
            seen.add(history.run_id)
            sources.runs.append(found)
    astray = _astray(folders[IMPORTED])
    if astray:
        reason = f"{listing(astray, 3)}, which belongs in data/imported/{task} itself"
        sources.skipped[reason] = len(astray)
    return sources


def mismatch(history: History, asked: RunSpec) -> str:
    """Why a run is not one to learn from; empty if it is."""
    for key in SHARED:
        value = getattr(asked, key)
        if key in history.meta and history.meta[key] != value:
            return f"{key} {shown(history.meta[key])} instead of {value}"
    return ""


def _sweep(settings: Settings, workspace: Workspace) -> Iterator[FoundRun]:
    folder = workspace.histories(settings.task)
    for history in accepted_histories(folder, workspace.accepted(settings.task)):
        yield FoundRun(history, SWEEP, history_path(folder, history.run_id))


def _folder(source: str, folder: Path, unreadable: dict[str, str]) -> Iterator[FoundRun]:
    """The runs of a folder; adds to `unreadable` what are none."""
    for path in sorted(folder.glob("*.parquet")):
        try:
            history = read_history(path)
        except HistoryError as error:  # whatever is wrong with it
            unreadable[f"{source}/{printable(path.name)}"] = error.problem
            continue
        yield FoundRun(history, source, path)


def _astray(folder: Path) -> list[str]:
    """Imports that nobody reads: a folder too deep, or beside the tasks' folders."""
    deep = sorted(path for path in folder.rglob("*.parquet") if path.parent != folder)
    beside = sorted(folder.parent.glob("*.parquet"))
    return [printable(f"data/imported/{path.relative_to(folder.parent)}") for path in deep + beside]
