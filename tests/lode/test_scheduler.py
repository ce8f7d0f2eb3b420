"""Algorithm 1, step by step, and the scheduler that follows it, on trajectories small enough to
work out by hand. The default controller is tested in test_control.py."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lode.algorithm1 import (
    accept,
    average,
    best_samples,
    decide,
    encode,
    matching_time,
    propose,
    score,
)
from components.lode.channels import Channels
from components.lode.errors import LODEError
from components.lode.model import LODEConfig
from components.lode.scheduler import LODEScheduler
from components.lode.settings import as_shares
from components.schedulers.parametric import learning_rate
from components.schedulers.plan import parametric_table

CHANNELS = Channels(-0.01, 1e-3, (1e-6, 0.1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
T = 10
INITIAL = tuple(0.01 * (i + 1) for i in range(T))


class Toy:
    """A LODE whose trajectories are known: with latent a, loss falls as 1 - t, the metric rises
    as t + a and the lr as (1 + a) · 0.1 · t (t in training lengths, also beyond 1)."""

    def __init__(self, initial: tuple[float, ...] = INITIAL, loss_at: float = 0.0) -> None:
        self.config = LODEConfig(CHANNELS, points=T, initial_schedule=initial)
        self.loss_at = loss_at
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []
        self.decoded: list[np.ndarray] = []

    def encode_series(self, times: np.ndarray, series: np.ndarray) -> torch.Tensor:
        self.seen.append((np.array(times), np.array(series)))
        return torch.zeros(len(series), 1, dtype=torch.float64)

    def decode_series(
        self, z0: torch.Tensor, times: np.ndarray, coarse: bool = False
    ) -> np.ndarray:
        self.decoded.append(np.array(times))
        a, t = z0.numpy(), np.asarray(times)[None]
        loss = np.broadcast_to(1 - t + self.loss_at, (len(a), len(times)))
        return np.stack((loss, t + a, np.maximum((1 + a) * 0.1 * t, 0)), -1)


def window(last: float, spread: float = 0.04) -> np.ndarray:
    """Three points ending at loss `last`, with a (population) standard deviation of `spread`."""
    step = spread * math.sqrt(1.5)
    return np.array([[last + 2 * step, 0.1, 0.01], [last + step, 0.2, 0.01], [last, 0.3, 0.01]])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_step_1_encodes_the_window_at_its_absolute_times() -> None:
    toy = Toy()
    encode(toy, window(0.5), point=6, points=T)
    times, series = toy.seen[0]
    assert np.allclose(times, [0.4, 0.5, 0.6])
    assert np.array_equal(series[0], window(0.5))


def test_step_2_keeps_the_direct_latent_and_spreads_the_others_by_sigma() -> None:
    z0 = torch.tensor([1.0, -2.0], dtype=torch.float64)
    z = propose(z0, 4000, 0.15, rng())
    assert torch.equal(z[0], z0)
    assert torch.allclose((z[1:] - z0).mean(0), torch.zeros(2).double(), atol=0.01)
    assert torch.allclose((z[1:] - z0).std(0), torch.full((2,), 0.15).double(), atol=0.01)
    assert torch.equal(z, propose(z0, 4000, 0.15, rng()))
    assert torch.equal(propose(z0, 1, 0.15, rng()), z0[None])


def test_step_3_is_strict_and_asks_for_any_time() -> None:
    losses = np.array([[1.0, 0.5, 0.25], [2.0, 2.0, 2.0]])
    assert accept(losses, 0.5, 0.25).tolist() == [[False, True, False], [False] * 3]
    assert accept(losses, 0.5, 0.26).tolist() == [[False, True, True], [False] * 3]
    assert not accept(losses, 0.5, 0.0).any()


def test_step_4_takes_the_similar_time_with_the_highest_rate() -> None:
    similar = np.array([[True, False, True], [True, True, False], [False] * 3])
    lrs = np.array([[0.1, 0.9, 0.2], [0.3, 0.3, 0.4], [1.0, 1.0, 1.0]])
    assert matching_time(similar, lrs).tolist() == [2, 0, -1]


def test_step_4_scores_at_the_matching_time_plus_the_horizon() -> None:
    metrics = np.arange(12.0).reshape(3, 4)
    assert score(metrics, np.array([2, 0, -1]), 1).tolist() == [3.0, 5.0, -math.inf]


def test_the_best_three_are_averaged_from_their_own_matching_times() -> None:
    scores = np.array([0.1, -math.inf, 0.7, 0.9, 0.7])
    chosen = best_samples(scores)
    assert chosen.tolist() == [3, 2, 4]  # best first; of equals the first
    lrs = np.arange(25.0).reshape(5, 5)
    t_k = np.array([0, -1, 1, 2, 0])
    # rows 3, 2, 4 after columns 2, 1, 0: (18, 19), (12, 13), (21, 22)
    assert average(lrs, t_k, chosen, 2).tolist() == [17.0, 18.0]


def test_fewer_than_three_are_averaged_too() -> None:
    assert best_samples(np.array([-math.inf, 0.2])).tolist() == [1]
    assert best_samples(np.array([-math.inf, -math.inf])).tolist() == []


def test_the_whole_decision_worked_out_by_hand() -> None:
    """Loss 0.5 ± 0.08 is met at k = 5 only (0.5; its neighbours are 0.1 away), so every sample
    matches there and the largest three latents win; the rates that follow are
    those of the intervals that end at k = 6, 7, …"""
    toy = Toy()
    decision = decide(toy, window(0.5), point=4, points=T, n=8, sigma=0.1, horizon=None, rng=rng())
    assert (decision.samples, decision.kept, decision.gain) == (8, None, None)
    a = propose(torch.zeros(1).double(), 8, 0.1, rng())[:, 0].numpy()
    best = np.argsort(-a)[:3]
    assert decision.accepted == 8
    assert decision.chosen == tuple(best)
    assert decision.t_k == (5, 5, 5)
    assert decision.predicted == pytest.approx((1.1 + a[best]).mean())  # k + Δt = 5 + 6 = 11
    assert decision.spread == pytest.approx(a[best].std())
    expected = [(1 + a[best].mean()) * 0.1 * (6 + j) / T for j in range(6)]
    assert decision.lrs == pytest.approx(expected)


def test_the_window_is_judged_by_its_last_loss_and_twice_its_deviation() -> None:
    # tolerance 0.24: k = 3 … 7 match 0.5; the lr grows with time, so t_k = 7
    decision = decide(
        Toy(), window(0.5, 0.12), point=4, points=T, n=3, sigma=0.0, horizon=None, rng=rng()
    )
    assert decision.t_k == (7, 7, 7)


def test_the_horizon_is_at_most_what_is_left() -> None:
    toy = Toy()
    options: dict[str, Any] = {"point": 4, "points": T, "n": 1, "sigma": 0.0}
    for horizon, ahead in ((1, 1), (3, 3), (6, 6), (9, 6), (None, 6)):
        decision = decide(toy, window(0.5), horizon=horizon, rng=rng(), **options)
        assert decision.predicted == pytest.approx((5 + ahead) / T)
    assert toy.decoded[0].min() == 0
    assert toy.decoded[0].max() >= (T + 6) / T  # t = 0 … T + Δt


def test_matching_times_end_with_the_run() -> None:
    toy = Toy(loss_at=0.2)  # loss 1.2 - t: 0.2 at k = 10, 0.1 only beyond T
    options: dict[str, Any] = {"point": 4, "points": T, "n": 1, "sigma": 0.0, "horizon": None}
    options["rng"] = rng()
    assert decide(toy, window(0.2), **options).t_k == (10,)
    assert decide(toy, window(0.1), **options).accepted == 0


@settings(max_examples=50, deadline=None)
@given(
    losses=st.lists(st.floats(-5, 5), min_size=4, max_size=4),
    loss=st.floats(-5, 5),
    tolerances=st.tuples(st.floats(0, 5), st.floats(0, 5)),
)
def test_a_wider_tolerance_accepts_no_less(
    losses: list[float], loss: float, tolerances: tuple[float, float]
) -> None:
    narrow, wide = sorted(tolerances)
    array = np.array([losses])
    assert not (accept(array, loss, narrow) & ~accept(array, loss, wide)).any()


@settings(max_examples=50, deadline=None)
@given(
    lrs=st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=3, max_size=3),
    t_k=st.lists(st.integers(0, 2), min_size=3, max_size=3),
)
def test_the_average_lies_within_its_members(lrs: list[list[float]], t_k: list[int]) -> None:
    array, times = np.array(lrs), np.array(t_k)
    found = average(array, times, np.arange(3), 2)
    members = np.stack([array[i, times[i] + 1 : times[i] + 3] for i in range(3)])
    assert (found >= members.min(0) - 1e-12).all() and (found <= members.max(0) + 1e-12).all()


def scheduler(lode: Toy | None = None, **changes: Any) -> LODEScheduler:
    options = {"updates": 50, "points": T, "mu": 0.3, "n": 8, "sigma": 0.1, "seed": 7} | changes
    return LODEScheduler(lode or Toy(), controller="paper", **options)


def drive(scheduler: LODEScheduler, first: int, last: int, loss: float = 0.0) -> list[float]:
    """Observe log points first … last of a run whose loss falls as 1 - t; the rates applied."""
    rates = []
    points, updates = scheduler.settings["points"], scheduler.settings["updates"]
    for point in range(first, last + 1):
        step = round(point * updates / points) - 1
        rates.append(scheduler.lr(step))
        value = 1 - point / points + loss + 0.02 * (point % 2)
        scheduler.observe(point, value, point / points, rates[-1])
    return rates


def test_the_best_schedule_of_the_sweep_is_followed_up_to_mu() -> None:
    run = scheduler()
    assert [run.lr(step) for step in (0, 4, 5, 14, 15)] == pytest.approx(
        [0.01, 0.01, 0.02, 0.03, 0.04]
    )
    drive(run, 1, 2)
    assert not run.decisions
    drive(run, 3, 3)
    assert [d["point"] for d in run.decisions] == [3]


def test_a_decision_sets_the_rates_from_its_point_on_and_holds_them_between_points() -> None:
    toy = Toy()
    run = scheduler(toy)
    drive(run, 1, 3)
    times, series = toy.seen[0]
    assert np.allclose(times, [0.1, 0.2, 0.3])
    expected = decide(
        Toy(),
        series[0],
        point=3,
        points=T,
        n=8,
        sigma=0.1,
        horizon=None,
        rng=np.random.default_rng([7, 3]),
    )
    assert run.lr(14) == pytest.approx(0.03)  # before point 3: not rewritten
    for j in range(T - 3):
        for step in range(5 * (3 + j), 5 * (4 + j)):
            assert run.lr(step) == expected.lrs[j]
    assert run.decisions[0]["lrs"] == list(expected.lrs[:3])
    assert run.decisions[0]["kept"] is None
    assert json.loads(json.dumps(run.decisions, allow_nan=False)) == run.decisions


class Oracle(Toy):
    """A LODE that decodes a run under OneCycle 0.05, N = 100, T = 20, exactly: every rate at the
    point where the history of such a run has it."""

    def __init__(self) -> None:
        self.table = parametric_table("onecycle", 0.05, 100, 20)
        super().__init__(initial=tuple(self.table[1:]))

    def decode_series(
        self, z0: torch.Tensor, times: np.ndarray, coarse: bool = False
    ) -> np.ndarray:
        rates = np.interp(times, np.arange(21) / 20, self.table)
        return np.tile(np.stack((1 - times, times, rates), -1), (len(z0), 1, 1))


def test_a_run_that_does_as_the_lode_foretells_keeps_to_the_schedule_that_it_decodes() -> None:
    """The rate at a log point is that of the interval which ends there, in a history, in the
    opening, and in a decision: after point 2 the run goes on with the rates at points 3, 4, 5."""
    due = [learning_rate("onecycle", 5 * point - 1, 100, 0.05) for point in range(1, 21)]
    run = scheduler(Oracle(), updates=100, points=20, mu=0.1, n=1)
    applied = []
    for point in range(1, 21):
        applied.append(run.lr(5 * point - 1))
        # Of a window of two the deviation is then so small that no other time has such a loss.
        run.observe(point, 1 - point / 20 - 0.01 * (point % 2), point / 20, applied[-1])
        if point == 2:
            ahead = [run.lr(step) for step in range(10, 25)]
            assert ahead[::5] == pytest.approx([0.02349, 0.03576, 0.04542], abs=5e-6)
            assert ahead == pytest.approx(np.repeat(due[2:5], 5))
    assert applied == pytest.approx(due, abs=CHANNELS.lowest_lr)
    assert [d["t_k"] for d in run.decisions] == [[point] for point in range(2, 20, 2)]


@pytest.mark.parametrize(("points", "every"), [(10, 2), (20, 2), (100, 5), (600, 30)])
def test_mu_is_a_share_of_the_run_and_two_points_at_least(points: int, every: int) -> None:
    run = scheduler(points=points, updates=600, mu=0.05)
    drive(run, 1, points)
    assert [d["point"] for d in run.decisions] == list(range(every, points, every))


def test_a_horizon_is_a_share_of_the_run() -> None:
    predicted = []
    for horizon in (0.1, 0.3, None):
        run = scheduler(horizon=horizon, n=1)
        drive(run, 1, 3)
        decision = run.decisions[0]
        predicted.append(decision["predicted"] - decision["t_k"][0] / T)
    assert predicted == pytest.approx([0.1, 0.3, 0.7])


def test_lengths_that_were_registered_in_log_points_become_shares() -> None:
    old = {"controller": "paper", "mu": 30, "horizon": 60, "n": 30}
    assert as_shares(old, 600) == {"controller": "paper", "mu": 0.05, "horizon": 0.1, "n": 30}
    assert as_shares({"mu": 5, "horizon": 0}, 100) == {"mu": 0.05, "horizon": None}
    new = {"mu": 0.05, "horizon": 1.0}
    assert as_shares(new, 100) == new
    assert as_shares(new | {"horizon": 0.0}, 100) == {"mu": 0.05, "horizon": None}


def test_decisions_are_made_every_mu_points_and_not_at_the_end() -> None:
    run = scheduler(points=9, updates=9)
    drive(run, 1, 9)
    assert [d["point"] for d in run.decisions] == [3, 6]


def test_no_accepted_sample_before_any_plan_keeps_the_best_schedule_of_the_sweep() -> None:
    run = scheduler(Toy(loss_at=100.0))
    rates = drive(run, 1, T)
    assert rates == pytest.approx(INITIAL)
    assert {d["kept"] for d in run.decisions} == {"no sample accepted"}
    assert all(d["accepted"] == 0 for d in run.decisions)


def test_no_accepted_sample_extends_the_last_plan() -> None:
    toy = Toy()
    run = scheduler(toy)
    drive(run, 1, 3)
    plan = [run.lr(5 * p) for p in range(3, T)]
    toy.loss_at = 100.0
    drive(run, 4, T)
    assert [run.lr(5 * p) for p in range(3, T)] == plan
    assert [d["kept"] for d in run.decisions] == [None, "no sample accepted", "no sample accepted"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_observations_that_are_not_finite_keep_the_plan(bad: float, channel: int) -> None:
    run = scheduler()
    row = [0.5, 0.5, 0.01]
    row[channel] = bad
    for point in range(1, T + 1):
        run.observe(point, *row)
    assert [run.lr(5 * p) for p in range(T)] == pytest.approx(INITIAL)
    assert {d["kept"] for d in run.decisions} == {"observations not finite"}
    json.dumps([run.decisions, run.state_dict()], allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(losses=st.lists(st.floats(-1e300, 1e300), min_size=T, max_size=T), seed=st.integers(0, 9))
def test_the_rate_is_positive_and_finite_whatever_is_observed(
    losses: list[float], seed: int
) -> None:
    run = scheduler(seed=seed)
    for point, loss in enumerate(losses, 1):
        run.observe(point, loss, loss, 0.1)
    rates = [run.lr(step) for step in range(60)]
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_rates_of_zero_become_the_smallest_of_the_sweep() -> None:
    run = scheduler(Toy(initial=(0.0,) * T))
    assert run.lr(0) == 1e-6


@pytest.mark.parametrize("points", [5, 25, 10])
def test_another_number_of_points_maps_by_fraction_of_the_training(points: int) -> None:
    toy = Toy()
    run = scheduler(toy, points=points, updates=100)
    for fraction in (0.0, 0.21, 0.59, 0.99):
        index = math.floor(fraction * points)
        assert run.lr(int(fraction * 100)) == pytest.approx(INITIAL[index * T // points])
    drive(run, 1, run.mu)
    assert np.allclose(toy.seen[0][0], np.arange(1, run.mu + 1) / points)
    assert toy.decoded[0][1] == pytest.approx(1 / points)


@pytest.mark.parametrize("stop", [2, 3, 7])
def test_a_killed_run_continues_bit_for_bit(stop: int) -> None:
    whole = scheduler()
    expected = drive(whole, 1, T)
    first = scheduler()
    rates = drive(first, 1, stop)
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = scheduler()
    second.load_state_dict(state)
    rates += drive(second, stop + 1, T)
    assert rates == expected
    assert second.decisions == whole.decisions
    assert second.state_dict() == whole.state_dict()


def test_a_state_of_other_settings_is_refused() -> None:
    with pytest.raises(LODEError, match="state of a scheduler with"):
        scheduler().load_state_dict(scheduler(mu=0.4).state_dict())


def test_seeds_differ_and_repeat() -> None:
    runs = [drive(scheduler(seed=seed), 1, T) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_points_out_of_order_are_refused() -> None:
    run = scheduler()
    run.observe(1, 1.0, 0.1, 0.01)
    for wrong in (1, 3, 0):
        with pytest.raises(LODEError, match=rf"log point {wrong} observed where 2 of 10 was due"):
            run.observe(wrong, 1.0, 0.1, 0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mu": 0},
        {"mu": 3},
        {"updates": 9},
        {"n": 0},
        {"sigma": -0.1},
        {"sigma": math.nan},
        {"horizon": 0},
        {"horizon": 11},
        {"caution": -0.1},
        {"caution": math.nan},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LODEError, match=next(iter(wrong))):
        scheduler(**wrong)


def test_an_unknown_controller_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(LODEError, match="unknown controller 'papr'; known: default, paper"):
        LODEScheduler(Toy(), updates=50, points=T, controller="papr")


def test_a_lode_without_an_initial_schedule_is_refused() -> None:
    with pytest.raises(LODEError, match="initial schedule"):
        scheduler(Toy(initial=()))
