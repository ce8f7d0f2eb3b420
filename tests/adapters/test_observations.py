"""Reports at any time become log points by the rule that the guide states."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.adapters.observations import Observations, Row
from components.lode.errors import LODEError
from components.training.run import log_steps


def reported(seen: Observations, updates: int, when: dict[int, tuple[bool, bool]]) -> list[Row]:
    """Rows of a run whose loss is 5 - u and whose metric is 2 u after u updates, rates 1 / u; told
    after the updates in `when`, each whether the loss and whether the metric."""
    rows = []
    for done in range(1, updates + 1):
        seen.passed(done, 1 / done)
        loss, metric = when.get(done, (False, False))
        rows += seen.add(
            done, train_loss=5.0 - done if loss else None, val_metric=2.0 * done if metric else None
        )
    return rows


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, int, dict[int, tuple[bool, bool]]]:
    points = draw(st.integers(2, 12))
    updates = draw(st.integers(points, 60))
    some = st.dictionaries(st.integers(1, updates), st.tuples(st.booleans(), st.booleans()))
    return updates, points, draw(some)


@given(runs())
def test_between_two_reports_points_lie_on_the_line(
    run: tuple[int, int, dict[int, tuple[bool, bool]]],
) -> None:
    updates, points, when = run
    first = [min((u for u in when if when[u][i]), default=math.inf) for i in (0, 1)]
    last = min(max((u for u in when if when[u][i]), default=0) for i in (0, 1))
    rows = reported(Observations(updates, points), updates, when)
    steps = log_steps(updates, points)
    assert [row.point for row in rows] == [p for p in range(1, points + 1) if steps[p - 1] <= last]
    for row in rows:
        step = steps[row.point - 1]
        assert row.lr == 1 / step
        assert row.train_loss == pytest.approx(5.0 - max(step, first[0]))
        assert row.val_metric == pytest.approx(2.0 * max(step, first[1]))


@given(runs(), st.data())
def test_its_state_goes_through_json_and_on_to_the_bit(
    run: tuple[int, int, dict[int, tuple[bool, bool]]], data: st.DataObject
) -> None:
    updates, points, when = run
    cut = data.draw(st.integers(0, updates))
    whole = reported(Observations(updates, points), updates, when)
    first = Observations(updates, points)
    rows = reported(first, cut, when)
    second = Observations(updates, points)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for done in range(cut + 1, updates + 1):
        second.passed(done, 1 / done)
        loss, metric = when.get(done, (False, False))
        rows += second.add(
            done, train_loss=5.0 - done if loss else None, val_metric=2.0 * done if metric else None
        )
    assert rows == whole


def test_what_is_kept_does_not_grow_with_the_reports() -> None:
    seen = Observations(1000, 10)
    reported(seen, 1000, {u: (True, True) for u in range(1, 1001)})
    assert max(map(len, seen.state_dict()["reports"].values())) <= 101


def test_a_second_report_of_the_same_updates_is_refused_and_changes_nothing() -> None:
    seen = Observations(20, 10)
    seen.passed(2, 0.1)
    seen.passed(1, 0.1)
    seen.add(2, train_loss=1.0, val_metric=None)
    before = seen.state_dict()
    with pytest.raises(LODEError, match=r"train_loss was reported after 2 updates already"):
        seen.add(2, train_loss=0.5, val_metric=0.5)
    assert seen.state_dict() == before
    seen.add(2, train_loss=None, val_metric=0.5)
