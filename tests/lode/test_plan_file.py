"""plan.json: what it says is what a run under the LODE begins with, and nobody else's file is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lode.errors import LODEError
from components.lode.judge_fit import Runs, fit_judge
from components.lode.model import LODE
from components.lode.opening import Opening
from components.lode.plan_file import (
    TOLERANCE,
    Compared,
    Expected,
    Plan,
    PlanMetric,
    pairs_of,
    read_at,
    read_plan,
    to_json,
    write_plan,
)
from components.lode.planned import plan_of
from components.lode.settings import JudgeSettings
from components.schedulers.parametric import PARAMETRIC
from components.schedulers.plan import interpolate
from components.storage.typed import sealed
from components.training.history import History
from tests.lode.conftest import POINTS
from tests.lode.test_control import Toy

PLAN = Plan(
    task="my-task",
    schedule="Cosine, peak 0.1",
    rates=((0.0, 0.1), (0.5, 0.05), (0.9, 0.0)),
    metric=PlanMetric("loss", "minimize", False),
    expected=Expected(0.4, 0.01),
    compared_with=Compared("OneCycle, peak 0.2", ((0.0, 0.2),), 0.5, None, 1),
    runs=12,
    updates=100,
    points=10,
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_plan(PLAN, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == PLAN
    bare = replace(PLAN, expected=None, compared_with=None)
    write_plan(bare, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == bare


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"rates": [[0.0, 0.1], [0.5, 0.2]]}, "changed since it was written"),
    ({"rates": [[0.1, 0.1]]}, "shares ascending from 0"),
    ({"rates": [[0.0, 0.1], [0.0, 0.1]]}, "shares ascending from 0"),
    ({"rates": [[0.0, 0.0]]}, "a positive rate"),
    ({"rates": [[0.0, -1.0]]}, "at least 0"),
    ({"rates": [[0.0, 1.0], [1.5, 1.0]]}, "at most 1"),
    ({"rates": []}, "at least 1 values"),
    ({"rates": [[0.0, math.inf]]}, "not a finite number"),
    ({"rates": "x"}, "not a list"),
    ({"version": 2}, "another version"),
    ({"version": None}, "another version"),
    ({"metric": {"name": "x", "goal": "best", "percent": True}}, "unknown metric.goal 'best'"),
    ({"updates": 0}, "updates = 0 must be above 0"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_what_is_none_is_refused_by_name(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    found = json.loads(sealed(to_json(PLAN))) | change
    path.write_text(json.dumps(found))
    with pytest.raises(LODEError, match=rf"plan\.json: .*{said}.*run `lode fit`"):
        read_plan(path)
    path.write_text("[1]")
    with pytest.raises(LODEError, match=r"plan\.json: "):
        read_plan(path)
    with pytest.raises(LODEError, match="cannot be read"):
        read_plan(tmp_path)


@given(
    name=st.sampled_from(sorted(PARAMETRIC)),
    updates=st.integers(10, 700),
    points=st.integers(10, 60),
)
def test_the_pairs_say_every_schedule_within_the_tolerance(
    name: str, updates: int, points: int
) -> None:
    points = min(points, updates)
    lrs = Opening(schedule=(name, 0.1)).rates(updates, points)
    pairs = pairs_of(lrs, points)
    assert np.abs(read_at(pairs, updates) - lrs).max() <= TOLERANCE * 0.1
    assert len(pairs) <= points + 60, "few more than log points"


@given(st.lists(st.floats(1e-6, 1.0), min_size=11, max_size=11), st.integers(10, 300))
def test_of_a_plan_of_ours_the_pairs_are_its_rates_at_the_log_points(
    table: list[float], updates: int
) -> None:
    lrs = interpolate(np.array(table), np.arange(updates), updates)
    pairs = pairs_of(lrs, 10)
    assert len(pairs) <= 11
    assert np.allclose(read_at(pairs, updates), lrs, rtol=1e-9)


def test_a_fitted_lode_says_what_its_runs_begin_with(histories: list[History]) -> None:
    lode: Any = Toy()
    best = ("cosine", 0.1)
    judge = fit_judge(Runs.of(histories), JudgeSettings(updates=5), opening=Opening(schedule=best))
    plan = plan_of(lode, judge, histories[:-2], histories[-2:])
    updates = 10 * POINTS
    exact = Opening(schedule=best).rates(updates, lode.config.points)
    assert np.abs(plan.lrs(updates) - exact).max() <= TOLERANCE * 0.1
    assert (plan.task, plan.runs, plan.updates) == ("mnist1d-cnn", len(histories), updates)
    assert plan.schedule == "Cosine, peak 0.1" and plan.metric.goal == "maximize"
    table = judge.config.opening.plan(updates, lode.config.points, 1e-6)
    final = judge.final_metric(table[None])
    assert plan.expected is not None
    assert plan.expected.final == pytest.approx(final.mean(), abs=1e-3)
    assert plan.compared_with is not None and plan.compared_with.seeds >= 1


def test_of_a_metric_to_minimize_all_values_are_as_they_are_logged(
    histories: list[History],
) -> None:
    lode: Any = Toy()
    judge = fit_judge(Runs.of(histories), JudgeSettings(updates=5))
    more = plan_of(lode, judge, histories)
    for history in histories:
        history.meta |= {"metric_goal": "minimize", "metric_name": "val loss"}
        history.meta["metric_percent"] = False
    less = plan_of(lode, judge, histories)
    assert less.metric == PlanMetric("val loss", "minimize", False)
    assert less.expected is not None and more.expected is not None
    assert less.expected == Expected(-more.expected.final, more.expected.error)
    assert less.compared_with is not None and more.compared_with is not None
    assert less.compared_with.validated == -more.compared_with.validated  # type: ignore[operator]
    assert isinstance(lode, Toy) and not isinstance(lode, LODE)
