"""Means with their spread, and the paired comparison of two schedulers on the same seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

Key = TypeVar("Key", int, str)

CONFIDENCE = 0.95
# Differences whose spread is below this share of the values differ by rounding alone.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Summary:
    """Mean ± standard deviation (ddof = 1) of n values; None where n is too small for it."""

    mean: float | None
    std: float | None
    n: int


def summarize(values: Iterable[float | None]) -> Summary:
    """Mean and sample standard deviation of the values that are there (not None, finite)."""
    present = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not present:
        return Summary(None, None, 0)
    n = len(present)
    # fsum is exact, so the result does not depend on the order of the runs
    mean = math.fsum(present) / n
    if n == 1:
        return Summary(mean, None, 1)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in present) / (n - 1))
    return Summary(mean, std, n)


@dataclass(frozen=True)
class PairedDifference:
    """first − second on the seeds both have.

    Attributes:
        mean: of the differences; None without a common seed.
        low, high: 95 % interval of the mean, Student's t with n − 1 degrees of freedom.
        p_value: two-sided paired t test of "no difference".
        n: common seeds.

    `low`, `high` and `p_value` are None where the t test says nothing: n < 2, or all differences
    are the same and not zero (a spread of zero is no evidence about the spread).
    """

    mean: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int

    @property
    def significant(self) -> bool:
        """The 95 % interval is there and excludes zero."""
        return self.p_value is not None and self.p_value < 1 - CONFIDENCE


@dataclass(frozen=True)
class Comparison(PairedDifference):
    """One of several comparisons of the same row.

    Attributes:
        p_adjusted: the p-value adjusted for all comparisons of that row (`holm`). The interval is
            this comparison's alone.
    """

    p_adjusted: float | None

    @property
    def significant(self) -> bool:
        """Beyond what so many comparisons bring about by chance, at the 5 % level."""
        return self.p_adjusted is not None and self.p_adjusted < 1 - CONFIDENCE


def paired_difference(
    first: Mapping[Key, float | None], second: Mapping[Key, float | None]
) -> PairedDifference:
    """Compare two schedulers seed by seed.

    Pairing removes what a seed does to both (initialisation, data order), so it finds smaller
    differences than two independent samples of the same size.

    Args:
        first, second: value by seed, or by what else they share; None (a diverged run) or what is
            not finite takes its seed out of the comparison.
    """
    pairs = [
        (a, b)
        for seed in sorted(set(first) & set(second))
        if _is_finite(a := first[seed]) and _is_finite(b := second[seed])
    ]
    summary = summarize(a - b for a, b in pairs)
    mean, std, n = summary.mean, summary.std, summary.n
    if mean is None or std is None:
        return PairedDifference(mean, None, None, None, n)
    scale = max(max(abs(a), abs(b)) for a, b in pairs)
    if std <= _ROUNDING * scale:
        if abs(mean) <= _ROUNDING * scale:
            return PairedDifference(0.0, 0.0, 0.0, 1.0, n)
        return PairedDifference(mean, None, None, None, n)
    from scipy import stats

    error = std / math.sqrt(n)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - reach, mean + reach, p_value, n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number: rejecting those below 5 % wrongly rejects any of them
    with a probability of 5 % at most, whatever their dependence (Holm 1979).

    Of m p-values in ascending order, the i-th (from 0) becomes the largest of `(m − k) p_k`,
    k ≤ i, and at most 1.

    Args:
        p_values: in [0, 1]; None (a comparison that the test says nothing of) stays None and is
            not counted.

    Raises:
        ValueError: one is outside of [0, 1], or no number.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    if wrong := [p for p, _ in known if not 0 <= p <= 1]:
        raise ValueError(f"{wrong[0]} is no p-value")
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for rank, (p, i) in enumerate(known):
        reached = max(reached, min(1.0, (len(known) - rank) * p))
        adjusted[i] = reached
    return adjusted


def compare(values: Mapping[str, Mapping[Key, float | None]]) -> dict[str, dict[str, Comparison]]:
    """Every row with every other, `first − second`, as `{first: {second: …}}`; the p-values of a
    first row are adjusted for the comparisons that it has.

    Args:
        values: by row, then as of `paired_difference`.
    """
    return {first: _against(own, values, first) for first, own in values.items()}


def _against(
    own: Mapping[Key, float | None], values: Mapping[str, Mapping[Key, float | None]], first: str
) -> dict[str, Comparison]:
    pairs = {row: paired_difference(own, other) for row, other in values.items() if row != first}
    adjusted = holm([pair.p_value for pair in pairs.values()])
    return {
        row: Comparison(**vars(pair), p_adjusted=p)
        for (row, pair), p in zip(pairs.items(), adjusted, strict=True)
    }


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
