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
from components.pilots.trial import CONFIDENCE, EARLY, HOPELESS, paired_gain, verdict

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
def test_the_last_pair_decides_at_half_a_standard_error_others_at_more(
    mean: float, error: float, n: int
) -> None:
    ratio, found = mean / error, Gain(mean, error, n)
    half, early = float(t.ppf(CONFIDENCE, n - 1)), float(t.ppf(EARLY, n - 1))
    hopeless = float(t.ppf(HOPELESS, n - 1))
    assert 0.5 < half < 0.75 and early > 1.96 and -1.9 < hopeless < -1.0
    assert verdict(found, 0) == (t.cdf(ratio, n - 1) > CONFIDENCE)
    last, before = verdict(found, 0), verdict(found, 3)
    assert before in (None, last), "what is said early is what would be said now"
    if min(abs(ratio - early), abs(ratio - hopeless)) > 1e-6:
        assert before == (True if ratio > early else False if ratio < hopeless else None)


@pytest.mark.parametrize("finalists", [1, FINALISTS])
@pytest.mark.parametrize("pairs", [2, MOST_PAIRS])
def test_of_finalists_without_any_gain_a_third_is_adopted(finalists: int, pairs: int) -> None:
    """Which costs nothing. The better of two on five sweep seeds is lucky; fresh pairs are not."""
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
    assert 0.25 < adopted / trials < (0.36 if finalists == 1 else 0.5)


@pytest.mark.parametrize(("loss", "most"), [(-0.25, 0.25), (-0.5, 0.12), (-1.0, 0.03)])
def test_of_plans_that_are_worse_few_are_adopted(loss: float, most: float) -> None:
    """Losses in standard deviations of a pair; seven pairs, two of them fresh."""
    rng, trials = np.random.default_rng(1), 4000
    pairs = loss + rng.normal(size=(trials, 7))
    adopted = sum(
        bool(verdict(Gain(float(own.mean()), float(own.std(ddof=1)) / math.sqrt(7), 7), 0))
        for own in pairs
    )
    assert adopted / trials < most
