"""`multi-power-law` from the settings to the report: found once, named after the sweep, and what
happens where its file is damaged, of another sweep, or no law fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from components.cli.main import cli
from components.evaluation.order import ranked
from components.runs import law
from components.runs.comparison import comparison
from components.runs.law import find_law, read_law
from components.runs.plan import JobError, job_of, template
from components.runs.sweep_histories import sweep_histories
from components.schedulers import swept_law
from components.schedulers.names import MULTI_POWER_LAW, label
from components.schedulers.swept_law import law_schedule
from components.settings import Settings
from components.steps.evaluate import schedules_of
from components.steps.pipeline import STEPS
from components.steps.results import read_evaluation
from components.storage.typed import read_sealed, write_sealed
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import read_history
from tests.tiny import TASK, TINY, in_this_process, tiny, write_params

pytestmark = pytest.mark.slow
ASKED = [*TINY["baselines.schedulers"], MULTI_POWER_LAW]


@pytest.fixture
def settings() -> Settings:
    return tiny(baselines__schedulers=ASKED)


@pytest.fixture
def workspace(finished_copy: Path) -> Workspace:
    write_params(finished_copy, baselines__schedulers=ASKED)
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
    assert MULTI_POWER_LAW in ranked(found)
    assert not [name for name, step in STEPS.items() if step.compares and not current(name)]


def killed_after(runs: int) -> Any:
    def run_all(jobs: Any, **options: Any) -> Any:
        waiting = [job for job in jobs if not job.path.exists()]
        in_this_process(waiting[:runs])
        raise KeyboardInterrupt

    return run_all


def current(name: str) -> bool:
    return True
