"""Who is a finalist, the judge's forecasts being given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.lode.settings import Architecture, FitSettings, JudgeSettings
from components.pilots import proposals
from components.pilots.budget import Budget
from components.pilots.proposals import Proposer
from components.runs.fits import Recipe
from components.schedulers.plan import parametric_table
from components.training.history import History
from tests.experiments import made

UPDATES, POINTS = 40, 4
BEST = ("onecycle", 0.05)
BUDGET = Budget(finer=2, explore=2, propose=2, paired=2, pairs=2)


class GivenJudge:
    """Foretells of a schedule what it is told; of the sweep's best 0.9."""

    def __init__(self, forecasts: dict[float, float]) -> None:
        self.forecasts = forecasts | {parametric_table(*BEST, UPDATES, POINTS)[0]: 0.9}

    def final_metric(self, tables: np.ndarray) -> np.ndarray:
        return np.array([[self.forecasts[table[0]] for table in tables]] * 3)


def proposer() -> Proposer:
    sweep = [
        made.run([0.1, value], seed=0, scheduler=name, peak_lr=peak)
        for (name, peak), value in ((BEST, 0.9), (("constant", 0.01), 0.8))
    ]
    recipe = Recipe(0.25, FitSettings(), JudgeSettings(), Architecture())
    return Proposer(sweep, recipe, BUDGET, UPDATES, POINTS, Path("scratch"))


@pytest.mark.parametrize(
    ("foretold", "chosen"),
    [
        ([0.91, 0.5, 0.92, 0.94, 0.95, 0.93], [0, 4]),  # of the sweep's own one may be better
        ([0.89, 0.5, 0.92, 0.94, 0.95, 0.93], [4, 3]),  # none of them is
        ([0.5, 0.96, 0.92, 0.94, 0.95, 0.93], [1, 4]),
        ([0.5, 0.5, 0.6, 0.7, 0.5, 0.5], [3, 2]),  # nothing is: the best that there is
    ],
)
def test_one_of_the_sweeps_own_is_a_finalist_where_it_may_be_better(
    foretold: list[float], chosen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = np.array([np.full(POINTS + 1, 1e-4 * (1 + i)) for i in range(6)])
    judge = GivenJudge({table[0]: value for table, value in zip(tried, foretold, strict=True)})
    monkeypatch.setattr(proposals, "fit_judge", lambda runs, settings: judge)
    histories = [made.run([0.1, 0.9], seed=0) for _ in tried]
    assert proposer().finalists(histories, tried).tolist() == tried[chosen].tolist()


def test_a_schedule_whose_run_diverged_is_no_finalist(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = np.array([np.full(POINTS + 1, 1e-4 * (1 + i)) for i in range(6)])
    judge = GivenJudge({table[0]: 0.99 - 0.01 * i for i, table in enumerate(tried)})
    monkeypatch.setattr(proposals, "fit_judge", lambda runs, settings: judge)
    histories: list[History] = [made.run([0.1, 0.9], seed=0) for _ in tried]
    for i in (0, 2):
        histories[i] = replace(histories[i], meta=histories[i].meta | {"status": "diverged"})
    assert proposer().finalists(histories, tried).tolist() == tried[[1, 3]].tolist()
