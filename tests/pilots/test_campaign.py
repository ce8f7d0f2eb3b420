"""The pilots: shares and verdicts by hand, and a real, tiny campaign that is interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.ranking import ranked_peaks
from components.evaluation.results import PilotResult
from components.lode.settings import Architecture, FitSettings, JudgeSettings
from components.pilots import campaign as module
from components.pilots.budget import MOST_PAIRS, Budget
from components.pilots.campaign import Pilots, run_pilots
from components.pilots.trial import paired_gain
from components.runs.comparison import FAMILIES, REACH
from components.runs.fits import Recipe
from components.runs.job import Job
from components.runs.pool import run_all
from components.schedulers.parametric import PARAMETRIC, Parametric
from components.schedulers.plan import Plan, parametric_table, plan_digest
from components.training.history import History, read_history
from components.training.run import RunSpec, log_steps

# ------------------------------------------------------------- by hand


def test_the_shares_of_the_default_of_100_runs_and_of_the_fewest() -> None:
    assert Budget.of(25, 5) == Budget(finer=4, explore=3, propose=6, paired=5, pairs=2)
    assert Budget.of(100, 5) == Budget(finer=8, explore=12, propose=52, paired=5, pairs=10)
    assert Budget.of(20, 5) == Budget(finer=4, explore=2, propose=6, paired=4, pairs=1)
    assert Budget.of(20, 1) == Budget(finer=4, explore=2, propose=6, paired=1, pairs=4)


@given(runs=st.integers(20, 3000), seeds=st.integers(1, 50))
def test_the_budget_is_spent_to_the_last_run(runs: int, seeds: int) -> None:
    budget = Budget.of(runs, seeds)
    assert budget.total == runs
    assert min(budget.explore, budget.propose, budget.pairs) >= 1
    assert budget.finer % (2 * FAMILIES) == 0 and 0 < budget.finer <= 0.2 * runs
    assert 1 <= budget.paired <= seeds and budget.pairs <= MOST_PAIRS
    assert budget.paired + budget.pairs >= 2, "one pair of runs has no standard error"


@pytest.mark.parametrize("name", PARAMETRIC)
@pytest.mark.parametrize("updates", [20, 50, 403])
def test_a_parametric_plan_is_the_schedule_at_the_log_points(name: str, updates: int) -> None:
    table = parametric_table(name, 0.1, updates, 20)
    plan = Plan(table, updates=updates, points=20)  # which refuses rates of zero
    schedule = Parametric(name, peak_lr=0.1, updates=updates)
    for end in log_steps(updates, 20):
        assert plan.lr(end - 1) == pytest.approx(schedule.lr(end - 1), abs=1e-8)
    assert table[0] == schedule.lr(0)


# ------------------------------------------------------------- a real campaign

BUDGET = Budget.of(20, 2)
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
        budget=BUDGET,
        seeds=(0, 1),
        fresh=(2, 3, 4),
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
    assert found.run_ids == sorted(kept(folder)) and found.runs == len(found.run_ids) <= 20
    json.dumps(asdict(found), allow_nan=False)
    runs = [read_history(folder / "pilots" / f"{name}.parquet") for name in found.run_ids]
    swept_best = [h for h in swept[1] if h.configuration == chosen(found)]
    assert len(swept_best) == 2
    pairs = [h for h in runs if h.meta["scheduler"] != "plan"]
    assert {h.configuration for h in pairs} <= {chosen(found)}, "none on the sweep's seeds again"
    assert {h.meta["seed"] for h in pairs} <= {2, 3, 4}
    by_plan = [[h for h in runs if ran(h, one.plan)] for one in found.finalists]
    assert all({0, 1} <= {h.meta["seed"] for h in own} for own in by_plan)
    for one, own in zip(found.finalists, by_plan, strict=True):
        on_sweep = [h for h in own if h.meta["seed"] in (0, 1)]
        assert one.gained == paired_gain(on_sweep, swept_best).mean
    best = found.finalists.index(max(found.finalists, key=lambda one: one.gained or -1))
    assert found.finalist == found.finalists[best].plan
    assert found.gain == paired_gain(by_plan[best], swept_best + pairs)
    assert {h.meta["seed"] for h in by_plan[1 - best]} == {0, 1}
    assert found.gain.n == 2 + len(pairs)
    for history in by_plan[best]:
        assert history.points["lr"].tolist() == pytest.approx(found.finalist[1:])
    assert len(found.finalists) == 2 and found.diverged == 0
    plans = json.loads((folder / "scratch" / "plans.json").read_text())["rounds"]
    ranked = ranked_peaks(swept[1])
    assert {name for name, _ in ranked} == {"onecycle", "constant"}
    finer = [
        parametric_table(name, float(f"{best * factor:.3g}"), 40, 20).tolist()
        for name, best in ranked
        for factor in (1 / REACH, REACH)
    ]
    assert plans["explore"][:4] == finer and len(plans["propose"]) == BUDGET.propose
    assert found.finalists[0].plan != found.finalists[1].plan
    assert found.seconds == pytest.approx(sum(h.points["elapsed_s"].iloc[-1] for h in runs))


def chosen(found: PilotResult) -> tuple[str, float]:
    assert found.baseline is not None
    return found.baseline.scheduler, found.baseline.peak_lr


def ran(history: History, plan: list[float]) -> bool:
    return history.meta["scheduler_digest"] == plan_digest(plan)


class StopError(Exception):
    pass


def stop_after(count: int) -> Callable[[str], None]:
    left = iter(range(count))

    def stop(note: str) -> None:
        if next(left, None) is None:
            raise StopError

    return stop


@slow
def test_interrupted_again_and_again_it_repeats_nothing_and_ends_the_same(
    swept: tuple[Job, list[History]], whole: tuple[Path, PilotResult], tmp_path: Path
) -> None:
    seen: dict[str, int] = {}
    # In the first round; in the fit for the finalists; on the sweep's seeds.
    for stops in (
        {"on_run": stop_after(2)},
        {"on_fit": stop_after(1)},
        {"on_run": stop_after(14)},
    ):
        with pytest.raises(StopError):
            run_pilots(campaign(swept, tmp_path, **stops))
        now = kept(tmp_path)
        assert len(now) > len(seen) and seen.items() <= now.items(), "a finished run was repeated"
        seen = now
    assert len(seen) < whole[1].runs, "nothing was left to do"
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
    assert list(record["rounds"]) == ["explore"] and len(record["rounds"]["explore"]) == 6
    (tmp_path / "scratch" / "plans.json").write_text("{")  # damaged: they are made anew, the same
    with pytest.raises(StopError):
        run_pilots(campaign(swept, tmp_path, on_run=stop))
    assert json.loads((tmp_path / "scratch" / "plans.json").read_text()) == record
    other = replace(RECIPE, judge=JudgeSettings(updates=21))
    with pytest.raises(StopError):
        run_pilots(campaign(swept, tmp_path, on_run=stop, recipe=other))
    assert json.loads((tmp_path / "scratch" / "plans.json").read_text())["key"] != record["key"]


@slow
@pytest.mark.parametrize(("said", "adopted"), [(True, True), (False, False)])
def test_the_verdict_makes_the_plan(
    said: bool,
    adopted: bool,
    swept: tuple[Job, list[History]],
    whole: tuple[Path, PilotResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, found = whole
    before = kept(folder)
    monkeypatch.setattr(module, "verdict", lambda gain, left: said)
    again = run_pilots(campaign(swept, folder))
    assert again.adopted == adopted and again.gain.n == 2, "no fresh pair is asked for"
    assert again.plan == (found.finalist if adopted else [])
    assert kept(folder) == before
    table = parametric_table(*chosen(found), 40, 20)
    assert found.baseline is not None and found.baseline.plan == table.tolist()


@slow
def test_undecided_it_takes_all_its_pairs_and_no_more(
    swept: tuple[Job, list[History]],
    whole: tuple[Path, PilotResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(module, "verdict", lambda gain, left: None if left else False)
    with pytest.raises(StopError):  # within a fresh pair
        run_pilots(campaign(swept, tmp_path, on_run=stop_after(17)))
    interrupted = kept(tmp_path)
    found = run_pilots(campaign(swept, tmp_path))
    assert interrupted.items() <= kept(tmp_path).items()
    assert found.gain.n == BUDGET.paired + BUDGET.pairs
    assert found.runs == BUDGET.total == 20
