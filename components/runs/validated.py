"""What validation found, read back from its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components.storage.typed import DamagedError, read_sealed, typed
from components.storage.workspace import WorkspaceError


@dataclass(frozen=True)
class Named:
    run_id: str


@dataclass(frozen=True)
class Accepted:
    """`accepted.json`: what later steps depend on. `quarantined`: the sweep's bad runs."""

    success: bool
    stopped_by: list[str]
    histories_digest: str
    accepted: list[str]
    quarantined: list[Named]


@dataclass(frozen=True)
class Reason:
    problem: str


@dataclass(frozen=True)
class BadRun:
    run_id: str
    run: str
    reasons: list[Reason]


@dataclass(frozen=True)
class Expected:
    success: bool


@dataclass(frozen=True)
class Validated:
    """Of `validation.json`, what reports show."""

    success: bool
    stopped_by: list[str]
    histories_digest: str
    accepted: list[str]
    quarantined: list[BadRun]
    outside_sweep: list[str]
    counts: dict[str, int]
    expectations: list[Expected]


Kind = TypeVar("Kind", Accepted, Validated)


def read_accepted(path: Path) -> Accepted:
    """The `accepted.json` of a validation that passed.

    Raises:
        WorkspaceError: none there, damaged, or it did not pass: names what stopped it.
    """
    return _passed(Accepted, path)


def read_validated(path: Path) -> Validated:
    """The `validation.json` of a validation that passed; errors as of `read_accepted`."""
    return _passed(Validated, path)


def _passed(kind: type[Kind], path: Path) -> Kind:
    try:
        found: Kind = typed(kind, read_sealed(path))
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: not validated yet; run `lode validate` first") from None
    except DamagedError as error:
        raise WorkspaceError(f"{path}: {error}; run `lode validate` again") from None
    if not found.success:
        reasons = "\n  - ".join(found.stopped_by)
        raise WorkspaceError(f"{path}: validation did not pass:\n  - {reasons}")
    return found
