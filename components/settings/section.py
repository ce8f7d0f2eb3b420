"""What all sections of params.yaml have in common."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.storage.shown import cut


class SettingsError(ValueError):
    """params.yaml cannot be used; the message says which key, which value and what is valid."""


class Section(BaseModel):
    """A mapping of params.yaml: frozen, without unknown keys."""

    # strict: "5" is not 5 and true is not 1, whatever pydantic would make of them
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def nearest(name: str, valid: tuple[str, ...]) -> str:
    name = cut(name, 60)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(valid)}"


def distinct(values: list[Any], what: str) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} must be distinct")
    return values
