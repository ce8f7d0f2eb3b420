"""Which of a source's runs are meant: `--match dataset=slimpajama name=wsd*`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from components.importers.errors import RunsError
from components.importers.source import Listed, Param
from components.storage.shown import cut, shown

NAME = "name"  # matches the run's name where it has no parameter of that name
Match = Sequence[tuple[str, str]]


def pairs(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    """`KEY=VALUE` texts.

    Raises:
        RunsError: one has no `=`, or nothing before it.
    """
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise RunsError(f"{option} {cut(text)}: write KEY=VALUE")
        found.append((key.strip(), value.strip()))
    return found


def matches(run: Listed, match: Match) -> bool:
    """Whether all patterns fit; `*` and `?` stand for any text and any character."""
    return all(_fits(run, key, pattern) for key, pattern in match)


def check_keys(runs: Sequence[Listed], match: Match) -> None:
    """
    Raises:
        RunsError: no run has such a parameter.
    """
    known = sorted({key for run in runs for key in run.params})
    for key, _ in match:
        if key != NAME and key not in known:
            raise RunsError(
                f"--match {cut(key)}: no run has a parameter of that name; they have "
                f"{shown(known, 600)}"
            )


def text(value: Param) -> str:
    """A parameter as people write it: 12 for 12.0, as a column with gaps becomes."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def number(value: object) -> float | None:
    """A parameter as a finite number, if it is one."""
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _fits(run: Listed, key: str, pattern: str) -> bool:
    value = run.params.get(key, run.name if key == NAME else None)
    if value is None:
        return False
    same = number(value) is not None and number(value) == number(pattern)
    return same or fnmatchcase(text(value), pattern)
