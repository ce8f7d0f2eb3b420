"""Which schedules a pool has: the grid, parametric families at finer peaks, random
shapes, and what a LODE fitted on the grid's runs proposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.lode.planner import random_shapes
from components.schedulers.parametric import PARAMETRIC
from components.schedulers.plan import parametric_table

PEAKS = 9  # of the finer grid, even in log over the range of the sweep's: four a decade
AROUND, WIDE = 100, 40  # random shapes around the sweep's best peak, and over its whole range
REACH = 2.5  # how far around, as the pilots explore
PROPOSED = 30  # plans of the LODE's


@dataclass(frozen=True)
class PoolPlan:
    """`name` says what it is, e.g. `warmup-cosine 0.0178`; `kind` is grid, family, shape or
    lode; `table` has T + 1 rates."""

    name: str
    kind: str
    table: tuple[float, ...]


def grid(
    schedulers: Sequence[str], peaks: Sequence[float], updates: int, points: int
) -> list[PoolPlan]:
    """The sweep's own configurations."""
    return [
        PoolPlan(f"{name} {peak:g}", "grid", _rates(parametric_table(name, peak, updates, points)))
        for name in schedulers
        for peak in peaks
    ]


def families(peaks: Sequence[float], updates: int, points: int) -> list[PoolPlan]:
    """Every parametric schedule at finer peaks."""
    low, high = min(peaks), max(peaks)
    finer = [float(f"{peak:.3g}") for peak in np.geomspace(low, high, PEAKS)]
    found = []
    for name in PARAMETRIC:
        for peak in finer:
            table = parametric_table(name, peak, updates, points)
            found.append(PoolPlan(f"{name} {peak:g}", "family", _rates(table)))
    return found


def shapes(
    best_peak: float, peaks: Sequence[float], points: int, rng: np.random.Generator
) -> list[PoolPlan]:
    """Random rises, plateaus and falls."""
    around = random_shapes(AROUND, points, (best_peak / REACH, best_peak * REACH), rng)
    wide = random_shapes(WIDE, points, (min(peaks), max(peaks)), rng)
    return named("shape", np.concatenate([around, wide]))


def named(kind: str, tables: np.ndarray) -> list[PoolPlan]:
    width = max(2, math.ceil(math.log10(len(tables) + 1)))
    return [
        PoolPlan(f"{kind} {i:0{width}d}, peak {table.max():.3g}", kind, _rates(table))
        for i, table in enumerate(tables)
    ]


def _rates(table: np.ndarray) -> tuple[float, ...]:
    return tuple(float(rate) for rate in table)
