"""The gate never lets a worse one in, whatever the figures; and it is monotone."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.statistics import paired_difference
from components.retraining.gate import Figures, Rules, Versus, gate

RULES = Rules(max_error=0.5, tolerance=0.01, better_in="reconstruction")
EITHER = st.sampled_from([RULES, replace(RULES, better_in="test_metric")])


def measured(
    tests: list[float],
    champion: list[float] | None,
    errors: list[float],
    theirs: list[float],
    **changed: Any,
) -> Figures:
    """Figures as a night makes them: values by seed, and by held-out history."""
    mean = sum(tests) / len(tests)
    figures = Figures(True, len(tests), len(tests), sum(errors) / len(errors), mean)
    if champion is not None:
        versus = Versus(
            sum(theirs) / len(theirs),
            sum(champion) / len(champion),
            paired_difference(dict(enumerate(errors)), dict(enumerate(theirs))),
            paired_difference(dict(enumerate(errors[:3])), dict(enumerate(theirs[:3]))),
            paired_difference(dict(enumerate(tests)), dict(enumerate(champion))),
        )
        figures = replace(figures, champion=versus)
    return replace(figures, **changed)


# Multiples of 1/64: differences are exact, so that ties are ties.
metric = st.integers(0, 64).map(lambda k: k / 64)
error = st.integers(0, 128).map(lambda k: k / 64)
nights = st.builds(
    lambda rows, held: (
        [a for a, _ in rows],
        [b for _, b in rows],
        [a for a, _ in held],
        [b for _, b in held],
    ),
    st.lists(st.tuples(metric, metric), min_size=2, max_size=8),
    st.lists(st.tuples(error, error), min_size=2, max_size=8),
)


@given(nights, EITHER, st.integers(0, 32), st.integers(0, 32))
def test_a_better_one_is_never_refused_where_a_worse_one_is_promoted(
    night: Any, rules: Rules, gain: int, less: int
) -> None:
    tests, champion, errors, theirs = night
    before = gate(measured(tests, champion, errors, theirs), rules)
    lifted = [t + gain / 64 for t in tests]
    after = gate(measured(lifted, champion, [e - less / 64 for e in errors], theirs), rules)
    assert after.promoted or not before.promoted


@given(nights, EITHER)
def test_never_one_that_is_significantly_worse_or_not_better_or_beyond_the_tolerance(
    night: Any, rules: Rules
) -> None:
    figures = measured(*night)
    versus = figures.champion
    assert versus is not None
    test, reconstruction = versus.test_difference, versus.error_difference
    if not gate(figures, rules).promoted:
        return
    assert test.mean is not None and reconstruction.mean is not None
    assert not (test.significant and test.mean < 0)
    assert not (reconstruction.significant and reconstruction.mean > 0)
    assert test.mean >= -rules.tolerance and figures.error <= rules.max_error
    assert reconstruction.mean < 0 if rules.better_in == "reconstruction" else test.mean > 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"validated": False}, "did not pass validation"),
        ({"completed": 2}, "1 of the challenger's 3 runs diverged"),
        ({"runs": 0, "completed": 0}, "of the challenger's 0 runs"),
        ({"error": 0.51}, r"0.51 above the floor of 0.5 \(retraining.max_error\)"),
        ({"error": math.inf}, "inf above the floor"),
        ({"error": math.nan}, "could not be measured"),
        ({"test": None}, "no finite test metric"),
        ({"test": math.nan}, "no finite test metric"),
        ({"test": math.inf}, "no finite test metric"),
    ],
)
@pytest.mark.parametrize("better_in", ["reconstruction", "test_metric"])
@pytest.mark.parametrize("champion", [None, [0.1, 0.2, 0.3]])
def test_a_floor_that_fails_refuses_however_good_the_rest(
    changed: dict[str, Any], reason: str, better_in: Any, champion: list[float] | None
) -> None:
    rules = replace(RULES, better_in=better_in)
    good = measured([0.7, 0.8, 0.9], champion, [0.1, 0.1], [0.3, 0.35])
    assert gate(good, rules).promoted
    result = gate(replace(good, **changed), rules)
    assert not result.promoted and result.verdict == "refused"
    assert re.search(reason, "; ".join(result.reasons))


def test_the_first_one_has_to_hold_the_floors_only() -> None:
    result = gate(measured([0.1, 0.2], None, [0.4], []), RULES)
    assert result.verdict == "promoted" and result.reasons[0].startswith("no champion yet")


def test_ties_are_not_better_but_not_worse_either() -> None:
    same = [0.7, 0.8, 0.9]
    identical = measured(same, same, [0.1, 0.2], [0.1, 0.2])
    assert gate(identical, RULES).reasons[0].startswith("reconstruction not better: error +0.0000")
    followed = measured(same, same, [0.1, 0.2], [0.2, 0.25])  # both follow the same plan
    assert gate(followed, RULES).promoted
    by_test = gate(followed, replace(RULES, better_in="test_metric"))
    assert not by_test.promoted and "test metric not better" in by_test.reasons[0]


def test_a_loss_without_spread_is_a_loss_and_one_collapsed_run_is_no_noise() -> None:
    rules = replace(RULES, tolerance=1.0)
    champion = [0.5, 0.75, 0.25]
    everywhere = measured([t - 1 / 64 for t in champion], champion, [0.1], [0.2])
    assert "significantly below" in gate(everywhere, rules).reasons[0]
    champion = [0.8] * 10
    collapsed = measured([0.81] * 9 + [0.1], champion, [0.1], [0.2])
    assert gate(collapsed, rules).promoted, "the spread hides it from the interval"
    assert "more than the tolerance" in gate(collapsed, RULES).reasons[0]


def test_scheduled_runs_cannot_vote_in_what_forgets_the_sweep() -> None:
    """The first three of the histories are the sweep's."""
    errors, theirs = [0.3, 0.31, 0.32] + [0.1] * 20, [0.1, 0.1, 0.1] + [0.5] * 20
    result = gate(measured([0.7, 0.8], [0.7, 0.8], errors, theirs), RULES)
    assert result.reasons[0].startswith("reconstruction of the sweep significantly worse")
    assert len(result.reasons) == 1


def test_a_champion_without_a_result_is_no_obstacle() -> None:
    broken = measured([0.5, 0.6], [0.5, 0.6], [0.1], [0.2])
    assert broken.champion is not None
    nothing = paired_difference({0: 0.5}, {0: None})
    versus = replace(
        broken.champion,
        test=None,
        error=math.inf,
        test_difference=nothing,
        error_difference=nothing,
        sweep_difference=nothing,
    )
    for better_in in ("reconstruction", "test_metric"):
        rules = replace(RULES, better_in=better_in)  # type: ignore[arg-type]
        assert gate(replace(broken, champion=versus), rules).promoted
