"""What a decision of the scheduler came to, in the words of whoever looks at the run afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, MinLen

from components.storage.typed import typed

CHANGED = "the judge believes the gain"
COLUMNS = ("point", "old_lr", "new_lr", "expected", "gain", "error", "reason")


@dataclass(frozen=True)
class Move:
    """One decision.

    Attributes:
        point: the log point at which it was made, 1 … T.
        old_lr, new_lr: the rate at the last of the μ log points that follow, before and after: at
            the decision itself a new plan of ours joins the old one. The same where it stays.
        expected: the final metric under the plan that was in force, as the metric is logged; None
            where it was not asked.
        gain: how much better the final metric is expected to be, more than 0 being better whatever
            the metric's goal. error: its standard error. None where there was nothing to compare.
        reason: why the plan changed or stayed.
    """

    point: int
    old_lr: float
    new_lr: float
    expected: float | None
    gain: float | None
    error: float | None
    reason: str

    @property
    def changed(self) -> bool:
        return self.reason == CHANGED

    def line(self) -> str:
        """Key and value, for a log."""
        pairs = [(name, getattr(self, name)) for name in COLUMNS[:-1]]
        said = " ".join(f"{key}={_short(value)}" for key, value in pairs)
        return f'{said} changed={str(self.changed).lower()} reason="{self.reason}"'


@dataclass(frozen=True)
class _Kept:
    """Of a decision as runs keep it, what `Move` needs; the rest is for the algorithm's reader."""

    point: Annotated[int, Ge(1)]
    lrs: Annotated[tuple[float, ...], MinLen(1)]
    predicted: float | None
    gain: float | None
    gain_error: float | None
    replaced: tuple[float, ...]
    kept: str | None


def moves(decisions: Iterable[Mapping[str, Any]], sign: float = 1.0) -> list[Move]:
    """Decisions as `LODEScheduler.decisions` and the metadata of histories have them.

    Args:
        sign: -1 where the metric that the LODE sees is the negative of the one that is logged.

    Raises:
        DamagedError: one is none.
    """
    # What decisions of earlier versions did not say.
    unsaid = {"gain": None, "gain_error": None, "replaced": ()}
    read = [{**unsaid, **one} if isinstance(one, Mapping) else one for one in decisions]
    found = [typed(_Kept, one, "decision") for one in read]
    return [_move(one, sign) for one in found]


def _move(one: _Kept, sign: float) -> Move:
    return Move(
        point=one.point,
        old_lr=(one.replaced or one.lrs)[-1],
        new_lr=one.lrs[-1],
        expected=None if one.predicted is None else sign * one.predicted,
        gain=one.gain,
        error=one.gain_error,
        reason=CHANGED if one.kept is None else one.kept,
    )


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
