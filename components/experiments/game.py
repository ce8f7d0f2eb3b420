"""One replay of a search for a schedule: runs are asked of a pool, paid, and choices recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from components.experiments.pool import Pool
from components.lode.channels import METRIC


class OverBudgetError(Exception):
    """What was asked costs more than is left, or there is no more of it; a strategy lets it
    pass."""


@dataclass(frozen=True)
class Seen:
    """A run as far as it was paid for: its plan, its seed and the series (p, 3) of its points.

    `value`: what it is worth so far, the metric at its best point; of a run that diverged, which
    has no other points than it logged, the worst metric of the pool, as in a sweep.
    """

    plan: int
    seed: int
    series: np.ndarray
    value: float
    completed: bool


class Game:
    """What a strategy plays against.

    Attributes:
        pool: the schedules that may be run. rng: for whatever the strategy draws.
        budget, spent: in run-equivalents; a run that is stopped costs its share.
        seen: runs that were done to their end, in order. choices: (spent, plan).
    """

    def __init__(self, pool: Pool, budget: float, rng: np.random.Generator) -> None:
        self.pool, self.budget, self.rng = pool, budget, rng
        self.spent = 0.0
        self.seen: list[Seen] = []
        self.choices: list[tuple[float, int]] = []
        self._worst = pool.worst
        self._left = [list(rng.permutation(len(runs))) for runs in pool.runs]
        self.points = pool.tables.shape[1] - 1

    def free(self) -> np.ndarray:
        """(P,) which plans have runs that were not asked for."""
        return np.array([bool(left) for left in self._left])

    def run(self, plan: int, goes_on: Callable[[int, float], bool] | None = None) -> Seen:
        """A run of a plan on the next of its seeds.

        Args:
            goes_on: told the point and the metric there, at every log point; false stops the run.

        Raises:
            OverBudgetError: the budget is spent, or the plan has no run left; none is done.
        """
        if not self._left[plan]:
            raise OverBudgetError
        history = self.pool.runs[plan][self._left[plan][-1]]
        series, until = history.series(), self.points
        metrics = series[:, METRIC] if history.completed else self._held_at_worst(series)
        if goes_on is not None:
            until = next((p for p in range(1, until) if not goes_on(p, metrics[p - 1])), until)
        cost = until / self.points
        if self.spent + cost > self.budget + 1e-9:
            raise OverBudgetError
        self._left[plan].pop()
        self.spent += cost
        value = float(metrics[:until].max()) if history.completed else self._worst
        seed = int(history.meta["seed"])
        seen = Seen(plan, seed, series[:until], value, history.completed)
        if until == self.points:
            self.seen.append(seen)
        return seen

    def _held_at_worst(self, series: np.ndarray) -> np.ndarray:
        """(T,) the metric of a run that diverged: what it logged, then the worst there is."""
        logged = np.full(self.points, self._worst)
        logged[: len(series)] = np.nan_to_num(series[:, METRIC], nan=self._worst)
        return logged

    def choose(self, plan: int) -> None:
        """The schedule that would be taken, were this the end."""
        self.choices.append((self.spent, int(plan)))

    def choose_best_mean(self) -> None:
        """As those do who have no model."""
        self.choose(best_mean(self.seen))


def best_mean(seen: Sequence[Seen]) -> int:
    """The plan of the largest mean value; equals go to the first that was run."""
    values: dict[int, list[float]] = {}
    for one in seen:
        values.setdefault(one.plan, []).append(one.value)
    return max(values, key=lambda plan: float(np.mean(values[plan])))


def play(
    strategy: Callable[[Game], None], pool: Pool, budget: float, seed: int
) -> list[tuple[float, int]]:
    """The choices of one game, as (spent, plan)."""
    game = Game(pool, budget, np.random.default_rng(seed))
    with suppress(OverBudgetError):
        strategy(game)
    return game.choices


def regret(pool: Pool, choices: Sequence[tuple[float, int]], spent: np.ndarray) -> np.ndarray:
    """What is lost by the choice in force after `spent` (k,) run-equivalents, against the best
    measured schedule, in units of the metric; NaN before the first choice."""
    when = np.array([at for at, _ in choices])
    which = np.array([plan for _, plan in choices], dtype=int)
    index = np.searchsorted(when, spent + 1e-9, side="right") - 1
    lost = pool.best - pool.truth[which] if len(which) else np.array([np.nan])
    found: np.ndarray = np.where(index >= 0, lost[np.maximum(index, 0)], np.nan)
    return found
