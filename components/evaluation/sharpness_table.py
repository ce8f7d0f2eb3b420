"""Sharpness over training in numbers and in words: Table 2, and whether runs sat at the edge."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from components.evaluation.notation import MINUS, NONE, measured
from components.evaluation.order import ranked
from components.evaluation.results import Evaluation
from components.evaluation.sharpness_series import SharpnessSeries
from components.evaluation.tables import Table
from components.schedulers.names import label

# Of the threshold: the sharpness of full-batch training hovers about it (Cohen et al. 2021), and
# a mean over seeds this close is not told from one above.
AT_THE_EDGE = 0.8
MOSTLY = "At the edge of stability or beyond for most of the training"
PARTLY = "At the edge of stability or beyond for a part of the training"
NEVER = "Below the edge of stability throughout"
Series = Mapping[str, SharpnessSeries]  # by row of the table


def measured_rows(evaluation: Evaluation) -> Series:
    """The rows that were measured on the way, in the table's order."""
    series = evaluation.sharpness_series
    return {row: series[row] for row in ranked(evaluation) if row in series}


def sharpness_table(rows: Series, total: int) -> Table:
    """λ_max at the first, middle and last measurement, λ_min at the last, the highest η·λ_max of
    the plain Hessian and, in multiples of the edge, the median of what the optimizer sees.

    Args:
        rows: in their order; none where nothing was measured. total: T, log points of a run.
    """
    points = sorted({at.point for found in rows.values() for at in found.points})
    shown = sorted({points[0], points[len(points) // 2], points[-1]}) if points else []
    columns = [f"λₘₐₓ at {_share(point, total)}" for point in shown]
    return Table.of(
        ("Scheduler", *columns, "λₘᵢₙ, last", "Highest η·λₘₐₓ", "Of the edge, median"),
        (_row(row, found, shown, total) for row, found in rows.items()),
    )


def edge_of_stability(rows: Series, total: int) -> list[str]:
    """Whether the runs sat at the edge of stability; nothing where that was not measured."""
    seen = {row: found for row, found in rows.items() if _of_edge(found)}
    if not seen:
        return []
    said = {MOSTLY: "", PARTLY: "", NEVER: ""}
    for row, found in seen.items():
        words, details = _told(_of_edge(found), total)
        said[words] += f"{', ' if said[words] else ''}{label(row)} ({details})"
    return [*(f"{words}: {who}." for words, who in said.items() if who), _threshold(seen)]


def _told(times: Mapping[int, float], total: int) -> tuple[str, str]:
    """How long a row's runs were at the edge, and by how much, of its multiples of the edge."""
    at = {point: mean for point, mean in times.items() if mean >= AT_THE_EDGE}
    below = {point: mean for point, mean in times.items() if mean < AT_THE_EDGE}
    if not at:
        return NEVER, f"at most {_highest(below, total)}"
    details = f"{len(at)} of {len(times)} measurements, highest {_highest(at, total)}"
    if below:
        details += f"; else at most {_highest(below, total)}"
    return MOSTLY if 2 * len(at) > len(times) else PARTLY, details


def _of_edge(found: SharpnessSeries) -> dict[int, float]:
    """By log point, η·λ_max in multiples of the edge."""
    return {at.point: at.of_edge for at in found.points if at.of_edge is not None}


def _highest(times: Mapping[int, float], total: int) -> str:
    """`1.4× at 30 %`."""
    point = max(times, key=lambda point: times[point])
    return f"{_brief(times[point])}× at {_share(point, total)}"


def _brief(number: float) -> str:
    """Two digits, but no power of ten below a million."""
    return f"{float(f'{number:.2g}'):,.7g}"


def _threshold(rows: Series) -> str:
    """What the edge is, of most rows and of those that differ."""
    thresholds = {row: f"{found.threshold:.3g}" for row, found in rows.items() if found.threshold}
    usual, _ = Counter(thresholds.values()).most_common(1)[0]
    others = [f"{label(row)}: {own}" for row, own in thresholds.items() if own != usual]
    seen = " of the Hessian as the optimizer preconditions it (Cohen et al. 2022)"
    adaptive = any(found.preconditioned for found in rows.values())
    listed = f" ({', '.join(others)})" if others else ""
    return (
        f"Multiples are of the threshold, η·λₘₐₓ = {usual}{listed}"
        f"{seen if adaptive else ' (Cohen et al. 2021)'}: above it full-batch steps would grow "
        "along the sharpest direction. Means over seeds are geometric. The noise of small batches "
        "keeps a training further below."
    )


def _row(row: str, found: SharpnessSeries, shown: Sequence[int], total: int) -> tuple[str, ...]:
    by_point = {at.point: at for at in found.points}
    product = max((at.product for at in found.points if at.product is not None), default=None)
    times = _of_edge(found).values()
    return (
        label(row),
        *(measured(by_point[p].lambda_max) if p in by_point else NONE for p in shown),
        measured(found.points[-1].lambda_min).replace("-", MINUS),
        NONE if product is None else f"{product:.3g}",
        f"{_brief(statistics.median(times))}×" if times else NONE,
    )


def _share(point: int, total: int) -> str:
    return f"{100 * point / total:.3g} %"
