"""A LODE at somebody else's optimizer: the pipeline's rates, whatever torch does around them."""

from __future__ import annotations

import io
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from components.adapters.rate_scheduler import Fixed, RateScheduler
from components.adapters.torch_scheduler import LODEScheduler
from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.names import JUDGE_CONFIG, PLAN
from components.lode.plan_file import read_plan
from components.lode.scheduler import load_scheduler
from components.tasks.rates import RateError

from .made import MU, POINTS, UPDATES, Training, an_optimizer

# Caution 0 follows whatever looks better: this LODE is fitted too briefly to be believed.
NOISY: dict[str, Any] = {"n": 6, "sigma": 0.3, "caution": 0.0, "seed": 1}
FIXTURES_LIVE = settings(
    max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def begun(source: Any, *ratios: float, every: int = 10, **given: Any) -> Training:
    optimizer = an_optimizer(*ratios)
    options: dict[str, Any] = {"total_steps": UPDATES, "mu": MU / POINTS, **NOISY}
    scheduler = LODEScheduler.load(source, optimizer, **(options | given))
    return Training(scheduler, optimizer, every)


def saved(value: Any) -> Any:
    """Through a checkpoint that holds no pickle of ours."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


# ------------------------------------------------------------- the rates


def test_reported_at_its_log_points_it_has_the_pipelines_rates(lode_dir: Path) -> None:
    training = begun(lode_dir)
    assert isinstance(training.scheduler, torch.optim.lr_scheduler.LRScheduler)
    ours = load_scheduler(lode_dir, updates=UPDATES, points=POINTS, mu=MU / POINTS, **NOISY)
    expected = []
    for done in range(1, UPDATES + 1):
        expected.append([ours.lr(done - 1)])
        assert training.scheduler.get_last_lr() == expected[-1]
        training.go(done)
        assert training.scheduler.rate_of(done - 1) == expected[-1][0]
        assert training.scheduler.at_log_point == (done % 10 == 0)
        if done % 10 == 0:
            ours.observe(done // 10, *training.measured(), expected[-1][0])
    assert training.rates == expected
    assert any(move.changed for move in training.scheduler.decisions), "or this shows nothing"
    assert training.scheduler.decided == ours.decisions
    assert len(training.scheduler.decisions) == len(ours.decisions) == POINTS // MU - 1


def test_groups_keep_the_ratios_they_were_built_with(lode_dir: Path) -> None:
    one, three = begun(lode_dir).go(UPDATES), begun(lode_dir, 1.0, 0.25, 2.0).go(UPDATES)
    assert [[lr * share for share in (1.0, 0.25, 2.0)] for (lr,) in one] == three
    assert begun(lode_dir, 1.0, 0.25).scheduler.get_last_lr()[1] == 0.25 * one[0][0]
    with pytest.raises(RateError, match="must not be 0"):
        begun(lode_dir, 0.0, 1.0)


def test_after_the_last_update_its_rate_is_held_and_said_once(
    lode_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = begun(lode_dir)
    training.go(UPDATES)
    assert "is held" not in caplog.text
    rates = training.go(UPDATES + 3)
    assert rates[-1] == rates[UPDATES - 1] and caplog.text.count("the last rate is held") == 1


def test_every_decision_is_logged_in_one_line_and_listed(
    lode_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = begun(lode_dir)
    training.go(UPDATES)
    lines = [r for r in caplog.records if r.getMessage().startswith("LODE decision")]
    moves = training.scheduler.decisions
    assert [line.lode["point"] for line in lines] == [move.point for move in moves]  # type: ignore[attr-defined]
    for line, move in zip(lines, moves, strict=True):
        assert line.name == "components.adapters.rate_scheduler"
        assert line.levelno == logging.INFO and "\n" not in line.getMessage()
        assert f"update={10 * move.point} point={move.point} old_lr=" in line.getMessage()
        assert f'reason="{move.reason}"' in line.getMessage()
        assert (move.old_lr != move.new_lr) == move.changed
        assert move.error is not None and move.error > 0
        if move.changed:
            assert move.gain is not None and move.gain > 0


# ------------------------------------------------------------- reports at other times


@pytest.mark.parametrize("every", [7, 23, 60])
def test_reports_between_log_points_decide_at_the_last_one_known(
    every: int, lode_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = begun(lode_dir, every=every)
    training.go(UPDATES)
    points = [move.point for move in training.scheduler.decisions]
    known = [done // 10 for done in range(every, UPDATES + 1, every)]
    due = sorted({point // MU * MU for point in known if MU <= point < POINTS})
    assert points == [point for point in due if point < POINTS]
    assert ("it decides more seldom" in caplog.text) == (every > 10 * MU)


def test_loss_and_metric_may_come_apart(lode_dir: Path) -> None:
    together, apart = begun(lode_dir), begun(lode_dir, every=1000)
    together.go(UPDATES)
    for done in range(10, UPDATES + 1, 10):
        apart.go(done)
        loss, metric = apart.measured()
        apart.scheduler.observe(val_metric=torch.tensor(metric, dtype=torch.float64))
        apart.scheduler.observe(train_loss=loss)
    assert apart.rates == together.rates


def test_without_reports_the_plan_is_followed_to_the_end(lode_dir: Path) -> None:
    rates = begun(lode_dir, every=1000).go(UPDATES)
    assert set(map(tuple, rates)) == {(0.001,)}, "what this LODE begins with"


@pytest.mark.parametrize("bad", ["1", [1.0, 2.0], torch.zeros(2), object()])
def test_what_is_no_number_is_refused(bad: Any, lode_dir: Path) -> None:
    training = begun(lode_dir)
    training.go(3)
    if bad == "1":
        training.scheduler.observe(train_loss=bad, val_metric=0.1)
        return
    with pytest.raises(LODEError, match=r"val_metric is .*not a number"):
        training.scheduler.observe(train_loss=1.0, val_metric=bad)


@pytest.mark.parametrize("where", [10, 130])
@pytest.mark.parametrize("bad", [(math.nan, 0.5), (1.0, math.inf)])
def test_after_a_report_that_is_not_finite_the_run_goes_on_as_it_would_have_begun(
    bad: tuple[float, float], where: int, lode_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = begun(lode_dir)
    training.go(where - 1)
    training.every = 1000
    training.go(where)
    training.scheduler.observe(*bad)
    training.every = 10
    training.go(UPDATES)
    assert set(map(tuple, training.rates[where:])) == {(0.001,)}
    assert caplog.text.count("a report is not finite") == 1
    assert "decides no more" in caplog.text


def test_a_decision_that_fails_ends_no_training(
    lode_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = begun(lode_dir)
    training.go(100)
    monkeypatch.setattr(LODE, "decode_series", lambda *_, **__: 1 / 0)
    training.go(UPDATES)
    assert set(map(tuple, training.rates[120:])) == {(0.001,)}
    assert caplog.text.count("a decision failed (ZeroDivisionError") == 1


def test_a_metric_of_which_less_is_better_is_told_as_it_is(lode_dir: Path) -> None:
    class Mirrored(Training):
        def measured(self) -> tuple[float, float]:
            loss, metric = super().measured()
            return loss, -metric

    lode = LODE.load(lode_dir)
    lode.config = replace(lode.config, metric_goal="minimize")
    less = begun((lode, Judge.load(lode_dir)), goal="minimize")
    less = Mirrored(less.scheduler, less.optimizer)
    more = begun(lode_dir)
    assert less.go(UPDATES) == more.go(UPDATES)
    for one, other in zip(less.scheduler.decisions, more.scheduler.decisions, strict=True):
        assert (one.gain, one.error) == (other.gain, other.error), "more than 0 is better"
        assert one.expected == -other.expected  # type: ignore[operator]


# ------------------------------------------------------------- resuming


def test_its_state_is_json(lode_dir: Path) -> None:
    training = begun(lode_dir, every=7)
    training.go(100)
    state = training.scheduler.state_dict()
    assert json.loads(json.dumps(state, allow_nan=False)) == state


@FIXTURES_LIVE
@given(
    at=st.integers(0, UPDATES),
    every=st.sampled_from([7, 10, 45]),
    optimizer_first=st.booleans(),
    kind=st.sampled_from([saved, lambda state: json.loads(json.dumps(state))]),
)
def test_resumed_anywhere_it_goes_on_to_the_bit(
    at: int, every: int, optimizer_first: bool, kind: Any, lode_dir: Path
) -> None:
    whole = begun(lode_dir, 1.0, 0.5, every=every)
    whole.go(UPDATES)
    first = begun(lode_dir, 1.0, 0.5, every=every)
    first.go(at)
    kept = kind(first.scheduler.state_dict()), saved(first.optimizer.state_dict())
    second = begun(lode_dir, 1.0, 0.5, every=every)
    if optimizer_first:
        second.optimizer.load_state_dict(kept[1])
    second.scheduler.load_state_dict(kept[0])
    if not optimizer_first:
        second.optimizer.load_state_dict(kept[1])
    second.spent, second.done, second.rates = first.spent, at, list(first.rates)
    assert second.scheduler.get_last_lr() == first.scheduler.get_last_lr()
    assert second.go(UPDATES) == whole.rates
    assert second.scheduler.decisions == whole.scheduler.decisions
    assert second.scheduler.state_dict() == whole.scheduler.state_dict()


def test_made_anew_on_a_restored_optimizer_it_has_the_same_ratios(lode_dir: Path) -> None:
    first = begun(lode_dir, 1.0, 0.5)
    first.go(100)
    optimizer = an_optimizer(1.0, 1.0)
    optimizer.load_state_dict(saved(first.optimizer.state_dict()))  # type: ignore[attr-defined]
    second = LODEScheduler.load(lode_dir, optimizer, total_steps=UPDATES, mu=MU / POINTS)  # type: ignore[arg-type]
    assert second.get_last_lr() == [0.001, 0.0005]


def test_loading_another_rate_into_the_optimizer_changes_none(lode_dir: Path) -> None:
    training = begun(lode_dir)
    training.go(50)
    before, state = training.scheduler.get_last_lr(), training.optimizer.state_dict()
    state["param_groups"][0]["lr"] = 7.0
    training.optimizer.load_state_dict(state)
    assert [training.optimizer.param_groups[0]["lr"]] == before


def test_the_state_of_another_run_is_refused(lode_dir: Path, tmp_path: Path) -> None:
    state = begun(lode_dir).scheduler.state_dict()
    for other, said in (
        (begun(lode_dir, total_steps=UPDATES + 10), "runs of another length"),
        (begun(lode_dir, 1.0, 0.5), "1 parameter groups, this one has 2"),
        (begun(lode_dir, seed=2), "state of a scheduler with"),
        (begun(changed(lode_dir, tmp_path)), "another LODE or plan.*version instead of an alias"),
    ):
        with pytest.raises(LODEError, match=said):
            other.scheduler.load_state_dict(state)
    with pytest.raises(LODEError, match="no state of a scheduler of ours"):
        begun(lode_dir).scheduler.load_state_dict({"last_epoch": 3})


# ------------------------------------------------------------- torch around it


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad])
def test_any_optimizer_has_the_same_rates(kind: type, lode_dir: Path) -> None:
    optimizer: Any = an_optimizer(kind=kind)
    scheduler = LODEScheduler.load(
        lode_dir, optimizer, total_steps=UPDATES, mu=MU / POINTS, **NOISY
    )
    assert Training(scheduler, optimizer).go(UPDATES) == begun(lode_dir).go(UPDATES)


def test_closures_are_one_update(lode_dir: Path) -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([parameter], lr=1.0, max_iter=4)
    scheduler = LODEScheduler.load(lode_dir, optimizer, total_steps=UPDATES, mu=MU / POINTS)
    calls = 0

    def closure() -> torch.Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = (parameter**4).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)  # type: ignore[arg-type]
        scheduler.step()
    assert calls > 3 and scheduler.last_epoch == 3


def test_an_update_that_amp_skips_counts(lode_dir: Path) -> None:
    training = begun(lode_dir)
    optimizer, scaler = training.optimizer, torch.amp.GradScaler("cpu")
    parameter = optimizer.param_groups[0]["params"][0]
    for number in range(6):
        optimizer.zero_grad()
        factor = math.inf if number in (2, 3) else 1.0
        scaler.scale((factor * parameter).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        training.scheduler.step()
    assert training.scheduler.last_epoch == 6


def test_a_rate_that_is_a_tensor_is_filled_in_place(lode_dir: Path) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.zeros(2)
    rate = torch.tensor(0.1, dtype=torch.float64)
    optimizer = torch.optim.Adam([parameter], lr=rate, foreach=False)
    scheduler = LODEScheduler.load(
        lode_dir, optimizer, total_steps=UPDATES, mu=MU / POINTS, **NOISY
    )
    rates = Training(scheduler, optimizer).go(UPDATES)
    assert rates == begun(lode_dir).go(UPDATES)
    assert optimizer.param_groups[0]["lr"] is rate, "what a compiled step has captured"
    (last,) = scheduler.get_last_lr()
    assert isinstance(last, torch.Tensor) and last is not rate
    scheduler.load_state_dict(scheduler.state_dict())
    assert optimizer.param_groups[0]["lr"] is rate


def test_a_compiled_step_follows_the_rates(lode_dir: Path) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=torch.tensor(0.1))
    optimizer.param_groups[0]["foreach"] = True
    scheduler = RateScheduler(optimizer, Fixed([0.5, 0.25, 0.125]), total_steps=3)
    # captured as for any backend; the default one would compile C++ for a minute
    compiled = torch.compile(lambda: optimizer.step(), backend="eager")
    for _ in range(3):
        parameter.grad = torch.ones(2)
        compiled()
        scheduler.step()
    assert parameter.tolist() == [-0.875] * 2


# ------------------------------------------------------------- where it comes from


def without_plan(lode_dir: Path, folder: Path) -> Path:
    for path in lode_dir.iterdir():
        if path.name != PLAN:
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def changed(lode_dir: Path, folder: Path) -> Path:
    other = LODE.load(lode_dir)
    other.readout.bias.data += 1.0
    other.save(folder)
    Judge.load(lode_dir).save(folder)
    return folder


def test_a_folder_and_what_it_holds_are_one(lode_dir: Path, tmp_path: Path) -> None:
    pair = LODE.load(lode_dir), Judge.load(lode_dir)
    expected = begun(lode_dir).go(60)
    for source in (str(lode_dir), pair, without_plan(lode_dir, tmp_path)):
        assert begun(source).go(60) == expected


def test_a_lode_without_a_judge_is_the_papers(lode_dir: Path, tmp_path: Path) -> None:
    folder = without_plan(lode_dir, tmp_path)
    (folder / JUDGE_CONFIG).unlink()
    training = begun(folder)
    training.go(UPDATES)
    assert training.scheduler.state_dict()["controller"]["settings"]["controller"] == "paper"
    assert {move.gain for move in training.scheduler.decisions} == {None}


@pytest.mark.parametrize("updates", [UPDATES, 57, 3 * UPDATES + 1])
def test_a_plan_is_followed_as_any_reader_would(updates: int, lode_dir: Path) -> None:
    plan = read_plan(lode_dir / PLAN)
    shares, rates = np.array(plan.rates).T
    expected = [np.interp(i / updates, shares, rates) for i in range(updates)]
    for source in (lode_dir / PLAN, plan):
        optimizer: Any = an_optimizer()
        scheduler = LODEScheduler.load(source, optimizer, total_steps=updates)
        training = Training(scheduler, optimizer)
        training.go(updates // 2)
        state = saved(scheduler.state_dict())
        scheduler = LODEScheduler.load(source, optimizer, total_steps=updates)
        scheduler.load_state_dict(state)
        training.scheduler = scheduler
        training.go(updates)
        assert [lr for (lr,) in training.rates] == expected
        assert scheduler.decisions == [] and not scheduler.at_log_point


def test_what_is_no_source_is_named(lode_dir: Path, tmp_path: Path) -> None:
    optimizer: Any = an_optimizer()

    def load(source: Any, **given: Any) -> None:
        LODEScheduler.load(source, optimizer, **({"total_steps": UPDATES} | given))

    (tmp_path / "other.json").write_text('{"version": 1}')
    (tmp_path / "empty").mkdir()
    for source, options, said in (
        (7, {}, "7 is no LODE"),
        (tmp_path / "nothing", {}, "no such plan"),
        (tmp_path / "other.json", {}, "other.json.*missing"),
        (tmp_path / "empty", {}, "no such file; run `lode fit`"),
        (lode_dir, {"total_steps": 1}, "2 <= points <= updates"),
        (lode_dir, {"points": UPDATES + 1}, "2 <= points <= updates"),
        (lode_dir, {"goal": "minimize"}, "goal is 'minimize', and .* a metric to maximize"),
        (lode_dir, {"goal": "low"}, "goal is 'low', and"),
        (lode_dir, {"samples": 3}, "no such setting.*samples"),
        (lode_dir / PLAN, {"mu": 0.1}, "leave out mu"),
        (lode_dir, {"mu": 5}, "mu = 5 must be from .*5 of 100 log points is 0.05"),
        (lode_dir / PLAN, {"total_steps": 0}, "total_steps = 0: the updates"),
        (lode_dir, {"total_steps": 1e3}, "total_steps = 1000.0: the updates"),
    ):
        with pytest.raises(LODEError, match=said):
            load(source, **options)


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [0.1, -0.1], [[0.1]], [math.inf]])
def test_a_table_of_anything_but_rates_is_refused(bad: Any) -> None:
    with pytest.raises(LODEError, match="rate"):
        Fixed(bad)
