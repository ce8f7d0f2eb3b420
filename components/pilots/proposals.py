"""Which schedules the pilots try: the sweep's at finer peaks, random shapes, what LODE and judge
propose, and of all that was tried the finalists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.evaluation.ranking import ranked_peaks
from components.lode.judge_fit import Runs, fit_judge
from components.lode.planner import propose_plans, random_shapes
from components.pilots.budget import FINALISTS, Budget
from components.runs.comparison import REACH, finer_configurations
from components.runs.fits import Recipe, fit_both
from components.schedulers.plan import parametric_table
from components.training.history import History

# The judge that finalists are chosen by has so many times the members: two fits' choices differ
# more than the plans do.
FINALISTS_MEMBERS = 3
# The LODE only generates here; half of its training is enough for that.
FIT_SHARE = 0.5


@dataclass(frozen=True)
class Proposer:
    """Makes plans, tables of T + 1 learning rates each, from what was run.

    Attributes:
        sweep: accepted histories. updates, points: N and T. scratch: folder for LODEs on the way.
        on_fit: told before every fit what it is for.
    """

    sweep: Sequence[History]
    recipe: Recipe
    budget: Budget
    updates: int
    points: int
    scratch: Path
    on_fit: Callable[[str], None] = lambda note: None

    @property
    def peaks(self) -> tuple[float, float]:
        """The range that shapes' peaks are drawn from, around the sweep's best."""
        _, peak_lr = ranked_peaks(self.sweep)[0]
        return peak_lr / REACH, peak_lr * REACH

    def explore(self) -> np.ndarray:
        """The sweep's best schedulers at finer peaks first, then random shapes."""
        shapes = random_shapes(
            self.budget.explore, self.points, self.peaks, np.random.default_rng(0)
        )
        return np.concatenate([self._finer(), shapes])

    def propose(self, histories: Sequence[History]) -> np.ndarray:
        """What LODE and judge, fitted on the sweep and the pilots so far, propose."""
        self.on_fit("fitting for proposals")
        updates = max(1, int(FIT_SHARE * self.recipe.fit.updates))
        recipe = replace(self.recipe, fit=replace(self.recipe.fit, updates=updates))
        lode, judge = fit_both(self.sweep, histories, recipe, folder=self.scratch)
        series = np.stack([run.series() for run in self._completed(histories)])
        rng = np.random.default_rng(1)
        return propose_plans(lode, judge, series, self.budget.propose, rng)

    def finalists(self, histories: Sequence[History], tried: np.ndarray) -> np.ndarray:
        """Of the plans `tried`, one per history, those that a judge who knows them all likes best.

        One of the sweep's own schedulers (they come first in `tried`) is among them if the judge
        puts it above the sweep's best configuration: a finer grid is what a plain search would buy,
        and the LODE is to be no worse than that.
        """
        self.on_fit("fitting for finalists")
        members = FINALISTS_MEMBERS * self.recipe.judge.members
        judge = fit_judge(
            Runs.of(self._completed(histories)), replace(self.recipe.judge, members=members)
        )
        judged = judge.final_metric(tried).mean(0)
        judged[[not run.completed for run in histories]] = -np.inf
        order = np.argsort(-judged, kind="stable")
        finer = int(np.argmax(judged[: self.budget.finer]))
        if judged[finer] > judge.final_metric(self._baseline()).mean():
            order = np.array([finer, *order[order != finer]])
        return tried[order[:FINALISTS]]

    def _baseline(self) -> np.ndarray:
        """(1, T + 1) the sweep's best configuration."""
        best = ranked_peaks(self.sweep)[0]
        return np.array([parametric_table(*best, self.updates, self.points)])

    def _finer(self) -> np.ndarray:
        """What a finer search of so many configurations would try."""
        found = finer_configurations(self.sweep, self.budget.finer)
        return np.array([parametric_table(*one, self.updates, self.points) for one in found])

    def _completed(self, histories: Sequence[History]) -> list[History]:
        return [run for run in [*self.sweep, *histories] if run.completed]
