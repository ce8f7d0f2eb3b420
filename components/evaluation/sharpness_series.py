"""Sharpness over training (Figure 5, Table 2): what the runs of a row measured on the way.

All numbers are of the weights after a log point's last update and of the rate of that update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.statistics import Summary, summarize
from components.training.history import History

RESIDUALS = ("residual", "residual_min", "residual_preconditioned")


@dataclass(frozen=True)
class Measurement:
    """One run at one log point.

    Attributes:
        lambda_max, lambda_min: of the Hessian; None: not found.
        residual: the largest of all eigenvalues found here.
        product: η·λ_max of the plain Hessian, which the paper holds against 2.
        of_edge: η·λ_max in multiples of the optimizer's own edge of stability, of the Hessian as it
            sees it (components/evaluation/stability.py); None where that is not known.
    """

    point: int
    lambda_max: float | None
    lambda_min: float | None
    residual: float | None
    product: float | None
    of_edge: float | None


@dataclass(frozen=True)
class SharpnessAt:
    """The runs of a row at one log point, those that got there.

    Attributes:
        lambda_max, lambda_min: mean ± std.
        product, of_edge: geometric means of what is positive, as a single run may be far off: a
            unit that comes to life has hardly a squared gradient yet. None: nothing is.
    """

    point: int
    lambda_max: Summary
    lambda_min: Summary
    product: float | None
    of_edge: float | None


@dataclass(frozen=True)
class SharpnessSeries:
    """A row of the comparison.

    Attributes:
        points: ascending.
        residual: the largest of any eigenvalue here, as a share of the spectral radius.
        threshold: η·λ_max at the optimizer's edge of stability; None: not known.
        preconditioned: whether that is held against the preconditioned Hessian.
    """

    points: list[SharpnessAt]
    residual: float | None
    threshold: float | None
    preconditioned: bool


def measurements(run: History) -> list[Measurement]:
    """What a run measured on the way, by log point; empty where nothing was."""
    records = run.meta.get("sharpness_series") or []
    return sorted((_measurement(record) for record in records), key=lambda found: found.point)


def sharpness_series(runs: Sequence[History]) -> SharpnessSeries | None:
    """Of the runs of one row; None where none was measured on the way."""
    records = [record for run in runs for record in run.meta.get("sharpness_series") or []]
    if not records:
        return None
    found = [one for run in runs for one in measurements(run)]
    thresholds = {record.get("threshold") for record in records}
    return SharpnessSeries(
        points=[
            _at(point, [one for one in found if one.point == point])
            for point in sorted({one.point for one in found})
        ],
        residual=max((one.residual for one in found if one.residual is not None), default=None),
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        preconditioned=any("preconditioned" in record for record in records),
    )


def _measurement(record: dict[str, Any]) -> Measurement:
    lr, plain, threshold = (record.get(key) for key in ("lr", "lambda_max", "threshold"))
    seen = record.get("preconditioned", plain)  # None, not found, stays None
    residuals = [r for key in RESIDUALS if (r := record.get(key)) is not None]
    product = _times(lr, seen)
    return Measurement(
        point=int(record["point"]),
        lambda_max=plain,
        lambda_min=record.get("lambda_min"),
        residual=max(residuals, default=None),
        product=_times(lr, plain),
        of_edge=product / threshold if product is not None and threshold else None,
    )


def _times(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _at(point: int, found: Sequence[Measurement]) -> SharpnessAt:
    return SharpnessAt(
        point,
        summarize(one.lambda_max for one in found),
        summarize(one.lambda_min for one in found),
        _geometric(one.product for one in found),
        _geometric(one.of_edge for one in found),
    )


def _geometric(values: Iterable[float | None]) -> float | None:
    mean = summarize(math.log(value) for value in values if value is not None and value > 0).mean
    return None if mean is None else math.exp(mean)
