from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.runs.job import Job
from components.runs.plan import SweepPlan
from components.sweep import study
from components.sweep.racing import survivors
from components.sweep.study import run_sweep
from components.training.history import History, write_history
from components.training.run import RunSpec

SCHEDULERS = ("constant", "cosine", "onecycle", "exp-decay")


def plan(folder: Path, sampler: str = "grid", trials: int = 6) -> SweepPlan:
    spec = RunSpec("mnist1d-cnn", "", None, 0, updates=20, points=10)
    job = Job(spec, folder / "histories", folder / "data", device="cpu")
    return SweepPlan(job, sampler, SCHEDULERS, (0.001, 0.01, 0.1), (0, 1), trials, survivors=4)


@pytest.fixture
def instant_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[Job]]:
    """Stands in for training, so that the questions the study asks are what is tested.

    The answer is best for onecycle near 0.03; files are written as by real runs.
    """
    rounds: list[list[Job]] = []

    def run_all(jobs: list[Job], **kwargs: object) -> list[History]:
        rounds.append(jobs)
        return [answer(job) for job in jobs]

    monkeypatch.setattr(study, "run_all", run_all)
    return rounds


def answer(job: Job) -> History:
    spec = job.spec
    assert spec.peak_lr is not None
    good = 1 - abs(np.log10(spec.peak_lr / 0.03)) / 4 - 0.2 * (spec.scheduler != "onecycle")
    meta = {"run_id": spec.run_id, "status": "completed", "best_val_metric": good}
    point = {"run_id": spec.run_id, "point": 1, "step": 20, "epoch": 1.0, "train_loss": 1.0}
    point |= {"val_metric": good, "lr": spec.peak_lr, "elapsed_s": 0.0}
    history = History(pd.DataFrame([point]), meta)
    write_history(history, job.histories)
    return history


def test_the_grid_is_every_cell_once_with_every_seed(
    tmp_path: Path, instant_runs: list[list[Job]]
) -> None:
    the_plan = plan(tmp_path)
    histories = run_sweep(the_plan)
    asked = [(j.spec.scheduler, j.spec.peak_lr, j.spec.seed) for jobs in instant_runs for j in jobs]
    expected = [(s, p, seed) for s in SCHEDULERS for p in (0.001, 0.01, 0.1) for seed in (0, 1)]
    assert sorted(asked) == sorted(expected)
    assert [job.spec for job in the_plan.grid_jobs()] == [j.spec for j in instant_runs[0]]
    assert len(histories) == 24 and len(instant_runs) == 1


def test_tpe_tries_as_many_as_asked_within_the_range_and_learns(
    tmp_path: Path, instant_runs: list[list[Job]]
) -> None:
    run_sweep(plan(tmp_path, "tpe", trials=40))
    configurations = [jobs[i].spec for jobs in instant_runs for i in range(0, len(jobs), 2)]
    assert len(configurations) == 40
    peaks = [spec.peak_lr for spec in configurations]
    assert all(p is not None and 0.001 <= p <= 0.1 for p in peaks)
    late = [spec.scheduler for spec in configurations[20:]]
    assert late.count("onecycle") > 10, "the study does not use what it is told"


def test_tpe_asks_the_same_after_a_restart(tmp_path: Path, instant_runs: list[list[Job]]) -> None:
    first = run_sweep(plan(tmp_path, "tpe", trials=10))
    again = run_sweep(plan(tmp_path, "tpe", trials=10))
    assert [h.run_id for h in first] == [h.run_id for h in again]


def test_a_configuration_that_diverges_is_told_as_the_worst_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As wherever configurations are ranked; of OneCycle, else the best, all runs diverge."""

    def run_all(jobs: list[Job], **kwargs: object) -> list[History]:
        found = [answer(job) for job in jobs]
        for job, history in zip(jobs, found, strict=True):
            if job.spec.scheduler == "onecycle":
                history.meta["status"] = "diverged"
        return found

    monkeypatch.setattr(study, "run_all", run_all)
    histories = run_sweep(plan(tmp_path, "tpe", trials=40))
    late = [history.meta["status"] for history in histories[40:]]
    assert late.count("diverged") < 10, "a diverging scheduler is asked for again and again"


def test_where_nothing_was_ever_logged_the_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_all(jobs: list[Job], **kwargs: object) -> list[History]:
        empty = [answer(job) for job in jobs]
        return [
            replace(h, points=h.points[:0], meta=h.meta | {"status": "diverged"}) for h in empty
        ]

    monkeypatch.setattr(study, "run_all", run_all)
    assert len(run_sweep(plan(tmp_path, "tpe", trials=6))) == 12


def test_a_race_goes_on_with_every_schedulers_best_and_the_next_best(
    tmp_path: Path, instant_runs: list[list[Job]]
) -> None:
    the_plan = replace(plan(tmp_path, "racing"), seeds=(3, 1, 2), survivors=5)
    histories = run_sweep(the_plan)
    first, others = ([_asked(job) for job in jobs] for jobs in instant_runs)
    assert first == [(s, p, 3) for s in SCHEDULERS for p in (0.001, 0.01, 0.1)]
    # at 0.01 and 0.1 they are equally far from 0.03; the first tried goes before
    survived = [(s, 0.01) for s in SCHEDULERS] + [("onecycle", 0.1)]
    assert sorted(others) == sorted((*one, seed) for one in survived for seed in (1, 2))
    assert len(histories) == 12 + 5 * 2
    assert [h.run_id for h in run_sweep(the_plan)] == [h.run_id for h in histories]


def test_a_race_of_one_seed_is_the_grid(tmp_path: Path, instant_runs: list[list[Job]]) -> None:
    run_sweep(replace(plan(tmp_path, "racing"), seeds=(7,)))
    (jobs,) = instant_runs
    assert len(jobs) == 12 and {job.spec.seed for job in jobs} == {7}


def _asked(job: Job) -> tuple[str, float | None, int]:
    return job.spec.scheduler, job.spec.peak_lr, job.spec.seed


def _run(merit: float | None) -> History:
    points = [] if merit is None else [{"val_metric": merit}]
    status = "diverged" if merit is None else "completed"
    return History(pd.DataFrame(points, columns=["val_metric"]), {"status": status})


@given(
    st.lists(st.tuples(st.sampled_from(SCHEDULERS), st.none() | st.floats(-5, 1)), min_size=1),
    st.data(),
)
def test_who_survives(outcomes: list[tuple[str, float | None]], data: st.DataObject) -> None:
    tried = [(name, float(i)) for i, (name, _) in enumerate(outcomes)]
    schedulers = {name for name, _ in tried}
    count = data.draw(st.integers(len(schedulers), len(tried)))
    left = survivors(tried, [_run(merit) for _, merit in outcomes], count)
    assert len(left) == count and {name for name, _ in left} == schedulers
    assert left == [one for one in tried if one in left], "in the order they were tried"
    logged = [merit for _, merit in outcomes if merit is not None]
    merits = [min(logged, default=0.0) if m is None else m for _, m in outcomes]
    worth = dict(zip(tried, merits, strict=True))
    best = {name: max(worth[one] for one in tried if one[0] == name) for name in schedulers}
    for name in schedulers:
        assert best[name] in [worth[one] for one in left if one[0] == name]
    spare = [worth[one] for one in left if worth[one] < best[one[0]]]
    gone = [worth[one] for one in tried if one not in left]
    assert not spare or not gone or min(spare) >= max(gone)
