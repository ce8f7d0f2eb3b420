"""A budget that changes during a run: its log points, the new plan, and the run that goes on."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lode.budget import (
    AGAIN,
    DECAY,
    PROPOSED,
    STRETCHED,
    Change,
    decays,
    log_steps_after,
    replan,
    stretched,
)
from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.lode.scheduler import LODEScheduler
from components.storage.typed import DamagedError
from components.training.run import log_steps
from tests.lode.test_control import (
    INITIAL,
    MU,
    PLAN,
    Fan,
    T,
    Toy,
    a_judge,
    observed,
    rng,
    scheduler,
)

CHANGE = Change(20, 35)
N = 50  # updates of a run here, 5 from one log point to the next

# ------------------------------------------------------------- log points


def test_log_points_keep_their_distance_worked_out_by_hand() -> None:
    ends = log_steps(50, 10)
    assert log_steps_after(ends, 20, 35, 5.0) == (4, log_steps(35, 7))
    assert log_steps_after(ends, 20, 75, 5.0) == (4, log_steps(75, 15))
    assert log_steps_after(ends, 22, 36, 5.0) == (4, [5, 10, 15, 20, 25, 31, 36])
    assert log_steps_after(ends, 0, 3, 5.0) == (0, [3])
    assert log_steps_after(ends, 24, 28, 5.0) == (4, [5, 10, 15, 20, 28]), "24 is done already"


@given(points=st.integers(2, 60), every=st.integers(1, 9), data=st.data(), more=st.integers(1, 400))
def test_log_points_that_passed_stay_and_the_others_come(
    points: int, every: int, data: st.DataObject, more: int
) -> None:
    ends = log_steps(points * every, points)
    done = data.draw(st.integers(0, ends[-1] - 1))
    passed, found = log_steps_after(ends, done, done + more, float(every))
    assert found[:passed] == [end for end in ends if end <= done]
    assert found[passed] > done and found[-1] == done + more
    assert all(a < b for a, b in itertools.pairwise([0, *found]))
    if done == (ends[passed - 1] if passed else 0) and more % every == 0:
        assert np.diff([done, *found[passed:]]).tolist() == [every] * (more // every)


# ------------------------------------------------------------- the new plan


def test_a_plan_is_stretched_by_hand() -> None:
    plan = np.array([9.0, 8.0, 4.0, 0.0])
    assert stretched(plan, 3, 1, 5).tolist() == [9.0, 8.0, 6.0, 4.0, 2.0, 0.0]
    assert stretched(plan, 3, 1, 2).tolist() == [9.0, 8.0, 0.0]
    held = np.array([9.0, 8.0, 4.0])
    assert stretched(held, 3, 1, 5).tolist() == [9.0, 8.0, 8.0, 4.0, 4.0]


@given(st.lists(st.floats(1e-9, 1e3), min_size=3, max_size=20), st.data(), st.integers(1, 40))
def test_stretched_it_has_the_same_past_end_and_range(
    rates: list[float], data: st.DataObject, more: int
) -> None:
    plan, points = np.array(rates), len(rates) - 1
    passed = data.draw(st.integers(0, points - 1))
    found = stretched(plan, points, passed, passed + more)
    assert found[: passed + 1].tolist() == rates[: passed + 1] and found[-1] == rates[-1]
    assert plan.min() <= found.min() and found.max() <= plan.max()
    assert stretched(plan, points, passed, points) == pytest.approx(plan)


def test_a_decay_holds_the_rate_and_falls_over_the_last_part() -> None:
    at_once, half, fifth = decays(0.5, 0.1, 11)
    assert at_once == pytest.approx(0.1 + 0.2 * (1 + np.cos(np.pi * np.arange(11) / 10)))
    assert half[:6] == pytest.approx(0.5) and half[6] < 0.5
    assert fifth[:9] == pytest.approx(0.5) and fifth[9] == pytest.approx(0.3)
    assert [at_once[-1], half[-1], fifth[-1]] == pytest.approx([0.1] * 3)


def planned(judge: Judge, points: int = 15, seen: int = 4, **changes: Any) -> Any:
    plan = stretched(PLAN, T, 4, points)
    options = {"passed": 4, "mu": MU, "n": 8, "sigma": 0.5, "caution": 1.0, "unit": T}
    options |= {"again": np.full(points + 1, 0.02), "state": None, "rng": rng()} | changes
    again = options.pop("again")
    return plan, *replan(Toy(), judge, observed(seen), plan, again, **options)  # type: ignore[arg-type]


def test_the_judge_chooses_among_all_that_is_proposed() -> None:
    """Who likes high rates takes the LODE's, whose best three are averaged at most; who likes low
    ones takes a decay; and an opening that is better than all of them is taken."""
    plan, table, said = planned(Fan())
    assert said["chosen"] == PROPOSED and said["gain"] > 0
    assert said["expected"] == pytest.approx(table[4:].mean()) and said["spread"] == 0
    assert said["gain"] == pytest.approx(table[4:].mean() - plan[4:].mean())
    _, low, said = planned(Fan((-1.0, -1.0)), seen=0)
    assert said["chosen"] == DECAY and low[-1] == pytest.approx(Toy().config.channels.lowest_lr)
    _, high, said = planned(Fan(), again=np.full(16, 0.1))
    assert said["chosen"] == AGAIN and high[4 + MU :] == pytest.approx(0.1)
    for found in (table, low, high):
        assert found[:5].tolist() == PLAN[:5].tolist(), "the past, and the rate in force"


def test_what_the_members_do_not_agree_on_is_not_followed() -> None:
    plan, table, said = planned(Fan((3.0, -1.0)))
    assert said["chosen"] == STRETCHED and table.tolist() == plan.tolist()
    assert planned(Fan((3.0, -1.0)), caution=0.0)[2]["chosen"] == PROPOSED
    assert planned(Fan(), caution=math.inf)[2]["chosen"] == STRETCHED


def test_the_stretched_plan_stays_unless_a_gain_is_above_the_judges_error() -> None:
    gain = planned(Fan())[2]["gain"]
    for error, chosen in ((0.99 * gain, PROPOSED), (1.01 * gain, STRETCHED)):
        plan, table, said = planned(Fan(error=error))
        assert said["chosen"] == chosen and said["gain"] == pytest.approx(gain)
        assert (table.tolist() == plan.tolist()) == (chosen == STRETCHED)
        assert said["expected"] == pytest.approx(table[4:].mean())
    assert planned(Fan(error=0.9 * gain), caution=2.0)[2]["chosen"] == STRETCHED
    assert planned(Fan(error=1e9), caution=0.0)[2]["chosen"] == PROPOSED


# ------------------------------------------------------------- the run


def go(run: LODEScheduler, last: int) -> list[float]:
    """Observe up to log point `last`; the rates of the updates on the way."""
    rates: list[float] = []
    for point in range(len(run._observed) + 1, last + 1):
        begin = run.steps[point - 2] if point > 1 else 0
        rates += [run.lr(step) for step in range(begin, run.steps[point - 1])]
        run.observe(point, 1 - point / run.points, point / run.points, rates[-1])
    return rates


@pytest.mark.parametrize(("steps", "points"), [(35, 7), (75, 15)])
def test_what_is_done_stays_and_the_rest_is_the_judges_choice(steps: int, points: int) -> None:
    judge = Fan((-1.0, -1.0), error=math.inf)  # which leaves decisions without effect
    run, doubtful = scheduler(judge=judge, caution=1.0), judge.config
    before = go(run, 4)
    judge.config = replace(doubtful, error=0.0)
    run.set_total_steps(steps)
    judge.config = doubtful
    assert (run.updates, run.points, run.steps) == (steps, points, log_steps(steps, points))
    assert [run.lr(step) for step in range(20)] == before
    assert run.lr(steps - 1) < run.lr(20) < PLAN[4]
    (change,) = run.budgets
    assert (change.done, change.updates, change.decisions) == (20, steps, 1)
    assert change.gain is not None and change.gain > 0 and change.chosen != STRETCHED
    assert run.expected() == (change.expected, change.spread)
    go(run, points)
    assert [d["point"] for d in run.decisions] == list(range(MU, points, MU))
    with pytest.raises(LODEError, match=f"log point {points + 1} observed"):
        run.observe(points + 1, 0.1, 0.9, 0.01)


def test_the_judge_counts_in_updates_of_the_length_that_was_fitted() -> None:
    """Stretched to 15 of 10 points without a word of the LODE's, the plan is worth what the judge
    foretells after 1.5 of its units of time."""
    judge = a_judge(error=math.inf)
    run = scheduler(judge=judge, caution=1e12)
    go(run, 4)
    run.set_total_steps(75)
    change, seen = run.budgets[0], np.array(run._observed)
    assert change.chosen == STRETCHED
    state = judge.follow(seen, float(PLAN[0]), MU, T)
    table = stretched(PLAN, T, 4, 15)
    drive = torch.as_tensor(judge.config.scales.drive((table[5:] + table[4:-1]) / 2)).float()
    with torch.no_grad():
        y, _ = judge(state, drive[None], np.full(11, 1 / T))
    final = judge.config.scales.to_metric(y[:, 0, -1, 1].double().numpy())
    assert change.expected == pytest.approx(final.mean(), rel=1e-5)


@pytest.mark.parametrize("controller", ["default", "paper"])
@pytest.mark.parametrize("at", [0, 4])
def test_the_same_number_changes_nothing(controller: str, at: int) -> None:
    runs = [scheduler(controller=controller) for _ in range(2)]
    for run in runs:
        go(run, at)
    runs[0].set_total_steps(N)
    assert runs[0].state_dict() == runs[1].state_dict() and not runs[0].budgets
    assert go(runs[0], T) == go(runs[1], T)


@settings(max_examples=40, deadline=None)
@given(
    losses=st.lists(st.floats(-1e300, 1e300), min_size=30, max_size=30),
    at=st.integers(0, T - 1),
    steps=st.lists(st.integers(1, 150), min_size=1, max_size=3),
    controller=st.sampled_from(["default", "paper"]),
)
def test_rates_are_positive_and_finite_whatever_changes(
    losses: list[float], at: int, steps: list[int], controller: str
) -> None:
    run, told = scheduler(controller=controller), iter(losses)

    def observe(count: int) -> None:
        for _ in range(min(count, run.points - len(run._observed), 10)):
            loss = next(told)
            run.observe(len(run._observed) + 1, loss, loss, 0.1)

    observe(at)
    for number in steps:
        done = run.steps[len(run._observed) - 1] if run._observed else 0
        if done < run.updates:
            run.set_total_steps(max(number, done + 1))
            assert run.steps[-1] == run.updates and len(run._lrs) == run.updates
        observe(3)
    rates = [run.lr(step) for step in range(run.updates + 5)]
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)
    json.dumps(run.state_dict(), allow_nan=False)


@pytest.mark.parametrize("controller", ["default", "paper"])
@pytest.mark.parametrize("stop", [4, 5, 6, 9])
def test_a_resumed_run_is_not_interrupted(stop: int, controller: str) -> None:
    """Killed right after the first change, before a decision, at it, and after a second change."""

    def begun() -> LODEScheduler:
        return scheduler(controller=controller)

    def until(run: LODEScheduler, last: int) -> list[float]:
        rates: list[float] = []
        for point in range(len(run._observed) + 1, last + 1):
            rates += go(run, point)
            if point == 4:
                run.set_total_steps(77)
            if point == 7:
                run.set_total_steps(61, done=run.steps[6] + 2)
        return rates

    whole = begun()
    expected = until(whole, 12)
    assert len(whole.budgets) == 2 and whole.points == 12
    first, second = begun(), begun()
    rates = until(first, stop)
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    assert second.state_dict() == first.state_dict() and second.expected() == first.expected()
    assert rates + until(second, 12) == expected
    assert second.state_dict() == whole.state_dict()


def test_a_state_of_before_budgets_changed_is_read() -> None:
    first, second = scheduler(), scheduler()
    go(first, 4)
    state = first.state_dict()
    del state["budgets"]
    second.set_total_steps(35)
    second.load_state_dict(state)
    assert second.state_dict() == first.state_dict() and second.updates == N
    with pytest.raises(DamagedError, match="done"):
        second.load_state_dict(first.state_dict() | {"budgets": [{**vars(CHANGE), "done": -1}]})


def test_under_the_papers_controller_the_rest_is_stretched_and_decided_on() -> None:
    run = LODEScheduler(Toy(), updates=N, points=T, mu=MU / T, controller="paper")
    go(run, 2)
    run.set_total_steps(90)
    assert run.budgets[0].expected is None and run.expected() is None
    ahead = [run.lr(end - 1) for end in run.steps[2:]]
    assert ahead == pytest.approx(np.repeat(INITIAL[2:], 2))
    go(run, 18)
    assert [d["point"] for d in run.decisions] == list(range(MU, 18, MU))


def test_where_the_run_was_not_finite_or_shall_not_decide_the_plan_is_stretched() -> None:
    broken, told = scheduler(), scheduler()
    broken.observe(1, math.nan, 0.1, 0.05)
    go(told, 1)
    broken.set_total_steps(75)
    told.set_total_steps(75, decide=False)
    for run in (broken, told):
        assert run.budgets[0].chosen == STRETCHED and run.budgets[0].expected is None
        assert [run.lr(end - 1) for end in run.steps[1:]] == pytest.approx(
            stretched(PLAN, T, 1, 15)[2:]
        )
        run.open_again()
        assert run.lr(74) == pytest.approx(PLAN[-1]), "what it would have begun with, stretched"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (20, "total steps = 20, and 20 updates are done already"),
        (0, "total steps = 0, and 20 updates are done already"),
        (35.0, r"total steps = 35\.0: the updates of the run, a whole number"),
        (True, "total steps = True: .* a whole number"),
        ("70 %", "a whole number"),
        (501, "total steps = 501 is more than 10 times the 50 that the run began with"),
    ],
)
def test_an_impossible_budget_is_refused_and_changes_nothing(steps: Any, message: str) -> None:
    run = scheduler()
    go(run, 4)
    state = run.state_dict()
    with pytest.raises(LODEError, match=message):
        run.set_total_steps(steps)
    assert run.state_dict() == state and run.updates == N


def test_a_run_that_has_ended_gets_no_more() -> None:
    run = scheduler()
    go(run, T)
    with pytest.raises(LODEError, match="all 50 updates of the run are done, so that 75 come too"):
        run.set_total_steps(75)
    early = scheduler()
    go(early, 4)
    with pytest.raises(LODEError, match="and 23 updates are done already"):
        early.set_total_steps(23, done=23)
