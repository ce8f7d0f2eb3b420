"""What steps have found, read back from their files and typed; the other way round is `asdict`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from components.evaluation.results import (
    SCHEMA_VERSION,
    Evaluation,
    FitSummary,
    PilotResult,
    Quarantined,
    ValidationReport,
    ValidationSummary,
)
from components.lode.model import CONFIG
from components.storage.workspace import WorkspaceError

T = TypeVar("T")


def read_json(path: Path) -> Any:
    """A JSON file that a step wrote.

    Raises:
        WorkspaceError: it is damaged.
        FileNotFoundError
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WorkspaceError(
            f"{path}: not JSON ({error}); delete it and run its step again"
        ) from None


def read_evaluation(path: Path) -> Evaluation:
    """`evaluation.json`.

    Raises:
        WorkspaceError: none there, damaged, or of another version; says what to run.
    """
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise WorkspaceError(
            f"{path}: not evaluated yet; run `make demo` or `lode evaluate`"
        ) from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA_VERSION:
        raise WorkspaceError(f"{path}: written by another version; run `lode evaluate` again")
    return _typed(Evaluation, found, path)


def read_pilots(path: Path) -> PilotResult:
    """`pilots.json`; errors as of `read_json`, and WorkspaceError where a field is not of its type.
    Keys that this version does not know are ignored."""
    return _typed(PilotResult, read_json(path), path)


def read_fit(folder: Path) -> FitSummary | None:
    """What the config of the LODE in `folder` says of its fit; None if it says nothing."""
    path = folder / CONFIG
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: no LODE; run `lode fit` first") from None
    said = found.get("fit") if isinstance(found, dict) else None
    return _typed(FitSummary, said, path) if said else None


def read_validation(path: Path) -> ValidationSummary:
    """What became of the sweep's histories, from `validation.json`."""
    found = read_validated(path)
    return ValidationSummary(len(found.accepted), _quarantined(found), len(found.outside_sweep))


def read_validation_report(path: Path) -> ValidationReport:
    """What the suite said, from `validation.json`."""
    found = read_validated(path)
    met = sum(one.success for one in found.expectations)
    return ValidationReport(found.counts, met, len(found.expectations), _quarantined(found))


@dataclass(frozen=True)
class _Reason:
    problem: str


@dataclass(frozen=True)
class _BadRun:
    run_id: str
    run: str
    reasons: list[_Reason]


@dataclass(frozen=True)
class _Expectation:
    success: bool


@dataclass(frozen=True)
class Validated:
    """Of `validation.json`, what others than the validation read."""

    histories_digest: str
    accepted: list[str]
    quarantined: list[_BadRun]
    outside_sweep: list[str]
    counts: dict[str, int]
    expectations: list[_Expectation]


def read_validated(path: Path) -> Validated:
    """`validation.json`; errors as of `read_json`, and WorkspaceError where there is none."""
    try:
        return _typed(Validated, read_json(path), path)
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: not validated yet; run `lode validate` first") from None


@dataclass(frozen=True)
class Registered:
    """Of `registration.json`, what others than the registry read; `location` as of
    `Registration`."""

    name: str
    version: int
    location: str = ""


def read_registration(path: Path) -> Registered:
    """`registration.json`; errors as of `read_pilots`."""
    return _typed(Registered, read_json(path), path)


def _quarantined(found: Validated) -> list[Quarantined]:
    return [
        Quarantined(f"{bad.run} ({bad.run_id})", [reason.problem for reason in bad.reasons])
        for bad in found.quarantined
    ]


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)  # making one takes milliseconds


def _typed(kind: type[T], found: Any, path: Path) -> T:
    try:
        checked: T = _adapter(kind).validate_python(found)
        return checked
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WorkspaceError(
            f"{path}: {where}: {first['msg'].lower()}; delete it and run its step again"
        ) from None
