"""The judge's fit: it ranks schedules it never saw, repeats itself, and keeps parts apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.lode.errors import LODEError
from components.lode.judge import Judge, Scales, held
from components.lode.judge_fit import Runs, _Fitting, fit_judge
from components.lode.opening import Opening, with_start
from components.lode.planner import random_shapes
from components.lode.settings import JudgeSettings
from components.training.history import History

from .law import POINTS, outcome, sweep

SHORT = JudgeSettings(updates=250)
OPENING = Opening((0.1, 0.2), ("cosine", 0.05))


@pytest.fixture(scope="module")
def judge() -> Judge:
    return fit_judge(sweep(), SHORT, opening=OPENING)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = (x.argsort().argsort() for x in (a, b))
    return float(np.corrcoef(*ranks)[0, 1])


def test_it_ranks_schedules_of_shapes_it_never_saw(judge: Judge) -> None:
    shapes = random_shapes(60, POINTS, (0.005, 0.1), np.random.default_rng(1))
    true = outcome(shapes)[1][:, -1]
    found = judge.final_metric(shapes).mean(0)
    assert spearman(found, true) > 0.85
    # On another length of the same fractions the law is the same, so is the judge's opinion.
    longer = np.array([np.interp(np.linspace(0, 1, 76), np.linspace(0, 1, 31), s) for s in shapes])
    assert spearman(judge.final_metric(longer).mean(0), true) > 0.85


def test_what_a_run_logs_brings_the_judge_nearer_to_it(judge: Judge) -> None:
    """Half-way through a run that does worse than its rates say, by 0.2 of the metric."""
    table = random_shapes(1, POINTS, (0.02, 0.05), np.random.default_rng(3))[0]
    loss, metric = outcome(table)
    seen = np.column_stack([loss, metric - 0.2, table[1:]])[: POINTS // 2]
    told = judge.final_metric(table[None], judge.follow(seen, table[0], 5, POINTS), POINTS // 2)
    assert told.mean() < judge.final_metric(table[None]).mean() - 0.02


def test_its_error_is_of_the_size_of_its_errors(judge: Judge) -> None:
    runs = sweep()
    true = runs.metrics[:, -1]
    assert 0 < judge.config.error < np.std(true)
    worse = fit_judge(runs, replace(SHORT, updates=5))
    assert judge.config.error < worse.config.error


def test_the_error_by_hand() -> None:
    """Over the best quarter of the configurations, each by the member that has not seen it."""
    runs = sweep()
    fitting = _Fitting(_unfitted(runs), runs, SHORT)
    tables = held(np.concatenate([runs.lrs[:, :1], runs.lrs], 1))
    assert tables.shape == runs.lrs.shape
    y, _ = fitting.judge(fitting.judge.fresh(len(runs.seeds)), fitting.drive, fitting.widths)
    predicted = fitting.judge.config.scales.to_metric(y[:, :, -1, 1].detach().double().numpy())
    off = {}
    for group in range(16):
        members = {int(fitting.part[i]) for i in np.flatnonzero(runs.groups == group)}
        assert len(members) == 1, "a configuration lies in one part"
        mine = runs.groups == group
        # The metric that the judge predicts is the mean over the last interval, here of 2 points.
        true = runs.metrics[mine][:, -2:].mean()
        off[float(true)] = predicted[members.pop(), mine].mean() - true
    best = sorted(off)[-4:]
    expected = np.sqrt(np.mean([off[true] ** 2 for true in best]))
    assert fitting.error() == pytest.approx(expected)


def _unfitted(runs: Runs) -> Judge:
    return fit_judge(runs, replace(SHORT, updates=1))


def test_the_same_fit_gives_the_same_weights_and_draws_nothing(judge: Judge) -> None:
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    again = fit_judge(sweep(), SHORT, opening=OPENING)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert again.config == judge.config
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in judge.state_dict().items())
    other = fit_judge(sweep(), replace(SHORT, updates=2, seed=1))
    assert not torch.equal(other.start, fit_judge(sweep(), replace(SHORT, updates=2)).start)


def test_the_opening_is_kept_and_progress_adds_up() -> None:
    told: list[int] = []
    settings = JudgeSettings(updates=120, members=2)
    judge = fit_judge(sweep(), settings, opening=OPENING, progress=told.append)
    assert sum(told) == 120
    assert judge.config.opening == OPENING
    assert (judge.config.members, judge.config.histories) == (2, 32)


def test_a_member_never_sees_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the runs of a part logged, its member becomes the same, the scales held equal."""
    runs, settings = sweep(), JudgeSettings(updates=20)
    scales = Scales.measure(runs.lrs, runs.losses, runs.metrics)
    monkeypatch.setattr(Scales, "measure", lambda *_: scales)
    before = fit_judge(runs, settings)
    part = _Fitting(_unfitted(runs), runs, settings).part
    for member in range(before.config.members):
        mine = (part == member)[:, None]
        changed = replace(
            runs,
            losses=np.where(mine, 0.5 * runs.losses, runs.losses),
            metrics=np.where(mine, runs.metrics / 2, runs.metrics),
        )
        after = fit_judge(changed, settings).state_dict()
        for name, value in before.state_dict().items():
            same = [torch.equal(a, b) for a, b in zip(value, after[name], strict=True)]
            assert same[member], (name, member)
            assert not all(same), "nothing depends on the data at all"


def test_one_configuration_is_refused() -> None:
    runs = sweep()
    one = Runs(
        *(getattr(runs, name)[:2] for name in ("lrs", "losses", "metrics", "seeds", "groups"))
    )
    with pytest.raises(LODEError, match="these histories have only one"):
        fit_judge(one, SHORT)


def test_there_are_no_more_members_than_configurations() -> None:
    runs = sweep()
    few = runs.groups < 3
    three = Runs(
        *(getattr(runs, name)[few] for name in ("lrs", "losses", "metrics", "seeds", "groups"))
    )
    assert fit_judge(three, replace(SHORT, updates=2)).config.members == 3


def test_a_fit_that_explodes_says_what_to_lower() -> None:
    with pytest.raises(LODEError, match=r"no longer finite; lower lode\.judge\.peak_lr"):
        fit_judge(sweep(), JudgeSettings(updates=50, peak_lr=1e38))


def test_runs_of_histories(histories: list[History]) -> None:
    lost = History(histories[0].points.iloc[:3], histories[0].meta | {"status": "diverged"})
    pilot = History(
        histories[0].points,
        histories[0].meta | {"scheduler": "plan", "peak_lr": None, "scheduler_digest": "a"},
    )
    other = History(histories[1].points, pilot.meta | {"scheduler_digest": "b", "seed": 7})
    runs = Runs.of([*histories, lost, pilot, other])
    assert runs.lrs.shape == runs.losses.shape == runs.metrics.shape == (20, 30)
    assert len(set(runs.groups)) == 6 + 2, "plans are told apart by their digest"
    for history, group in zip(histories, runs.groups, strict=False):
        same = {h.configuration for h, g in zip(histories, runs.groups, strict=False) if g == group}
        assert same == {history.configuration}
    assert runs.seeds[-1] == 7
    loss, metric, lr = histories[4].series().T
    assert np.array_equal(runs.losses[4], loss) and np.array_equal(runs.metrics[4], metric)
    assert np.array_equal(runs.lrs[4], held(with_start(lr)))


def test_no_completed_run_is_told(histories: list[History]) -> None:
    for history in histories:
        history.meta["status"] = "diverged"
    with pytest.raises(LODEError, match="no completed run to fit a judge on; run `lode sweep`"):
        Runs.of(histories)
