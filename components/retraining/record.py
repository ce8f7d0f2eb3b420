"""A night on disk: what was frozen when it began, and the records of nights that ended.

A night learns from a fixed set of histories. The set is written down before anything is fitted, so
a night that was killed goes on with it, although its own comparison runs, and perhaps others, have
come since.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from components.lode.errors import LODEError
from components.retraining.errors import RetrainingError
from components.retraining.gate import Figures, Rules
from components.retraining.typed_json import parse_or_none, plain, read_or_none, write
from components.settings import Settings
from components.steps.declared import learning_digest
from components.storage.digests import text_digest
from components.storage.files import write_text
from components.storage.workspace import Workspace
from components.training.facts import is_run_id
from components.training.history import History, HistoryError, digest, read_history

NIGHT, COMPARISON, RECORDS = "night.json", "comparison.json", "nightly.jsonl"


@dataclass(frozen=True)
class Counts:
    """What became of the histories that were there.

    Attributes:
        by_source: runs to learn from or held out, by the folder they are of.
        diverged, duplicates: how many were left out. stopped: the same, of those that were stopped
            early; 0 in records of earlier versions.
        skipped: how many were of another task, budget or data, by reason.
        quarantined: each bad run or file with its reasons.
    """

    by_source: dict[str, int]
    diverged: int
    duplicates: int
    skipped: dict[str, int]
    quarantined: list[str]
    stopped: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Night:
    """What a night learns from and is judged by: what night.json holds.

    Attributes:
        started: local time. settings: digest of those that matter.
        files: path, relative to the workspace, by run id: of the runs to learn from or held out.
        fingerprints: digest by run id, of every run found, bad and diverged ones too.
        sweep, others: run ids that the fit is given; held_out: those that are not fitted.
        histories_digest: of all in `files`. seeds: of the comparison.
        data_revision: of the DVC version of `files`; empty: none.
    """

    started: str
    settings: str
    files: dict[str, str]
    fingerprints: dict[str, str]
    sweep: list[str]
    others: list[str]
    held_out: list[str]
    histories_digest: str
    seeds: list[int]
    counts: Counts
    data_revision: str = ""

    def __post_init__(self) -> None:
        """A file that says otherwise counts as not there: ids and paths from it are used."""
        ids = [*self.files, *self.sweep, *self.others, *self.held_out]
        if not all(is_run_id(one) and one in self.files for one in ids):
            raise ValueError("a run that has no id, or no file")
        paths = map(PurePosixPath, self.files.values())
        if any(path.is_absolute() or ".." in path.parts for path in paths):
            raise ValueError("a file outside the workspace")

    @property
    def id(self) -> str:
        return text_digest(self.histories_digest, self.settings)[:16]

    def read(self, workspace: Workspace, run_ids: list[str]) -> list[History]:
        """Histories by run id, in the order given.

        Raises:
            HistoryError: one is gone or damaged; the next `lode retrain` begins a new night.
        """
        return [read_history(workspace.main.root / self.files[run_id]) for run_id in run_ids]

    def intact(self, workspace: Workspace) -> bool:
        """Whether every history is still there and says the same."""
        try:
            return digest(self.read(workspace, list(self.files))) == self.histories_digest
        except HistoryError:
            return False


@dataclass(frozen=True)
class NightHistories(Counts):
    """The same with the totals: `runs` to learn from or held out, `held_out` of them."""

    runs: int
    held_out: int


@dataclass(frozen=True)
class NightRecord:
    """A night that ended: what nightly.json holds, and a line of nightly.jsonl.

    Attributes:
        night: its id. started, ended: local time.
        decision, reasons, figures, rules: the gate's.
        champion: the version it was compared with; None: there was none.
        tests, champion_tests: test metric by seed; None of a run that diverged.
        histories_digest, data_revision: as of `Night`.
        seen: digest of all that the night knew, its own comparison runs too.
        version: of the challenger in the registry.
    """

    night: str
    task: str
    started: str
    decision: Literal["promoted", "refused"]
    reasons: list[str]
    figures: Figures
    rules: Rules
    champion: int | None
    seeds: list[int]
    tests: dict[str, float | None]
    champion_tests: dict[str, float | None] | None
    histories: NightHistories
    histories_digest: str
    data_revision: str
    seen: str
    version: int
    ended: str

    @property
    def summary(self) -> str:
        """The night in one line."""
        reasons = "; ".join(self.reasons)
        return f"lode-{self.task} version {self.version} {self.decision}: {reasons}"


def settings_digest(settings: Settings) -> str:
    """Of the settings that a night's outcome depends on: it validates its own set of histories."""
    validation, retraining = settings.validation.model_dump(), settings.retraining.model_dump()
    return text_digest(learning_digest(settings), validation, retraining)


def seen_digest(settings: str, fingerprints: dict[str, str]) -> str:
    """Of all that a night knew: another night with the same has nothing new to learn."""
    return text_digest(settings, sorted(fingerprints.items()))


def save_night(night: Night, workspace: Workspace, task: str) -> None:
    write(night, workspace.night(task) / NIGHT)


def open_night(workspace: Workspace, task: str) -> Night | None:
    """The night that was not finished; None where there is none."""
    return read_or_none(Night, workspace.night(task) / NIGHT)


def this_night(workspace: Workspace, task: str) -> Night:
    """As `open_night`.

    Raises:
        RetrainingError: no night was begun.
    """
    night = open_night(workspace, task)
    if night is None:
        raise RetrainingError(f"no night was begun for {task}; run `lode retrain`")
    return night


def close_night(workspace: Workspace, task: str) -> None:
    for name in (COMPARISON, NIGHT):  # the night itself last: what is left without it is void
        (workspace.night(task) / name).unlink(missing_ok=True)


def discard_night(workspace: Workspace, task: str) -> Night | None:
    """Throw away an unfinished night with all that it fitted; returns it, None where there is none.
    Runs that it trained stay in `data/nightly/<task>`."""
    night = open_night(workspace, task)
    close_night(workspace, task)  # first: a kill in what follows leaves no half of a night
    shutil.rmtree(workspace.night(task), ignore_errors=True)
    return night


@contextmanager
def frozen(task: str) -> Iterator[None]:
    """What a LODE refuses in a frozen night, it refuses whenever the night goes on.

    Raises:
        RetrainingError: instead of any LODEError inside; names the way out.
    """
    try:
        yield
    except LODEError as error:
        raise RetrainingError(
            f"the night of {task} cannot go on: {error}; other settings begin another night, and "
            "`lode retrain --discard` discards this one, so that the next gathers anew"
        ) from error


def last_record(workspace: Workspace, task: str) -> NightRecord | None:
    """The last night that ended; None where there is none, or its record cannot be read."""
    return read_or_none(NightRecord, workspace.nightly_report(task))


def write_record(record: NightRecord, workspace: Workspace) -> None:
    """`nightly.json` is the last night; `nightly.jsonl` has one line for each."""
    line = json.dumps(plain(record), sort_keys=True, ensure_ascii=False, allow_nan=False)
    path = workspace.reports(record.task) / RECORDS
    found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = found.splitlines()
    last = parse_or_none(NightRecord, lines[-1]) if lines else None
    if last is None or last.night != record.night:  # else a kill came between
        write_text(path, "\n".join([*lines, line]) + "\n")
    write(record, workspace.nightly_report(record.task))
