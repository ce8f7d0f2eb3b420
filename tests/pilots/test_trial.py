"""When a finalist is believed: by hand, and how often one without any gain would be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from components.evaluation.results import Gain
from components.pilots.budget import FINALISTS, MOST_PAIRS
from components.pilots.campaign import AT_ONCE
from components.pilots.trial import CONFIDENCE, EARLY, paired_gain, verdict

from .made import run


def test_the_gain_is_paired_by_seed() -> None:
    ours = [run("plan", None, seed, best) for seed, best in ((1, 0.6), (2, 0.9), (3, 0.75))]
    theirs = [run(seed=seed, best=best) for seed, best in ((3, 0.7), (2, 0.7), (1, 0.5))]
    found = paired_gain(ours, theirs)
    differences = np.array([0.1, 0.2, 0.05])
    assert found.mean == pytest.approx(differences.mean())
    assert found.error == pytest.approx(differences.std(ddof=1) / math.sqrt(3))
    assert found.n == 3


def test_where_a_run_diverged() -> None:
    ours = [run("plan", None, seed, 0.6) for seed in (1, 2, 3)]
    theirs = [run(seed=seed, best=0.5) for seed in (1, 2, 3)]
    theirs[2].meta["status"] = "diverged"
    assert paired_gain(ours, theirs) == Gain(pytest.approx(0.1), 0.0, 2)
    theirs[1].meta["status"] = "diverged"
    assert paired_gain(ours, theirs) == Gain(n=1)
    ours[0].meta["status"] = "diverged"
    assert paired_gain(ours, theirs) == Gain()


def test_a_diverged_finalist_is_refused_and_one_pair_waits_for_more() -> None:
    assert verdict(Gain(), 10) is False and verdict(Gain(), 0) is False
    assert verdict(Gain(n=1), 1) is None and verdict(Gain(n=1), 0) is False


def test_pairs_that_all_agree_to_the_bit() -> None:
    assert verdict(Gain(0.01, 0.0, 3), 1) is True
    assert verdict(Gain(-0.01, 0.0, 3), 1) is False
    assert verdict(Gain(0.0, 0.0, 3), 1) is None and verdict(Gain(0.0, 0.0, 3), 0) is False


@given(st.floats(-1, 1), st.floats(1e-6, 1), st.integers(2, 40))
def test_the_last_pair_decides_at_one_standard_error_others_at_more(
    mean: float, error: float, n: int
) -> None:
    ratio, found = mean / error, Gain(mean, error, n)
    one, early = float(t.ppf(CONFIDENCE, n - 1)), float(t.ppf(EARLY, n - 1))
    assert 1.0 < one < 1.9 and early > one
    assert verdict(found, 0) == (t.cdf(ratio, n - 1) > CONFIDENCE)
    last, before = verdict(found, 0), verdict(found, 3)
    assert before in (None, last), "what is said early is what would be said now"
    if min(abs(ratio - early), abs(ratio + one)) > 1e-6:
        assert before == (True if ratio > early else False if ratio < -one else None)


@pytest.mark.parametrize("finalists", [1, FINALISTS])
@pytest.mark.parametrize("pairs", [2, MOST_PAIRS])
def test_of_finalists_without_any_gain_few_are_adopted(finalists: int, pairs: int) -> None:
    """The better of the two on five sweep seeds is a little lucky; the fresh pairs are not."""
    rng, adopted, trials = np.random.default_rng(0), 0, 2000
    for _ in range(trials):
        theirs = rng.normal(size=5 + pairs)
        ours = rng.normal(size=(finalists, 5 + pairs))
        best = (ours - theirs)[np.argmax((ours - theirs)[:, :5].mean(1))]
        for n in [*range(5, 5 + pairs, AT_ONCE), 5 + pairs]:
            error = best[:n].std(ddof=1) / math.sqrt(n)
            said = verdict(Gain(best[:n].mean(), error, n), 5 + pairs - n)
            if said is not None:
                adopted += said
                break
    bound = 0.2 if finalists == 1 else 0.29
    assert 0.1 < adopted / trials < bound
