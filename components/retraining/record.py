"""A night on disk: what was frozen when it began, and the records of nights that ended.

A night learns from a fixed set of histories. The set is written down before anything is fitted, so
a night that was killed goes on with it, although its own comparison runs, and perhaps others, have
come since.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from components.settings import Settings
from components.steps.all_steps import learning_digest
from components.storage.files import write_text
from components.storage.workspace import Workspace, text_digest
from components.training.history import History, HistoryError, digest, read_history

NIGHT, COMPARISON, RECORDS = "night.json", "comparison.json", "nightly.jsonl"


class RetrainingError(RuntimeError):
    """A night cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Night:
    """What a night learns from and is judged by; everything JSON-able.

    Attributes:
        started: local time. settings: digest of those that matter.
        files: path, relative to the workspace, by run id: of the runs to learn from or held out.
        fingerprints: digest by run id, of every run gathered, bad and diverged ones too.
        sweep, others: run ids that the fit is given; held_out: those that are not fitted.
        histories_digest: of all in `files`. seeds: of the comparison.
        counts: for people. data_revision: of the DVC version of `files`; empty: none.
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
    counts: dict[str, Any] = field(default_factory=dict)
    data_revision: str = ""

    @property
    def id(self) -> str:
        return text_digest(self.histories_digest, self.settings)[:16]

    def read(self, workspace: Workspace, run_ids: list[str]) -> list[History]:
        """Histories by run id, in the order given.

        Raises:
            HistoryError: one is gone or damaged; the next `lode retrain` begins a new night.
        """
        return [read_history(workspace.root / self.files[run_id]) for run_id in run_ids]

    def intact(self, workspace: Workspace) -> bool:
        """Whether every history is still there and says the same."""
        try:
            return digest(self.read(workspace, list(self.files))) == self.histories_digest
        except HistoryError:
            return False


def settings_digest(settings: Settings) -> str:
    """Of the settings that a night's outcome depends on."""
    return text_digest(learning_digest(settings), settings.retraining.model_dump())


def seen_digest(settings: str, fingerprints: dict[str, str]) -> str:
    """Of all that a night knew: another night with the same has nothing new to learn."""
    return text_digest(settings, sorted(fingerprints.items()))


def save_night(night: Night, workspace: Workspace, task: str) -> None:
    path = workspace.night(task) / NIGHT
    write_text(path, json.dumps(asdict(night), indent=1) + "\n")


def open_night(workspace: Workspace, task: str) -> Night | None:
    """The night that was not finished; None where there is none."""
    found = read_or_none(workspace.night(task) / NIGHT)
    if found is None or set(found) != {one.name for one in fields(Night)}:
        return None
    return Night(**found)


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


def write_record(record: dict[str, Any], workspace: Workspace, task: str) -> None:
    """`nightly.json` is the last night; `nightly.jsonl` has one line for each."""
    line = json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path = workspace.reports(task) / RECORDS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if not lines or json.loads(lines[-1])["night"] != record["night"]:  # else a kill came between
        write_text(path, "\n".join([*lines, line]) + "\n")
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(workspace.nightly_report(task), text + "\n")


def read_or_none(path: Path) -> Any:
    """A JSON file's content; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
