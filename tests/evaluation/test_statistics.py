import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from components.evaluation.statistics import PairedDifference, paired_difference, summarize

accuracies = st.floats(0, 1, allow_nan=False)


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
