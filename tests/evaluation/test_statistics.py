import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.evaluation.statistics import (
    PairedDifference,
    compare,
    holm,
    paired_difference,
    summarize,
)

accuracies = st.floats(0, 1, allow_nan=False)
p_values = st.lists(st.none() | st.floats(0, 1), max_size=7)


def by_seed(values):
    return dict(enumerate(values))


def test_closed_form_of_three_pairs():
    # differences 1, 2, 3: mean 2, std 1, t = 2√3 with 2 degrees of freedom, whose distribution
    # function is known: P(|T| > t) = 1 − t / √(t² + 2)
    found = paired_difference(by_seed([2.0, 4.0, 6.0]), by_seed([1.0, 2.0, 3.0]))
    t = 2 * math.sqrt(3)
    assert found.mean == pytest.approx(2.0)
    assert found.p_value == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    reach = 4.302652729911275 / math.sqrt(3)  # t(0.975, 2)
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach))
    assert not found.significant


@given(st.lists(st.tuples(accuracies, accuracies), min_size=2, max_size=30))
def test_agrees_with_scipy(pairs):
    a, b = np.array(pairs).T
    found = paired_difference(by_seed(a), by_seed(b))
    if np.std(a - b, ddof=1) <= 1e-9:
        return  # decided below
    reference = stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-12)
    interval = reference.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    # interval and test say the same
    if abs(found.p_value - 0.05) > 1e-6:
        assert found.significant == (found.low > 0 or found.high < 0)


@given(st.lists(st.tuples(accuracies, accuracies), min_size=1, max_size=20))
def test_swapping_the_two_flips_the_sign_only(pairs):
    a, b = (by_seed(column) for column in zip(*pairs, strict=True))
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert one.mean == pytest.approx(-other.mean, abs=1e-15)
    assert one.p_value == other.p_value or one.p_value == pytest.approx(other.p_value)
    assert one.n == other.n == len(pairs)


def test_only_common_completed_seeds_count():
    a = {1: 0.9, 2: 0.8, 3: None, 5: 0.7}
    b = {1: 0.8, 2: 0.75, 3: 0.1, 4: 0.2}
    found = paired_difference(a, b)
    assert found.n == 2
    assert found.mean == pytest.approx(0.075)


def test_no_common_seed_gives_nothing():
    assert paired_difference({1: 0.9}, {2: 0.9}) == PairedDifference(None, None, None, None, 0)


def test_one_seed_gives_a_mean_and_no_evidence():
    found = paired_difference({1: 0.9}, {1: 0.8})
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high, found.p_value, found.n) == (None, None, None, 1)
    assert not found.significant


def test_identical_results_are_no_difference():
    same = by_seed([0.91, 0.92, 0.93])
    assert paired_difference(same, same) == PairedDifference(0.0, 0.0, 0.0, 1.0, 3)


def test_a_constant_difference_is_not_called_certain():
    # 0.3 − 0.2 and 0.2 − 0.1 differ in the last bit: that is no spread
    found = paired_difference(by_seed([0.3, 0.2]), by_seed([0.2, 0.1]))
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.p_value, found.significant) == (None, None, False)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50), st.randoms())
def test_summary_is_numpys_in_any_order(values, random):
    found = summarize(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert summarize(shuffled) == found


def test_summary_of_few_or_missing_values():
    assert summarize([]).n == 0 and summarize([None, math.nan]).mean is None
    assert (summarize([3.0, None]).mean, summarize([3.0, None]).std) == (3.0, None)


def test_what_is_not_finite_takes_its_seed_out():
    found = paired_difference({1: math.nan, 2: 0.9, 3: 0.8}, {1: 0.5, 2: 0.8, 3: math.inf})
    assert (found.mean, found.n) == (pytest.approx(0.1), 1)


def test_holm_in_closed_form():
    # ascending .005 × 4, .01 × 3, .03 × 2, .04 × 1, none below the one before
    expected = [0.03, 0.06, 0.06, None, 0.02]
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == [
        None if one is None else pytest.approx(one) for one in expected
    ]
    assert holm([]) == [] and holm([None]) == [None] and holm([0.04]) == [0.04]


def closed_test(p_values, i):
    """The closure principle with Bonferroni's test of every set of hypotheses that i is in."""
    others = [j for j, p in enumerate(p_values) if p is not None and j != i]
    sets = [(i, *some) for size in range(len(others) + 1) for some in combinations(others, size)]
    return max(min(1.0, len(one) * min(p_values[j] for j in one)) for one in sets)


@given(p_values)
def test_holm_is_the_closed_test(found):
    for i, adjusted in enumerate(holm(found)):
        if found[i] is None:
            assert adjusted is None
        else:
            assert adjusted == pytest.approx(closed_test(found, i), abs=1e-12)


@given(p_values, st.randoms())
def test_holm_keeps_the_order_and_never_makes_a_p_value_smaller(found, random):
    adjusted = holm(found)
    known = sorted((p, a) for p, a in zip(found, adjusted, strict=True) if p is not None)
    assert all(p <= a <= 1 for p, a in known)
    assert [a for _, a in known] == sorted(a for _, a in known)
    order = list(range(len(found)))
    random.shuffle(order)
    assert holm([found[i] for i in order]) == [adjusted[i] for i in order]


@pytest.mark.parametrize("wrong", [1.5, -0.1, math.nan])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match="is no p-value"):
        holm([0.5, wrong])


def test_every_row_is_compared_with_every_other_and_adjusted_for_its_own():
    rows = {
        "a": by_seed([0.91, 0.93, 0.92, 0.95]),
        "b": by_seed([0.90, 0.91, 0.915, 0.94]),
        "c": by_seed([0.5, None, 0.6, 0.55]),
    }
    found = compare(rows)
    assert {first: set(pairs) for first, pairs in found.items()} == {
        "a": {"b", "c"},
        "b": {"a", "c"},
        "c": {"a", "b"},
    }
    for first, pairs in found.items():
        plain = {row: paired_difference(rows[first], rows[row]) for row in pairs}
        assert all(pairs[row].p_value == plain[row].p_value for row in pairs)
        assert [pair.p_adjusted for pair in pairs.values()] == holm(
            [pair.p_value for pair in plain.values()]
        )
    assert found["a"]["c"].n == 3


def test_what_is_told_from_zero_alone_may_not_be_among_others():
    ahead = by_seed([0.912, 0.93, 0.92, 0.945, 0.95])
    behind = by_seed([0.90, 0.91, 0.915, 0.94, 0.94])
    alone = compare({"a": ahead, "b": behind})["a"]["b"]
    among = compare({"a": ahead, "b": behind, "c": behind, "d": behind})["a"]["b"]
    assert alone.p_value == alone.p_adjusted and alone.significant
    assert among.p_adjusted == pytest.approx(3 * alone.p_value) and not among.significant
