"""What every source of runs offers: a cheap list of its runs, and the log of one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from components.storage.shown import cut

RUNNING, ENDED = "running", "ended"
# Logged, and no number. In a log NaN means that the row does not have the column.
NOT_FINITE = math.inf
Param = str | int | float | bool


@dataclass(frozen=True)
class Listed:
    """A run as its source lists it.

    Attributes:
        id: unique and lasting at the source. name: what people call it.
        params: its configuration: names to plain values.
        columns: what it logged, by name.
        status: `running` or `ended`, well or not. version: another one when it has changed.
        fault: why it cannot come in; empty: nothing is known.
    """

    id: str
    name: str
    params: Mapping[str, Param] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    status: str = ENDED
    version: str = ""
    fault: str = ""

    def describe(self) -> str:
        """For messages."""
        return cut(self.name if self.name == self.id else f"{self.name} ({self.id})", 80)


class Source(Protocol):
    """Where runs are.

    Attributes:
        kind: `csv`, `mlflow`, … label: the address, without passwords.
        own_step: the column in which the source itself counts, if it has one. counts_updates:
            people tell it the update, so that no other column says it better.
        remote: whether reading a log is slow, so that it is kept until the import is done.
    """

    kind: str
    label: str
    own_step: str | None
    counts_updates: bool
    remote: bool

    def runs(self, match: Sequence[tuple[str, str]]) -> Iterable[Listed]:
        """Its runs; those that do not `match` (key, pattern) may be among them.

        Raises:
            RunsError: it cannot be read.
        """
        ...

    def log(self, run: Listed, columns: Sequence[str]) -> pd.DataFrame:
        """What a run logged, in order, float64 columns of these names; NaN where a row does not
        have one, `NOT_FINITE` where it has a NaN or an infinity.

        Raises:
            LeftOutError: this run cannot be read. RunsError: nothing can.
        """
        ...


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Param]:
    """A nested configuration as `a.b.c` to plain values; lists and the like as text."""
    found: dict[str, Param] = {}
    for key, value in config.items():
        name = f"{before}{cut(str(key), 200)}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif isinstance(value, bool | int | float):
            found[name] = value
        elif value is not None:
            found[name] = cut(str(value), 300)
    return found


def finite_or_marked(value: float) -> float:
    """A value that was logged."""
    return value if math.isfinite(value) else NOT_FINITE
