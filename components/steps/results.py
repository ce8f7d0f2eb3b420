"""What steps have found, read back from their files and typed; the other way round is `asdict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from components.lode.names import CONFIG
from components.runs.validated import Validated, read_validated
from components.storage.shown import cut
from components.storage.typed import DamagedError, parsed, read_sealed
from components.storage.workspace import Workspace, WorkspaceError

T = TypeVar("T")


def read_evaluation(path: Path) -> Evaluation:
    """`evaluation.json`.

    Raises:
        WorkspaceError: none there, damaged, or of another version; says what to run.
    """
    with _blamed(path, "evaluate", missing="not evaluated yet; run `make demo` or `lode evaluate`"):
        if parsed(path.read_bytes()).get("schema") != SCHEMA_VERSION:
            raise DamagedError("written by another version")
        return _typed(Evaluation, read_sealed(path))


def read_evaluations(workspace: Workspace) -> tuple[dict[str, Evaluation], dict[str, str]]:
    """All tasks' there are, by task, and of those that cannot be read why."""
    found, unread = {}, {}
    for path in sorted((workspace.root / "reports").glob("*/evaluation.json")):
        try:
            found[path.parent.name] = read_evaluation(path)
        except WorkspaceError as error:
            unread[path.parent.name] = str(error).replace(f"{workspace.root}/", "")
    return found, unread


def read_pilots(path: Path) -> PilotResult:
    """`pilots.json`. Keys that this version does not know are ignored.

    Raises:
        WorkspaceError: none there, or damaged; says what to run.
    """
    with _blamed(path, "pilot", missing="no pilots yet; run `lode pilot` first"):
        return _typed(PilotResult, read_sealed(path))


def read_fit(folder: Path) -> FitSummary | None:
    """What the config of the LODE in `folder` says of its fit; None if it says nothing."""
    path = folder / CONFIG
    with _blamed(path, "fit", missing="no LODE; run `lode fit` first"):
        said = parsed(path.read_bytes()).get("fit")
        return _typed(FitSummary, said) if said else None


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
class Registered:
    """Of `registration.json`, what others than the registry read; `location` as of
    `Registration`."""

    name: str
    version: int
    location: str = ""
    standing: str = ""


def read_registration(path: Path) -> Registered:
    """`registration.json`; errors as of `read_pilots`."""
    with _blamed(path, "register", missing="not registered yet; run `lode register` first"):
        return _typed(Registered, read_sealed(path))


def _quarantined(found: Validated) -> list[Quarantined]:
    return [
        Quarantined(f"{bad.run} ({bad.run_id})", [reason.problem for reason in bad.reasons])
        for bad in found.quarantined
    ]


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)  # making one takes milliseconds


def _typed(kind: type[T], found: Any) -> T:
    try:
        checked: T = _adapter(kind).validate_python(found)
        return checked
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DamagedError(f"{cut(where, 100)}: {first['msg'].lower()}") from None


@contextmanager
def _blamed(path: Path, step: str, *, missing: str) -> Iterator[None]:
    """What is wrong inside is wrong with this file, which `step` writes."""
    try:
        yield
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: {missing}") from None
    except OSError as error:
        raise WorkspaceError(
            f"{path}: cannot be read ({error.strerror}); run `lode {step}` again"
        ) from None
    except DamagedError as error:
        raise WorkspaceError(f"{path}: {error}; run `lode {step}` again") from None
