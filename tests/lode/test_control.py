"""Our controller, step by step and as the scheduler drives it, on laws that are known."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lode.algorithm1 import Decision, propose
from components.lode.channels import Channels
from components.lode.control import NO_GAIN, NOTHING_LIKE_IT, candidates, continued, improve, near
from components.lode.errors import LODEError
from components.lode.judge import Judge, JudgeConfig, Scales
from components.lode.model import LODE, LODEConfig
from components.lode.opening import Opening, with_start
from components.lode.scheduler import LODEScheduler, load_scheduler
from components.schedulers.parametric import learning_rate

CHANNELS = Channels(-0.01, 1e-3, (1e-6, 0.1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SCALES = Scales(0.001, 0.1, -0.01, 1.05, 0.05, (-3.0, 1.0), (-0.5, 1.0), (0.8, 0.7))
T, MU = 10, 3
INITIAL = tuple(0.01 * (i + 1) for i in range(T))
PLAN = np.linspace(0.05, 0.01, T + 1)


class Toy:
    """A LODE whose trajectories are known: with latent a, the loss falls as 1 - t, the metric
    rises as t, and the rate falls as (1 + a) · 0.04 · (1.2 - t)."""

    def __init__(self, loss_at: float = 0.0, updates: int = 50) -> None:
        self.config = LODEConfig(CHANNELS, points=T, updates=updates, initial_schedule=INITIAL)
        self.loss_at = loss_at
        self.seen: list[np.ndarray] = []

    def encode_series(self, times: np.ndarray, series: np.ndarray) -> torch.Tensor:
        self.seen.append(np.array(times))
        return torch.zeros(len(series), 1, dtype=torch.float64)

    def decode_series(
        self, z0: torch.Tensor, times: np.ndarray, coarse: bool = False
    ) -> np.ndarray:
        a, t = z0.numpy(), np.asarray(times)[None]
        loss = np.broadcast_to(1 - t + self.loss_at, (len(a), len(times)))
        return np.stack((loss, t + 0 * a, (1 + a) * 0.04 * (1.2 - t)), -1)


class Fan(Judge):
    """A judge of two members to whom the final metric is a slope times the mean rate ahead."""

    def __init__(self, slopes: tuple[float, float] = (1.0, 1.0), error: float = 0.0) -> None:
        super().__init__(JudgeConfig(SCALES, 2, error=error, opening=Opening(tuple(PLAN))))
        self.slopes = np.array(slopes)

    def final_metric(
        self,
        tables: np.ndarray,
        h: torch.Tensor | None = None,
        start: int = 0,
        unit: int | None = None,
    ) -> np.ndarray:
        return self.slopes[:, None] * np.asarray(tables)[:, start:].mean(1)


def a_judge(plan: tuple[float, ...] = tuple(PLAN), error: float = 1e-6) -> Judge:
    """A real one of random weights; what it believes is nonsense, but always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = Judge(JudgeConfig(SCALES, 3, error=error, opening=Opening(plan)))
        judge.gain.data = 0.2 * torch.randn_like(judge.gain)
    return judge.eval()


def observed(points: int, slope: float = 0.1) -> np.ndarray:
    """The first points of a run whose loss falls as the toy's."""
    k = np.arange(1, points + 1)
    return np.column_stack([1 - slope * k, 0.1 * k, PLAN[k]])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# ------------------------------------------------------------- the steps


def test_only_times_about_now_are_like_it() -> None:
    similar = np.ones((2, 11), dtype=bool)
    similar[1, 5] = False
    found = near(similar, 6, 2)
    assert np.flatnonzero(found[0]).tolist() == [4, 5, 6, 7, 8]
    assert np.flatnonzero(found[1]).tolist() == [4, 6, 7, 8]


def test_a_samples_rates_are_continued_by_hand() -> None:
    """From t_k = 1 on they are 2, 4, 8, 16; the factor 8/2 = 4 falls to 2 and then to 1."""
    lrs = np.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    assert continued(lrs, np.array([1]), 8.0, 4, 2).tolist() == [[8.0, 8.0, 8.0, 16.0]]


@given(
    lrs=st.lists(st.floats(1e-6, 1), min_size=12, max_size=12),
    t_k=st.integers(0, 4),
    now=st.floats(1e-6, 1),
    mu=st.integers(2, 6),
)
def test_it_is_continuous_now_and_its_own_after_mu_points(
    lrs: list[float], t_k: int, now: float, mu: int
) -> None:
    rates = continued(np.array([lrs]), np.array([t_k]), now, 8, mu)[0]
    assert rates[0] == pytest.approx(now)
    assert rates[mu:].tolist() == lrs[t_k + mu : t_k + 8]
    assert (rates > 0).all()


def test_candidates_have_the_plans_past_and_the_samples_future() -> None:
    latents = torch.tensor([[0.0], [0.5], [40.0]]).double()
    accepted, t_k, tables = candidates(Toy(), observed(4, 0.1), PLAN, MU, latents)
    # ± 2 · 0.1 · sqrt(2/3) of the loss of point 4 is met at k = 3, 4, 5; the rate is highest at 3.
    assert accepted.tolist() == [0, 1, 2] and t_k.tolist() == [3, 3, 3]
    assert (tables[:, :5] == PLAN[:5]).all()
    own = 0.04 * (1.2 - np.arange(3 + MU, 3 + T - 4 + 1) / T)
    assert tables[0, 4 + MU :] == pytest.approx(own)
    assert tables[1, 4 + MU :] == pytest.approx(1.5 * own)
    assert tables[2].max() == 0.1, "no rate above those of the sweep"


def test_a_sample_with_another_loss_now_is_no_candidate() -> None:
    latents = torch.zeros(3, 1).double()
    for away, count in ((0.0, 3), (0.4, 3), (0.47, 0), (-0.4, 3), (-0.47, 0)):
        # Losses are met at other times; within μ = 3 points of now they differ by up to 0.3.
        accepted, _, _ = candidates(Toy(away), observed(4, 0.1), PLAN, MU, latents)
        assert len(accepted) == count


def decide(judge: Judge, toy: Toy | None = None, **changes: Any) -> Decision:
    options = {"mu": MU, "n": 8, "sigma": 0.5, "caution": 1.0, "rng": rng()} | changes
    return improve(toy or Toy(), judge, observed(4), PLAN, **options)


def test_the_whole_decision_worked_out_by_hand() -> None:
    toy = Toy()
    decision = decide(Fan(), toy)
    assert toy.seen[0] == pytest.approx([0.1, 0.2, 0.3, 0.4]), "the whole history is encoded"
    z = propose(torch.zeros(1).double(), 8, 0.5, rng())
    _, _, tables = candidates(Toy(), observed(4), PLAN, MU, z)
    means = tables[:, 4:].mean(1)
    best = np.argsort(-means)[:3]
    assert (decision.point, decision.samples, decision.accepted) == (4, 8, 8)
    assert decision.chosen == tuple(best) and decision.kept is None
    assert decision.lrs == pytest.approx(tables[best].mean(0)[4:])
    assert decision.gain == pytest.approx(means[best].mean() - PLAN[4:].mean())
    assert decision.predicted == pytest.approx(PLAN[4:].mean())
    assert decision.spread == 0


def test_it_leaves_the_plan_only_for_a_gain_above_the_doubt() -> None:
    """The doubt is the judge's error and, at right angles to it, its members' disagreement."""
    slopes = (0.8, 1.2)
    gain = decide(Fan(slopes)).gain
    assert gain is not None and gain > 0
    error = math.sqrt(gain**2 - (0.2 * gain) ** 2)
    for factor, kept in ((0.99, None), (1.01, NO_GAIN)):
        decision = decide(Fan(slopes, factor * error))
        assert decision.kept == kept and bool(decision.lrs) == (kept is None)
        assert decision.gain == pytest.approx(gain) and len(decision.chosen) == 3
    assert decide(Fan(slopes, 0.49 * error), caution=2.0).kept == NO_GAIN
    assert decide(Fan((1.0, 1.0), 0.49 * gain), caution=2.0).kept is None


def test_without_caution_any_gain_is_followed_and_no_loss() -> None:
    assert decide(Fan(error=1e9), caution=0.0).kept is None
    lower = decide(Fan((-1.0, -1.0), 1e9), caution=0.0)  # who likes low rates finds low ones
    assert lower.kept is None and np.mean(lower.lrs) < PLAN[4:].mean()
    alone = decide(Fan((-1.0, -1.0)), caution=0.0, n=1, sigma=0.0)  # the only one has higher rates
    assert (alone.kept, alone.lrs) == (NO_GAIN, ()) and alone.gain is not None and alone.gain < 0


def test_caution_prefers_what_the_members_agree_on() -> None:
    """A gain that one member sees alone is worth less, the more cautious one is."""
    split = Fan((3.0, -1.0))
    assert decide(split, caution=0.0).kept is None
    assert decide(split, caution=1.0).kept == NO_GAIN


def test_nothing_like_the_run_keeps_the_plan_and_says_what_it_expects() -> None:
    decision = decide(Fan(), Toy(loss_at=100.0))
    assert (decision.accepted, decision.chosen, decision.lrs) == (0, (), ())
    assert decision.kept == NOTHING_LIKE_IT and decision.gain is None
    assert decision.predicted == pytest.approx(PLAN[4:].mean())


# ------------------------------------------------------------- the scheduler


def scheduler(lode: Toy | None = None, judge: Judge | None = None, **changes: Any) -> LODEScheduler:
    options = {
        "updates": 50,
        "points": T,
        "mu": MU / T,
        "n": 8,
        "sigma": 0.5,
        "caution": 0.0,
        "seed": 7,
    } | changes
    return LODEScheduler(lode or Toy(), judge=judge or a_judge(), **options)


def drive(run: LODEScheduler, first: int, last: int) -> list[float]:
    """Observe log points first … last of a run whose loss falls as the toy's; rates applied."""
    rates = []
    points, updates = run.settings["points"], run.settings["updates"]
    for point in range(first, last + 1):
        rates.append(run.lr(round(point * updates / points) - 1))
        run.observe(point, 1 - point / points, point / points, rates[-1])
    return rates


def test_a_run_begins_with_the_judges_plan_linear_between_points() -> None:
    run = scheduler()
    assert run.lr(0) == PLAN[0]
    assert [run.lr(5 * p - 1) for p in range(1, T + 1)] == pytest.approx(PLAN[1:])
    assert run.lr(6) == pytest.approx(PLAN[1] + (PLAN[2] - PLAN[1]) * 2 / 5)
    drive(run, 1, MU - 1)
    assert not run.decisions
    drive(run, MU, T)
    assert [d["point"] for d in run.decisions] == [3, 6, 9]


def test_without_a_plan_it_begins_with_the_sweeps_best_schedule() -> None:
    run = scheduler(judge=a_judge(plan=()))
    assert [run.lr(5 * p - 1) for p in range(1, T + 1)] == pytest.approx(INITIAL)
    assert run.lr(0) == max(with_start(np.array(INITIAL))[0], 1e-6)


def test_with_no_plan_it_is_the_sweeps_best_to_the_bit_until_a_decision() -> None:
    judge = a_judge(plan=(), error=math.inf)
    judge.config = replace(judge.config, opening=Opening(schedule=("onecycle", 0.05)))
    run = scheduler(judge=judge, updates=57)
    expected = [learning_rate("onecycle", step, 57, 0.05) for step in range(57)]
    drive(run, 1, T)
    assert [run.lr(step) for step in range(57)] == expected
    resumed = scheduler(judge=judge, updates=57)
    resumed.load_state_dict(json.loads(json.dumps(run.state_dict())))
    assert [resumed.lr(step) for step in range(57)] == expected
    fan = Fan()
    fan.config = replace(fan.config, opening=Opening(schedule=("onecycle", 0.05)))
    left = scheduler(judge=fan)
    drive(left, 1, MU)
    assert left.decisions[0]["kept"] is None
    assert left.lr(49) != learning_rate("onecycle", 49, 50, 0.05)


@pytest.mark.parametrize("points", [5, 20, 25])
def test_another_number_of_points_stretches_the_plan(points: int) -> None:
    run = scheduler(points=points)
    wanted = np.interp(np.arange(1, points + 1) / points, np.arange(T + 1) / T, PLAN)
    steps = [round(50 * p / points) - 1 for p in range(1, points + 1)]
    assert [run.lr(step) for step in steps] == pytest.approx(wanted)
    drive(run, 1, points)
    assert all(d["samples"] == 8 for d in run.decisions), "it decides there too"


def test_another_number_of_updates_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="fitted on runs of 50 updates, this run has 60"):
        scheduler(updates=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler(updates=50)
        scheduler(Toy(updates=0), updates=60)  # a LODE of before that was known


def test_the_past_of_the_plan_is_never_changed_and_its_future_is() -> None:
    run, plans = scheduler(), []
    for point in range(1, T + 1):
        drive(run, point, point)
        plans.append([run.lr(step) for step in range(50)])
    for point, (before, after) in enumerate(itertools.pairwise(plans), 2):
        assert after[: 5 * point] == pytest.approx(before[: 5 * point], rel=1e-12)
    assert plans[-1] != plans[0], "it never left the plan, which proves nothing"
    changed = [d for d in run.decisions if d["kept"] is None]
    assert changed and all(d["gain"] > 0 for d in changed)


def test_a_decisions_rates_are_those_in_force() -> None:
    run = scheduler(judge=Fan())
    drive(run, 1, MU)
    (decision,) = run.decisions
    expected = improve(
        Toy(),
        Fan(),
        np.array(run._observed),
        PLAN,
        mu=MU,
        n=8,
        sigma=0.5,
        caution=0.0,
        rng=np.random.default_rng([7, MU]),
    )
    assert [run.lr(5 * p - 1) for p in range(MU, T + 1)] == pytest.approx(expected.lrs)
    assert decision["lrs"] == pytest.approx(expected.lrs[1 : MU + 1]), "those at the next points"
    assert decision["replaced"] == pytest.approx(PLAN[MU + 1 : 2 * MU + 1])
    assert json.loads(json.dumps(run.decisions, allow_nan=False)) == run.decisions


def test_a_very_cautious_run_keeps_its_plan() -> None:
    rates = drive(scheduler(judge=Fan(error=1.0), caution=1e9), 1, T)
    assert rates == pytest.approx(PLAN[1:])


@pytest.mark.parametrize("stop", [2, 3, 7])
def test_a_killed_run_continues_bit_for_bit(stop: int) -> None:
    whole = scheduler()
    expected = drive(whole, 1, T)
    assert any(d["kept"] is None for d in whole.decisions)
    first = scheduler()
    rates = drive(first, 1, stop)
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = scheduler()
    second.load_state_dict(state)
    rates += drive(second, stop + 1, T)
    assert rates == expected
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_observation_that_is_not_finite_keeps_the_plan_from_there_on(
    bad: float, channel: int
) -> None:
    """The whole history is encoded, so a gap in it ends the decisions of this run."""
    run = scheduler()
    row = [0.9, 0.1, 0.05]
    row[channel] = bad
    run.observe(1, *row)
    rates = drive(run, 2, T)
    assert rates == pytest.approx(PLAN[2:])
    assert {d["kept"] for d in run.decisions} == {"observations not finite"}
    json.dumps([run.decisions, run.state_dict()], allow_nan=False)


@settings(max_examples=30)
@given(losses=st.lists(st.floats(-1e300, 1e300), min_size=T, max_size=T), seed=st.integers(0, 9))
def test_the_rate_is_positive_and_finite_whatever_is_observed(
    losses: list[float], seed: int
) -> None:
    run = scheduler(seed=seed)
    for point, loss in enumerate(losses, 1):
        run.observe(point, loss, loss, 0.1)
    rates = [run.lr(step) for step in range(60)]
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)
    json.dumps(run.decisions, allow_nan=False)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_near_the_largest_float_leave_decisions_that_can_be_written() -> None:
    run = scheduler()
    for point in range(1, T + 1):
        run.observe(point, 1 - point / T, 1e308 if point < 4 else -1e308, 0.05)
    json.dumps(run.decisions, allow_nan=False)


def test_a_plan_of_zeros_is_lifted_to_the_smallest_rate_of_the_sweep() -> None:
    run = scheduler(judge=a_judge(plan=(0.0,) * (T + 1)))
    assert run.lr(0) == run.lr(49) == 1e-6


def test_seeds_differ_and_repeat() -> None:
    runs = [drive(scheduler(seed=seed), 1, T) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_without_a_judge_it_is_refused() -> None:
    with pytest.raises(LODEError, match="needs a judge; run `lode fit`, or take `paper`"):
        LODEScheduler(Toy(), updates=50, points=T)


def test_a_state_of_the_other_controller_is_refused() -> None:
    paper = LODEScheduler(Toy(), updates=50, points=T, mu=MU / T, controller="paper")
    with pytest.raises(LODEError, match="state of a scheduler with"):
        scheduler().load_state_dict(paper.state_dict())


def test_from_a_folder_with_a_judge_and_without(tmp_path: Path) -> None:
    LODE(replace(Toy().config, latent=4, hidden=4)).save(tmp_path)
    options: dict[str, Any] = {"updates": 50, "points": T, "mu": MU / T}
    with pytest.raises(LODEError, match=r"judge\.json: no such file; run `lode fit` first"):
        load_scheduler(tmp_path, **options)
    assert load_scheduler(tmp_path, **options, controller="paper").lr(0) == INITIAL[0]
    a_judge().save(tmp_path)
    assert load_scheduler(tmp_path, **options).lr(0) == PLAN[0]
