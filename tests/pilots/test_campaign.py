"""The pilots: shares and verdicts by hand, and a real, tiny campaign that is interrupted."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.ranking import ranked_peaks
from components.evaluation.results import Gain, PilotResult
from components.lode.settings import Architecture, FitSettings, JudgeSettings
from components.pilots import campaign as module
from components.pilots.budget import Budget
from components.pilots.campaign import Pilots, paired_gain, run_pilots
from components.pilots.proposals import finer_peaks
from components.runs.comparison import FAMILIES, REACH
from components.runs.fits import Recipe
from components.runs.job import Job
from components.runs.pool import run_all
from components.schedulers.parametric import PARAMETRIC, Parametric
from components.schedulers.plan import Plan, parametric_table, plan_digest
from components.training.history import History, read_history
from components.training.run import RunSpec, log_steps

# ------------------------------------------------------------- by hand


def test_the_shares_of_100_runs_and_of_the_fewest() -> None:
    assert Budget.of(100) == Budget(finer=8, explore=13, propose=12, screen=5, confirm=20)
    assert Budget.of(20) == Budget(finer=4, explore=3, propose=2, screen=1, confirm=3)


@given(runs=st.integers(20, 3000))
def test_the_budget_is_spent_to_the_last_run(runs: int) -> None:
    budget = Budget.of(runs)
    assert budget.total == runs
    assert min(budget.explore, budget.propose, budget.screen) >= 1
    assert budget.finer % (2 * FAMILIES) == 0 and 0 < budget.finer <= 0.2 * runs
    assert budget.confirm >= 2, "one pair of runs has no standard error"


def test_finer_peaks_lie_evenly_around_the_best_of_the_grid() -> None:
    assert finer_peaks(0.01, 2) == [0.00632, 0.0158]
    for count in (2, 4, 10):
        steps = np.diff(np.log([0.01 / REACH, *finer_peaks(0.01, count), 0.01 * REACH]))
        assert np.allclose(steps[1:-1], steps[0] * 2, atol=0.01), "three digits of a rate"
        assert steps[-1] == pytest.approx(steps[0], abs=0.01)


def run(
    scheduler: str = "cosine",
    peak: float | None = 0.1,
    seed: int = 0,
    best: float = 0.5,
    status: str = "completed",
) -> History:
    points = pd.DataFrame({"val_metric": [0.1, best], "elapsed_s": [1.0, 2.0]})
    meta = {
        "run_id": f"{scheduler}{peak}{seed}",
        "scheduler": scheduler,
        "peak_lr": peak,
        "seed": seed,
        "status": status,
        "best_val_metric": best,
    }
    return History(points, meta)


@pytest.mark.parametrize("name", PARAMETRIC)
@pytest.mark.parametrize("updates", [20, 50, 403])
def test_a_parametric_plan_is_the_schedule_at_the_log_points(name: str, updates: int) -> None:
    table = parametric_table(name, 0.1, updates, 20)
    plan = Plan(table, updates=updates, points=20)  # which refuses rates of zero
    schedule = Parametric(name, peak_lr=0.1, updates=updates)
    for end in log_steps(updates, 20):
        assert plan.lr(end - 1) == pytest.approx(schedule.lr(end - 1), abs=1e-8)
    assert table[0] == schedule.lr(0)


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


# ------------------------------------------------------------- a real campaign

RECIPE = Recipe(
    0.25, FitSettings(updates=20), JudgeSettings(updates=20), Architecture(solver_steps=4)
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, datasets: Path) -> tuple[Job, list[History]]:
    """A sweep of 2 schedulers × 2 peaks × 2 seeds, runs of 40 updates, and its template."""
    spec = RunSpec("digits-mlp", "", None, 0, 40, 20, train_samples=400)
    template = Job(spec, tmp_path_factory.mktemp("histories"), datasets, "cpu")
    jobs = [
        replace(template, spec=replace(spec, scheduler=name, peak_lr=peak, seed=seed))
        for name in ("constant", "onecycle")
        for peak in (0.01, 0.05)
        for seed in (0, 1)
    ]
    return template, run_all(jobs)


def campaign(swept: tuple[Job, list[History]], folder: Path, **changes: Any) -> Pilots:
    template, sweep = swept
    asked = Pilots(
        sweep=sweep,
        template=replace(template, histories=folder / "pilots"),
        recipe=RECIPE,
        budget=Budget.of(20),
        seeds=(0, 1),
        fresh=(2, 3, 4, 5),
        scratch=folder / "scratch",
        workers=1,
    )
    return replace(asked, **changes)


def kept(folder: Path) -> dict[str, int]:
    return {p.stem: p.stat().st_mtime_ns for p in (folder / "pilots").glob("*.parquet")}


@pytest.fixture(scope="module")
def whole(
    swept: tuple[Job, list[History]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PilotResult]:
    """A campaign that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_pilots(campaign(swept, folder))


slow = pytest.mark.slow


@slow
def test_what_a_campaign_leaves(
    swept: tuple[Job, list[History]], whole: tuple[Path, PilotResult]
) -> None:
    folder, found = whole
    assert found.runs == 20 and found.run_ids == sorted(kept(folder))
    json.dumps(asdict(found), allow_nan=False)
    runs = [read_history(folder / "pilots" / f"{name}.parquet") for name in found.run_ids]
    confirmed = [h for h in runs if h.meta["seed"] in (3, 4, 5)]
    baseline = [h for h in confirmed if h.meta["scheduler"] != "plan"]
    assert len(baseline) == 3 and len(confirmed) == 6
    assert {h.configuration for h in baseline} == {
        (found.baseline.scheduler, found.baseline.peak_lr)
    }
    ours = [h for h in confirmed if h.meta["scheduler"] == "plan"]
    assert found.gain == paired_gain(ours, baseline)
    assert {h.meta["scheduler_digest"] for h in ours} == {plan_digest(found.finalist)}
    for history in ours:
        assert history.points["lr"].tolist() == pytest.approx(found.finalist[1:])
    assert max(found.finalists, key=lambda one: one.screened or 0).plan == found.finalist
    assert len(found.finalists) == 3 and found.diverged == 0
    plans = json.loads((folder / "scratch" / "plans.json").read_text())["rounds"]
    ranked = ranked_peaks(swept[1])
    assert {name for name, _ in ranked} == {"onecycle", "constant"}
    finer = [
        parametric_table(name, peak, 40, 20).tolist()
        for name, best in ranked
        for peak in finer_peaks(best, 2)
    ]
    assert plans["explore"][:4] == finer
    assert found.finalists[0].plan in finer, "one finalist is a schedule of the sweep's"
    others = [one.plan for one in found.finalists[1:]]
    assert found.finalists[0].plan not in others and others[0] != others[1]
    assert found.seconds == pytest.approx(sum(h.points["elapsed_s"].iloc[-1] for h in runs))


class StopError(Exception):
    pass


@slow
def test_interrupted_again_and_again_it_repeats_nothing_and_ends_the_same(
    swept: tuple[Job, list[History]], whole: tuple[Path, PilotResult], tmp_path: Path
) -> None:
    def stop_after(count: int) -> Any:
        left = iter(range(count))

        def stop(note: str) -> None:
            if next(left, None) is None:
                raise StopError

        return stop

    seen: dict[str, int] = {}
    # In the first round; in the fit for the second proposals; while screening; while confirming.
    for stops in (
        {"on_run": stop_after(2)},
        {"on_fit": stop_after(1)},
        {"on_run": stop_after(12)},
        {"on_run": stop_after(15)},
    ):
        with pytest.raises(StopError):
            run_pilots(campaign(swept, tmp_path, **stops))
        now = kept(tmp_path)
        assert len(now) > len(seen) and seen.items() <= now.items(), "a finished run was repeated"
        seen = now
    assert len(seen) < 20, "nothing was left to do"
    found = run_pilots(campaign(swept, tmp_path))
    assert seen.items() <= kept(tmp_path).items()
    assert replace(found, seconds=0.0) == replace(whole[1], seconds=0.0)
    assert run_pilots(campaign(swept, tmp_path)) == found, "another time, nothing is new"


@slow
def test_the_plans_of_a_round_are_written_before_any_is_run(
    swept: tuple[Job, list[History]], tmp_path: Path
) -> None:
    def stop(note: str) -> None:
        raise StopError

    with pytest.raises(StopError):
        run_pilots(campaign(swept, tmp_path, on_run=stop))
    record = json.loads((tmp_path / "scratch" / "plans.json").read_text())
    assert list(record["rounds"]) == ["explore"] and len(record["rounds"]["explore"]) == 7
    (tmp_path / "scratch" / "plans.json").write_text("{")  # damaged: they are made anew, the same
    with pytest.raises(StopError):
        run_pilots(campaign(swept, tmp_path, on_run=stop))
    assert json.loads((tmp_path / "scratch" / "plans.json").read_text()) == record
    other = replace(RECIPE, judge=JudgeSettings(updates=21))
    with pytest.raises(StopError):
        run_pilots(campaign(swept, tmp_path, on_run=stop, recipe=other))
    assert json.loads((tmp_path / "scratch" / "plans.json").read_text())["key"] != record["key"]


@slow
def test_the_finalist_is_adopted_only_above_so_many_errors(
    swept: tuple[Job, list[History]],
    whole: tuple[Path, PilotResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, found = whole
    gain = found.gain
    assert found.adopted == (gain.mean > gain.error)
    before = kept(folder)
    for offset, adopted in ((-1e-6, True), (1e-6, False)):
        monkeypatch.setattr(module, "STANDARD_ERRORS", gain.mean / gain.error + offset)
        again = run_pilots(campaign(swept, folder))
        assert again.adopted == adopted
        assert again.plan == (found.finalist if adopted else [])
    assert kept(folder) == before
    table = parametric_table(found.baseline.scheduler, found.baseline.peak_lr, 40, 20)
    assert found.baseline.plan == table.tolist()
