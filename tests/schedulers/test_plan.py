"""A table of rates: exact at the log points, linear in between, and refused where it makes no
sense."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.schedulers.plan import Plan, interpolate, plan_digest
from components.training.run import log_steps


def test_rates_between_log_points_by_hand() -> None:
    """N = 8, T = 2: the last updates before the points are 3 and 7."""
    rates = interpolate(np.array([1.0, 4.0, 0.0]), np.arange(8), 8)
    assert rates == pytest.approx([1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 0.0])


def test_with_one_update_per_point_each_update_leads_to_its_point() -> None:
    assert interpolate(np.array([9.0, 1.0, 2.0, 3.0]), np.arange(3), 3).tolist() == [1.0, 2.0, 3.0]


@given(
    table=st.lists(st.floats(1e-6, 10), min_size=3, max_size=30),
    extra=st.integers(0, 200),
)
def test_a_plan_has_its_table_at_the_log_points_and_never_leaves_its_range(
    table: list[float], extra: int
) -> None:
    points = len(table) - 1
    updates = points + extra
    plan = Plan(table, updates=updates, points=points)
    ends = [plan.lr(end - 1) for end in log_steps(updates, points)]
    assert ends == table[1:]
    if log_steps(updates, points)[0] > 1:
        assert plan.lr(0) == table[0]
    rates = np.array([plan.lr(step) for step in range(updates + 3)])
    assert (rates >= min(table) * (1 - 1e-12)).all() and (rates <= max(table) * (1 + 1e-12)).all()


def test_it_ignores_what_it_observes_and_holds_the_last_rate() -> None:
    plan = Plan([0.1, 0.2, 0.3], updates=10, points=2)
    before = [plan.lr(step) for step in range(10)]
    plan.observe(1, math.nan, 0.0, 1.0)
    assert [plan.lr(step) for step in range(10)] == before
    assert plan.lr(10_000) == 0.3


@pytest.mark.parametrize(
    "table",
    [[0.1] * 5, [0.1] * 7, [], *([0.1] * 5 + [bad] for bad in (0.0, -1.0, math.nan, math.inf))],
)
def test_a_table_that_is_no_plan_is_refused(table: list[float]) -> None:
    said = rf"needs 6 finite, positive .* \(log points 0 to 5\); this one has {len(table)}"
    with pytest.raises(ValueError, match=said):
        Plan(table, updates=20, points=5)


def test_the_digest_names_the_values_and_not_their_container() -> None:
    assert plan_digest([0.1, 0.2]) == plan_digest(np.array([0.1, 0.2])) != plan_digest([0.2, 0.1])
    assert len(plan_digest([0.1])) == 16 and int(plan_digest([0.1]), 16)
