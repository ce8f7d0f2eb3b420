"""A budget that changes during somebody else's training: the controller's rates, whatever is around
it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lode
from components.adapters.rate_scheduler import RateScheduler
from components.adapters.recorder import RunError
from components.adapters.torch_scheduler import LODEScheduler
from components.lode.errors import LODEError
from components.lode.names import PLAN
from components.lode.scheduler import LODEScheduler as Controller
from components.lode.scheduler import load_scheduler
from components.runs.contract import Files, read_log, write_request
from tests.lode.test_control import Fan, Toy
from tests.runs.scripts import ACCURACY, job

from .made import MU, POINTS, UPDATES, an_optimizer
from .test_torch_scheduler import NOISY, begun, saved

AT, LONGER, SHORTER = 83, 300, 140  # not at a log point, of which there is one every 10 updates


@pytest.mark.parametrize("steps", [SHORTER, LONGER])
def test_it_has_the_controllers_rates(steps: int, lode_dir: Path) -> None:
    training = begun(lode_dir)
    training.go(AT)
    training.scheduler.set_total_steps(steps)
    training.go(steps)
    ours = load_scheduler(lode_dir, updates=UPDATES, points=POINTS, mu=MU / POINTS, **NOISY)
    again = begun(lode_dir)
    for done in range(1, steps + 1):
        assert training.rates[done - 1] == [ours.lr(done - 1)]
        again.spent += training.rates[done - 1][0]
        again.rates.append(training.rates[done - 1])
        if done % 10 == 0:
            ours.observe(done // 10, *again.measured(), training.rates[done - 1][0])
        if done == AT:
            ours.set_total_steps(steps, done=AT)
    assert training.scheduler.total_steps == steps
    assert training.scheduler.points == len(training.scheduler.log_steps) == steps // 10
    assert training.scheduler.decided == ours.decisions and len(ours.decisions) > AT // 10 // MU


@pytest.mark.parametrize("at", [AT, AT + 1, 130])
def test_resumed_it_goes_on_to_the_bit(at: int, lode_dir: Path) -> None:
    """It is built with the updates that the run began with, as the script always did."""
    whole, first, second = (begun(lode_dir, every=7) for _ in range(3))
    for one in (whole, first):
        one.go(AT)
        one.scheduler.set_total_steps(LONGER)
    whole.go(LONGER)
    first.go(at)
    second.scheduler.load_state_dict(saved(first.scheduler.state_dict()))
    assert second.scheduler.total_steps == LONGER
    second.spent, second.done, second.rates = first.spent, at, list(first.rates)
    assert second.go(LONGER) == whole.rates
    assert second.scheduler.state_dict() == whole.scheduler.state_dict()
    with pytest.raises(LODEError, match="runs of another length"):
        begun(lode_dir, total_steps=LONGER).scheduler.load_state_dict(first.scheduler.state_dict())


def test_the_same_number_changes_nothing_and_an_impossible_one_neither(lode_dir: Path) -> None:
    training = begun(lode_dir)
    training.go(AT)
    state = training.scheduler.state_dict()
    training.scheduler.set_total_steps(UPDATES)
    for wrong, said in ((AT, "83 updates are done already"), (150.5, "a whole number")):
        with pytest.raises(LODEError, match=said):
            training.scheduler.set_total_steps(wrong)  # type: ignore[arg-type]
    assert training.scheduler.state_dict() == state
    assert training.go(UPDATES) == begun(lode_dir).go(UPDATES)
    with pytest.raises(LODEError, match="all 200 updates of the run are done"):
        training.scheduler.set_total_steps(LONGER)


def test_a_plan_is_followed_as_it_is(lode_dir: Path) -> None:
    optimizer: Any = an_optimizer()
    scheduler = LODEScheduler.load(lode_dir / PLAN, optimizer, total_steps=UPDATES)
    with pytest.raises(LODEError, match="a fixed plan of 200 updates is followed as it is"):
        scheduler.set_total_steps(LONGER)


def test_where_planning_anew_fails_the_opening_is_stretched(
    lode_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    training = begun(lode_dir, caution=1e12)
    training.go(AT)
    monkeypatch.setattr("components.lode.scheduler.replan", lambda *_, **__: 1 / 0)
    training.scheduler.set_total_steps(LONGER)
    assert "planning anew failed (ZeroDivisionError" in caplog.text
    training.go(LONGER)
    expected = begun(lode_dir, caution=1e12).go(UPDATES)
    assert training.rates[-1] == pytest.approx(expected[-1])
    assert len(training.scheduler.decisions) == AT // 10 // MU, "it decides no more"


# ------------------------------------------------------------- lode.Run


class Made(lode.Run):
    """A run whose LODE needs no fit."""

    def scheduler(self, optimizer: torch.optim.Optimizer) -> RateScheduler:
        told = self._told
        rates = Controller(
            Toy(), judge=Fan((-1.0, -1.0)), updates=told["updates"], points=told["points"]
        )
        self._scheduler = RateScheduler(optimizer, rates, total_steps=told["updates"])
        return self._scheduler


def test_a_run_ends_where_it_is_told_to(tmp_path: Path) -> None:
    run = Made("mine", updates=50, points=10, schedule="x", folder=tmp_path)
    with pytest.raises(RunError, match=re.escape("call run.scheduler(optimizer) first")):
        run.set_total_steps(35)
    scheduler = run.scheduler(torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0))
    step = 0
    while step < run.updates:
        scheduler.step()
        loss = 1 - step / 100
        run.log(step, train_loss=loss, val_metric=step / 100 if run.at_log_point(step) else None)
        step += 1
        if step == 22:
            run.set_total_steps(35)
    run.finish()
    assert (run.updates, run.points, step) == (35, 7, 35)
    assert (
        list(read_log(tmp_path / "history.csv")["step"]) == run.log_steps == list(range(5, 36, 5))
    )
    assert json.loads((tmp_path / "run.json").read_text())["updates"] == 50, "as it began"
    with pytest.raises(RunError, match="step 35 of a run of 35 updates"):
        run.log(35, train_loss=1.0)


def test_a_run_of_the_pipelines_has_the_length_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(tmp_path)
    files = Files.of(tmp_path, one.spec.run_id)
    write_request(one, ACCURACY, files)
    monkeypatch.setenv("LODE_RUN", str(files.request))
    with pytest.raises(RunError, match=r"asked for with 40 updates.*training\.updates"):
        lode.Run.from_env().set_total_steps(60)
