"""What a run begins with: closed forms of each kind, and which of several is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lode.opening import Opening, every_update, with_start
from components.schedulers.names import PARAMETRIC_SCHEDULERS
from components.schedulers.parametric import learning_rate
from components.schedulers.plan import Plan, interpolate
from components.training.run import log_steps

TABLE, HELD = (0.4, 0.2, 0.1), (0.3, 0.2, 0.1)
rates = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8).map(tuple)
lengths = st.integers(2, 20).flatmap(lambda t: st.tuples(st.integers(t, 5 * t), st.just(t)))


def test_a_table_is_linear_between_its_points_and_stretches_by_share_of_the_run() -> None:
    opening = Opening(TABLE)
    assert opening.plan(20, 2).tolist() == list(TABLE)
    assert opening.plan(20, 4) == pytest.approx([0.4, 0.3, 0.2, 0.15, 0.1])
    assert opening.plan(20, 1).tolist() == [0.4, 0.1]
    found = opening.rates(20, 2)
    assert found[[0, 9, 19]].tolist() == list(TABLE), "the last update before each point"
    assert np.ptp(np.diff(found[:10])) < 1e-12 and np.ptp(np.diff(found[9:])) < 1e-12


def test_held_rates_are_held_over_their_intervals() -> None:
    opening = Opening(held=HELD)
    assert opening.plan(12, 3).tolist() == list(HELD)
    assert opening.rates(12, 3).tolist() == [0.3] * 4 + [0.2] * 4 + [0.1] * 4
    assert opening.plan(12, 6).tolist() == [0.3, 0.3, 0.2, 0.2, 0.1, 0.1]
    assert opening.plan(12, 2).tolist() == [0.3, 0.2]


def test_held_rates_become_linear_between_the_points_they_were_logged_at() -> None:
    opening = Opening(held=HELD).linear
    assert opening.table == pytest.approx((0.4, *HELD)) and not opening.held
    assert opening.rates(12, 3)[[3, 7, 11]].tolist() == list(HELD)


@given(name=st.sampled_from(PARAMETRIC_SCHEDULERS), peak=st.floats(1e-4, 1.0), length=lengths)
def test_a_parametric_schedule_is_followed_to_the_bit(
    name: str, peak: float, length: tuple[int, int]
) -> None:
    updates, points = length
    opening = Opening(schedule=(name, peak))
    expected = [learning_rate(name, step, updates, peak) for step in range(updates)]
    assert opening.rates(updates, points, lowest=2 * peak).tolist() == expected
    logged = [expected[0], *(expected[end - 1] for end in log_steps(updates, points))]
    lowest = 1e-3 * peak
    assert opening.plan(updates, points, lowest).tolist() == np.maximum(logged, lowest).tolist()


def test_the_first_that_is_not_empty_holds() -> None:
    everything = Opening(TABLE, ("cosine", 0.1), HELD)
    assert everything.plan(20, 2).tolist() == list(TABLE)
    assert everything.rates(20, 2).tolist() == Opening(TABLE).rates(20, 2).tolist()
    two = Opening(schedule=("cosine", 0.1), held=HELD)
    assert two.rates(20, 2).tolist() == Opening(schedule=("cosine", 0.1)).rates(20, 2).tolist()
    assert everything and two and Opening(held=HELD) and not Opening()


@given(table=rates, length=lengths, lowest=st.floats(0, 0.5))
def test_no_rate_lies_below_the_lowest_or_above_the_tables(
    table: tuple[float, ...], length: tuple[int, int], lowest: float
) -> None:
    updates, points = length
    for opening in (Opening(table), Opening(held=table)):
        plan, found = opening.plan(*length, lowest), opening.rates(*length, lowest)
        assert len(plan) == points + (0 if opening.held else 1) and len(found) == updates
        top = max(*table, lowest) * (1 + 1e-12)
        for values in (plan, found):
            assert (values >= lowest * (1 - 1e-12)).all() and (values <= top).all()


@given(table=rates, more=st.integers(0, 30))
def test_the_rates_are_those_of_the_plan_as_a_scheduler(
    table: tuple[float, ...], more: int
) -> None:
    points = len(table) - 1
    updates = points + more
    expected = Plan(table, updates=updates, points=points)
    found = Opening(table).rates(updates, points)
    assert found == pytest.approx([expected.lr(step) for step in range(updates)], rel=1e-12)
    plan = np.array(table)
    linear = interpolate(plan, np.arange(updates), updates)
    assert np.array_equal(every_update(plan, updates, points), linear)


def test_a_start_is_continued_from_the_first_two_and_never_negative() -> None:
    assert with_start(np.array([[2.0, 3.0, 9.0], [1.0, 5.0, 5.0]])).tolist() == [
        [1.0, 2.0, 3.0, 9.0],
        [0.0, 1.0, 5.0, 5.0],
    ]
