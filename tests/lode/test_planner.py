"""The search finds what is there to find, and what it proposes can be run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.lode.channels import LR, METRIC, Channels
from components.lode.judge import Judge
from components.lode.judge_fit import Runs, fit_judge
from components.lode.model import LODE, LODEConfig
from components.lode.planner import (
    decode_plans,
    propose_plans,
    random_shapes,
    search,
    starting_latents,
)
from components.lode.settings import JudgeSettings
from components.training.history import History


@pytest.fixture
def series(histories: list[History]) -> np.ndarray:
    return np.stack([h.series() for h in histories])


@pytest.fixture
def lode(series: np.ndarray) -> LODE:
    """Of random weights: its schedules are odd, but they are schedules."""
    config = LODEConfig(Channels.measure(list(series)), points=30, latent=6, hidden=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LODE(config).eval()


@pytest.fixture
def judge(histories: list[History]) -> Judge:
    return fit_judge(Runs.of(histories), JudgeSettings(members=3, updates=30))


def test_the_search_finds_the_optimum_of_a_known_function() -> None:
    best = np.array([0.7, -1.2, 0.4])
    parents = np.random.default_rng(1).standard_normal((25, 3))

    def worth(plans: np.ndarray) -> np.ndarray:
        return 5 - np.square(plans / 2 - best).sum(1)

    plan, value = search(lambda z: 2 * z, worth, parents, np.random.default_rng(0))
    assert plan / 2 == pytest.approx(best, abs=0.05)
    assert value == pytest.approx(5, abs=0.01) and value == worth(plan[None])[0]


@given(seed=st.integers(0, 200), parents=st.integers(1, 30))
def test_the_search_never_ends_below_its_parents(seed: int, parents: int) -> None:
    rng = np.random.default_rng(seed)
    first, direction = rng.standard_normal((parents, 2)), rng.standard_normal(2)

    def worth(plans: np.ndarray) -> np.ndarray:
        return np.sin(3 * (plans * direction).sum(1))

    plan, value = search(lambda z: z, worth, first, rng)
    assert value >= worth(first).max() and value == worth(plan[None])[0]


def test_a_worth_that_is_not_finite_is_never_chosen() -> None:
    def worth(plans: np.ndarray) -> np.ndarray:
        return np.where(plans[:, 0] > 0, -np.inf, plans[:, 0])

    parents = np.linspace(-1, 1, 10)[:, None]
    plan, _ = search(lambda z: z, worth, parents, np.random.default_rng(0))
    assert -0.1 < plan[0] <= 0


def test_the_parents_are_the_runs_that_end_best(lode: LODE, series: np.ndarray) -> None:
    final = series[:, -1, METRIC]
    order = np.argsort(-final, kind="stable")
    expected = lode.encode_series(np.arange(1, 31) / 30, series[order[:5]]).double().numpy()
    assert np.array_equal(starting_latents(lode, series, 5), expected)
    assert len(starting_latents(lode, series)) == 18, "there are no more"


@given(seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1.0, 1e3, 1e6]))
def test_plans_lie_within_the_fitted_range(seed: int, scale: float) -> None:
    channels = Channels(-0.01, 1e-3, (0.0, 0.1), (0.0, 0.0, -4.0), (1.0, 1.0, 1.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lode = LODE(LODEConfig(channels, points=12, latent=4, hidden=5))
    plans = decode_plans(lode, scale * np.random.default_rng(seed).standard_normal((7, 4)))
    assert plans.shape == (7, 13)
    assert (plans >= channels.lowest_lr).all() and (plans <= 0.1).all()
    assert channels.lowest_lr == 1e-9, "a schedule that ends at 0 still gives positive rates"


def test_plans_are_what_the_lode_decodes(lode: LODE, series: np.ndarray) -> None:
    latents = starting_latents(lode, series, 4)
    rates = lode.decode_series(torch.as_tensor(latents).float(), np.arange(31) / 30, coarse=True)[
        ..., LR
    ]
    low, high = lode.config.channels.lr_range
    assert np.array_equal(decode_plans(lode, latents), np.clip(rates, low, high))


def test_the_first_proposal_is_what_all_like_best_the_others_what_some_do(
    lode: LODE, judge: Judge, series: np.ndarray
) -> None:
    plans = propose_plans(lode, judge, series, 4, np.random.default_rng(0))
    assert plans.shape == (4, 31) and len(np.unique(plans, axis=0)) > 1
    judged = judge.final_metric(plans)
    parents = judge.final_metric(decode_plans(lode, starting_latents(lode, series)))
    assert judged[:, 0].mean() >= parents.mean(0).max()
    weights = np.random.default_rng(0).dirichlet(np.ones(3))  # of the second, drawn first
    assert weights @ judged[:, 1] >= (weights @ parents).max()
    again = propose_plans(lode, judge, series, 4, np.random.default_rng(0))
    assert np.array_equal(plans, again)


@given(
    seed=st.integers(0, 10_000),
    points=st.integers(10, 200),
    low=st.floats(1e-4, 1e-2),
    factor=st.floats(1, 100),
)
def test_random_shapes_rise_then_fall_and_are_positive(
    seed: int, points: int, low: float, factor: float
) -> None:
    high = low * factor
    shapes = random_shapes(3, points, (low, high), np.random.default_rng(seed))
    assert shapes.shape == (3, points + 1)
    assert (shapes > 0).all() and (shapes <= high * (1 + 1e-9)).all()
    for shape in shapes:
        top = int(shape.argmax())
        assert (np.diff(shape[: top + 1]) >= -1e-15).all()
        assert (np.diff(shape[top:]) <= 1e-15).all()
        assert top <= points // 2 + 1
        assert low * 1e-4 * 0.999 <= shape[-1] <= 0.1 * high * 1.001


def test_random_shapes_differ_and_repeat() -> None:
    one, again, other = (
        random_shapes(20, 50, (0.01, 0.1), np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    warmed = one[:, 0] < 0.9 * one.max(1)
    assert 0 < warmed.sum() <= 20 and len(set(one.argmax(1))) > 5
