"""`plan.json`: a whole run's learning rates in a file that any framework reads in five lines.

A pair says a share of the training and the rate there: of N updates, update i (0-based) has the
rate at i / N, linear between the pairs, the last one held to the end. `Plan.rates` is that line.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from components.lode.errors import LODEError
from components.storage.typed import DamagedError, check_seal, parsed, typed, write_sealed
from components.training.run import log_steps

VERSION = 1
READ = (
    "rates: pairs [share of the training, learning rate]. Of N updates, update i = 0 … N - 1 has "
    "the rate at i / N, linear between the pairs, the last one held to the end. expected: the "
    "final value of the metric. compared_with: the best schedule of the sweep, its metric as "
    "validated. runs: how many trainings it took to find this. The values of the metric are as it "
    "is logged; goal says whether more or less of it is better."
)
# How far the pairs may lie from the schedule that they stand for, in shares of its peak: less than
# rates differ that give different runs.
TOLERANCE = 1e-3

Goal = Literal["maximize", "minimize"]
MAXIMIZE, MINIMIZE = GOALS = get_args(Goal)
Share = Annotated[float, Ge(0), Le(1)]
Rate = Annotated[float, Ge(0)]
Pairs = Annotated[tuple[tuple[Share, Rate], ...], MinLen(1)]
Count = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class PlanMetric:
    """What is validated: its name, whether more or less of it is better, and whether it is a share
    in [0, 1] that people write in per cent."""

    name: str
    goal: Goal
    percent: bool

    @property
    def sign(self) -> float:
        """From the metric as it is logged to the one that a LODE sees, of which more is better."""
        return -1.0 if self.goal == MINIMIZE else 1.0


@dataclass(frozen=True)
class Expected:
    """The final metric as the judge predicts it, and the error of that prediction (None: the judge
    could not be tried on configurations that it was not fitted on)."""

    final: float
    error: Annotated[float, Ge(0)] | None


@dataclass(frozen=True)
class Compared:
    """The best schedule of the sweep: what it is called, its rates, and its metric at the best
    validation point, mean ± std over so many seeds (std None of one)."""

    schedule: str
    rates: Pairs
    validated: float | None
    std: Annotated[float, Ge(0)] | None
    seeds: Count


@dataclass(frozen=True)
class Plan:
    """What plan.json holds.

    Attributes:
        task: what was trained. schedule: what the rates are, in a few words.
        rates: (share of the training, rate), shares ascending from 0.
        runs: what it was learned from, trainings of the same length.
        updates, points: N and T of these; other lengths work, as the plan is stretched.
    """

    task: str
    schedule: str
    rates: Pairs
    metric: PlanMetric
    expected: Expected | None
    compared_with: Compared | None
    runs: Count
    updates: Annotated[int, Gt(0)]
    points: Annotated[int, Gt(0)]
    version: int = VERSION
    how_to_read: str = READ

    def __post_init__(self) -> None:
        _check_pairs(self.rates)
        if self.compared_with is not None:
            _check_pairs(self.compared_with.rates)

    def lrs(self, updates: int) -> np.ndarray:
        """(N,) learning rates of every update of a run of N."""
        return read_at(self.rates, updates)


def read_at(pairs: Pairs, updates: int) -> np.ndarray:
    """(N,) rates of every update under pairs of share and rate."""
    shares, rates = np.array(pairs, dtype=np.float64).T
    return np.interp(np.arange(updates) / updates, shares, rates)


def pairs_of(lrs: np.ndarray, points: int) -> Pairs:
    """Pairs that say the rates of every update (N,): at the updates that lead to log points, and at
    as many more as it takes for `read_at` to be within `TOLERANCE` of the peak everywhere."""
    updates = len(lrs)
    steps, tolerance = np.arange(updates), TOLERANCE * float(lrs.max())
    knots = np.union1d([0], np.array(log_steps(updates, points)) - 1)
    while True:
        off = np.abs(np.interp(steps, knots, lrs[knots]) - lrs)
        if off.max() <= tolerance:
            return tuple((float(k / updates), float(lrs[k])) for k in knots)
        worst = np.argsort(-off, kind="stable")
        # of every stretch between two knots the update that is farthest off
        _, first = np.unique(np.searchsorted(knots, worst), return_index=True)
        farthest = worst[first]
        knots = np.union1d(knots, farthest[off[farthest] > tolerance])


def write_plan(plan: Plan, path: Path | str) -> None:
    """Write `plan.json`, whole or not at all."""
    write_sealed(Path(path), to_json(plan))


def to_csv(rates: Pairs) -> str:
    """A line per pair, under `share_of_training,learning_rate`."""
    rows = "".join(f"{share!r},{lr!r}\n" for share, lr in rates)
    return f"share_of_training,learning_rate\n{rows}"


def to_json(plan: Plan) -> dict[str, Any]:
    """JSON-able, what people look for first."""
    return {"how_to_read": plan.how_to_read, "version": plan.version, **asdict(plan)}


def read_plan(path: Path | str) -> Plan:
    """What `write_plan` wrote.

    Raises:
        LODEError: nothing there, damaged, changed, or of another version; names the file and the
            remedy.
    """
    try:
        found = parsed(Path(path).read_bytes())
        if found.get("version") != VERSION:
            raise DamagedError("written by another version")
        plan: Plan = typed(Plan, found)
        check_seal(found)
        return replace(plan, how_to_read=READ)  # what people read is ours, whatever the file says
    except FileNotFoundError:
        raise LODEError(f"{path}: no such plan; run `lode fit` first") from None
    except OSError as error:
        raise LODEError(f"{path}: cannot be read ({error.strerror})") from None
    except (DamagedError, LODEError) as error:
        raise LODEError(f"{path}: {error}; run `lode fit` or `lode export` again") from None


def _check_pairs(pairs: Pairs) -> None:
    shares, rates = np.array(pairs, dtype=np.float64).T
    if shares[0] != 0 or (np.diff(shares) <= 0).any() or not rates.max() > 0:
        raise DamagedError(
            "rates are not pairs [share, rate] with shares ascending from 0 and a positive rate"
        )
