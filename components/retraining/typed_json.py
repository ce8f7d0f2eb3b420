"""Dataclasses as JSON, and back; what is damaged or of another version counts as not there."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from components.storage.files import write_text

T = TypeVar("T")


def read_or_none(kind: type[T], path: Path) -> T | None:
    """What `write` wrote; None if it is missing, damaged, or lacks what a `kind` has."""
    try:
        return parse_or_none(kind, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def parse_or_none(kind: type[T], text: str) -> T | None:
    """As `read_or_none`, of a file's content."""
    try:
        found: T = TypeAdapter(kind).validate_python(json.loads(text))
    except (ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        return None
    return found


def write(value: object, path: Path, *, sort_keys: bool = False) -> None:
    """Write a dataclass as a JSON file, whole or not at all."""
    text = json.dumps(
        plain(value), indent=1, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False
    )
    write_text(path, text + "\n")


def plain(value: Any) -> Any:
    """A dataclass as JSON can hold it: None for what is not finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
