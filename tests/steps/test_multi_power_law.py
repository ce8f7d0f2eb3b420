"""`multi-power-law` from the settings to the report: found once, named after the sweep, and what
happens where its file is damaged, of another sweep, or no law fits."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.lode.plan_file import read_at
from components.runs.comparison import comparison
from components.runs.execute import execute
from components.runs.job import Job, RunAll
from components.runs.law import find_law, law_job, read_law
from components.runs.plan import JobError, job_of, template
from components.runs.sweep_histories import sweep_histories
from components.schedulers import swept_law
from components.schedulers.names import MULTI_POWER_LAW, label
from components.schedulers.plan import interpolate
from components.schedulers.swept_law import law_schedule
from components.settings import Settings
from components.steps.evaluate import schedules_of
from components.steps.pipeline import STEPS
from components.steps.results import read_evaluation
from components.storage.typed import read_sealed, write_sealed
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import History, read_history
from tests.experiments.made import evaluation
from tests.tiny import TASK, TINY, in_this_process, tiny

pytestmark = pytest.mark.slow
ASKED = [*TINY["baselines.schedulers"], MULTI_POWER_LAW]


@pytest.fixture
def settings() -> Settings:
    return tiny(baselines__schedulers=ASKED)


@pytest.fixture
def workspace(finished_copy: Path) -> Workspace:
    return Workspace(finished_copy)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("the law is fitted once")


def test_it_is_found_once_trained_on_the_fresh_seeds_and_reported(
    settings: Settings, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And killed in between, it goes on with the same schedule."""
    before = {path.name for path in workspace.scheduled(TASK).glob("*.parquet")}
    assert not STEPS["baselines"].is_current(settings, workspace)
    with pytest.raises(WorkspaceError, match="has no schedule yet; name multi-power-law in basel"):
        STEPS["train"](settings, workspace, in_this_process)
    STEPS["baselines"](settings, workspace, in_this_process)
    assert STEPS["baselines"].is_current(settings, workspace)

    expected = law_schedule(sweep_histories(TASK, workspace))
    monkeypatch.setattr(swept_law, "law_schedule", never)
    compared = comparison(settings, workspace)
    jobs = [job for job in compared.jobs if job.spec.scheduler == MULTI_POWER_LAW]
    assert [job.spec.seed for job in jobs] == TINY["evaluation.seeds"]
    assert {job.plan for job in jobs} == {expected.table}
    assert compared.chosen[MULTI_POWER_LAW] == (MULTI_POWER_LAW, None)

    with pytest.raises(KeyboardInterrupt):
        STEPS["train"](settings, workspace, killed_after(1))
    STEPS["baselines"](settings, workspace, in_this_process)
    assert STEPS["train"](settings, workspace, in_this_process).trained == 1
    trained = {path.name for path in workspace.scheduled(TASK).glob("*.parquet")} - before
    assert trained == {job.path.name for job in jobs}
    for job in jobs:
        assert read_history(job.path).points["lr"].tolist() == pytest.approx(expected.table[1:])

    STEPS["evaluate"](settings, workspace)
    found = read_evaluation(workspace.evaluation(TASK))
    entry = found.schedulers[MULTI_POWER_LAW]
    assert entry.price.search == 8, "the sweep's runs, and nothing more"
    assert entry.price.factor == 1 and entry.price.learning == 0 and entry.peak_lr is None
    assert sorted(entry.test_by_seed) == ["100", "101"]
    assert f"the law leaves {expected.unexplained:.0%} unexplained" in found.notes[0]
    assert label(MULTI_POWER_LAW) in workspace.page(TASK).read_text(encoding="utf-8")
    assert all(STEPS[name].is_current(settings, workspace) for name in ("train", "evaluate"))


def killed_after(runs: int) -> RunAll:
    def run_all(jobs: Iterable[Job], **_: Any) -> list[History]:
        in_this_process([job for job in jobs if not job.path.exists()][:runs])
        raise KeyboardInterrupt

    return run_all


@pytest.mark.parametrize("harm", ["damaged", "stale"])
def test_a_file_that_is_not_this_sweeps_is_made_anew_by_its_step_alone(
    settings: Settings, workspace: Workspace, harm: str
) -> None:
    find_law(TASK, workspace)
    path = workspace.law(TASK)
    good = path.read_bytes()
    if harm == "damaged":
        path.write_bytes(good.replace(b'"table": [\n  0', b'"table": [\n  1'))
        said = "changed since it was written"
    else:
        write_sealed(path, read_sealed(path) | {"sweep": "another's"})
        said = "of another sweep"
    assert path.read_bytes() != good
    for step in ("baselines", "train"):
        assert not STEPS[step].is_current(settings, workspace)
    with pytest.raises(WorkspaceError, match=rf"{said}.*; run `lode baselines` again"):
        STEPS["train"](settings, workspace, in_this_process)
    STEPS["baselines"](settings, workspace, in_this_process)
    assert path.read_bytes() == good


def test_a_sweep_of_other_runs_has_another_schedule(workspace: Workspace) -> None:
    first = find_law(TASK, workspace)
    known = read_sealed(workspace.accepted(TASK))
    fewer = {**known, "accepted": known["accepted"][1:]}
    write_sealed(workspace.accepted(TASK), fewer)
    with pytest.raises(WorkspaceError, match="of another sweep"):
        read_law(TASK, workspace)
    assert find_law(TASK, workspace).sweep != first.sweep


def test_a_law_that_does_not_fit_costs_its_row_and_nothing_else(
    settings: Settings, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swept_law, "UNEXPLAINED", 0.01)
    why = r"at peak lr 0.05: the law leaves \d+% of the variance of the log losses unexplained, "
    with pytest.warns(UserWarning, match=rf"goes on without multi-power-law: .*{why}more than 1%"):
        STEPS["baselines"](settings, workspace, in_this_process)
    assert STEPS["train"](settings, workspace, in_this_process).trained == 0
    STEPS["evaluate"](settings, workspace)
    found = read_evaluation(workspace.evaluation(TASK))
    assert MULTI_POWER_LAW not in found.schedulers and "finer-search" in found.schedulers
    assert found.notes[0].startswith("Multi-Power Law has no row, as it has no schedule: of the ru")
    assert found.notes[0] in html.unescape(workspace.page(TASK).read_text(encoding="utf-8"))
    made = template(settings, workspace, workspace.root / "runs")
    with pytest.raises(JobError, match=rf"has no schedule for this: .*{why}"):
        job_of(made, settings, workspace, MULTI_POWER_LAW, None, 0)


def test_by_hand_it_is_trained_as_in_the_comparison(
    settings: Settings, workspace: Workspace
) -> None:
    made = template(settings, workspace, workspace.root / "runs")
    found = find_law(TASK, workspace)
    job = job_of(made, settings, workspace, MULTI_POWER_LAW, None, 7)
    assert job == law_job(made, found, 7) and job.spec.peak_lr is None
    again = law_job(made, replace(found, table=(*found.table[:-1], 0.5)), 7)
    assert again.spec.run_id != job.spec.run_id, "the rates name the run"
    history = execute(job)
    assert history.completed and len(history.points) == settings.training.points
    with pytest.raises(JobError, match="finds its peak itself; drop --peak-lr"):
        job_of(made, settings, workspace, MULTI_POWER_LAW, 0.01, 7)
    longer = tiny(training__updates=60)
    with pytest.raises(JobError, match="is of 40 updates and 20 log points, as the sweep's runs"):
        job_of(
            template(longer, workspace, made.histories), longer, workspace, MULTI_POWER_LAW, None, 7
        )


def test_recommended_it_is_there_to_take_away(workspace: Workspace) -> None:
    tests = {"onecycle": [0.8, 0.8, 0.81, 0.8], "lode": [0.8, 0.81, 0.81, 0.8]}
    won = evaluation({**tests, MULTI_POWER_LAW: [0.9, 0.91, 0.9, 0.92]})
    table = np.geomspace(0.1, 0.001, won.setup.points + 1)
    texts = schedules_of(won, workspace, {MULTI_POWER_LAW: tuple(table)})
    _, *rows = csv.reader(io.StringIO(texts["schedule.csv"]))
    n = won.setup.updates
    found = read_at(tuple((float(share), float(rate)) for share, rate in rows), n)
    assert found == pytest.approx(interpolate(table, np.arange(n), n), abs=1e-3 * 0.1)
