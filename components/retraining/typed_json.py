"""Dataclasses as JSON, and back; what is damaged or of another version counts as not there."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from components.storage.typed import DamagedError, read_sealed, write_sealed

T = TypeVar("T")


def read_or_none(kind: type[T], path: Path) -> T | None:
    """What `write` wrote; None if it is missing, damaged, or lacks what a `kind` has."""
    try:
        return _of_kind(kind, read_sealed(path))
    except (OSError, DamagedError):
        return None


def parse_or_none(kind: type[T], text: str) -> T | None:
    """As `read_or_none`, of a line or a file of others, which has no seal."""
    try:
        return _of_kind(kind, json.loads(text))
    except (ValueError, RecursionError):
        return None


def write(value: object, path: Path) -> None:
    """Write a dataclass as a JSON file, whole or not at all."""
    write_sealed(path, plain(value))


def _of_kind(kind: type[T], found: Any) -> T | None:
    try:
        checked: T = TypeAdapter(kind).validate_python(found)
    except ValueError:  # pydantic's ValidationError is one
        return None
    return checked


def plain(value: Any) -> Any:
    """A dataclass as JSON can hold it: None for what is not finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
