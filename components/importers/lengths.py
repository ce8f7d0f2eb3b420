"""Runs of different lengths: a LODE is of one length N, so one group comes in at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from components.importers.errors import RunsError

# Runs of one setting end within so much of one another: the last log comes some updates early.
SAME_LENGTH = 0.01


@dataclass(frozen=True)
class Group:
    """The runs of about one length: their ids, and how many others there are, by length."""

    updates: int
    members: frozenset[str]
    others: Mapping[int, int]

    def others_told(self) -> str:
        """`25,000 (30 runs), 15,000 (22)`."""
        most = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
        told = [f"{length:,} ({count})" for length, count in most[:8]]
        return ", ".join(told) + (", …" if len(most) > 8 else "")


def chosen(lengths: Mapping[str, int], wanted: int | None, early: float = SAME_LENGTH) -> Group:
    """The runs of length `wanted`, or else of the commonest (of equally common the longest).

    Args:
        lengths: updates by run id.
        early: how much shorter than `wanted` a run may be, as a share: where lengths are the last
            steps that were logged, and not declared.

    Raises:
        RunsError: no run is of the wanted length.
    """
    counts = Counter(lengths.values())
    if wanted is None:
        wanted = max(counts, key=lambda length: (_near(counts, length), counts[length], length))
    members = frozenset(one for one, length in lengths.items() if _same(length, wanted, early))
    others = Counter(length for one, length in lengths.items() if one not in members)
    group = Group(wanted, members, others)
    if not members:
        raise RunsError(
            f"no run is {wanted:,} updates long; there are {group.others_told()}; "
            "choose one with --updates"
        )
    return group


def _near(counts: Counter[int], length: int) -> int:
    return sum(count for other, count in counts.items() if _same(other, length))


def _same(length: int, wanted: int, early: float = SAME_LENGTH) -> bool:
    return (1 - early) * wanted <= length <= (1 + SAME_LENGTH) * wanted
