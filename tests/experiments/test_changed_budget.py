"""The comparison under a budget that changes: its plans by hand, and all of it on a small task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from components.experiments import changed_budget
from components.experiments.changed_budget import MOVED, REPLANNED, Length, plans_of
from components.experiments.command import ExperimentError
from components.schedulers.plan import parametric_table
from components.settings import load
from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace
from components.training.history import read_histories
from tests.tiny import TASK, in_this_process, write_params

BASELINES = ["warmup-stable-decay", "warmup-cosine"]


class Here:
    """Computes what it is given at once."""

    def submit(self, do: Callable[..., None], *given: Any) -> Future[None]:
        future: Future[None] = Future()
        future.set_result(do(*given))
        return future


@contextmanager
def here(*_: Any) -> Iterator[Here]:
    yield Here()


@pytest.fixture
def params(finished_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(changed_budget, "run_all", in_this_process)
    monkeypatch.setattr(changed_budget, "processes", here)
    params = write_params(finished_copy, baselines__schedulers=BASELINES)
    STEPS["baselines"](load(params), Workspace(finished_copy), in_this_process)
    return params


def test_every_schedule_had_the_same_first_part_under_the_old_budget(params: Path) -> None:
    settings, workspace = load(params), Workspace(params.parent)
    for share, updates in ((0.7, 28), (1.5, 60)):
        length = Length.of(40, 20, share)
        assert (length.at, length.new_updates, length.new_points) == (8, updates, updates // 2)
        rows = plans_of(settings, workspace, length)
        (moved,) = (plan for row, plan in rows.items() if row.endswith(MOVED))
        peak = moved.max()
        new = parametric_table("warmup-stable-decay", peak, updates, length.new_points)
        assert moved[:9].tolist() == parametric_table(BASELINES[0], peak, 40, 20)[:9].tolist()
        assert moved[9:].tolist() == new[9:].tolist() and moved[-1] < 0.3 * peak
        for row, plan in rows.items():
            assert len(plan) == length.new_points + 1 and plan.min() > 0, row
        for row in [row for row in rows if row.endswith("unchanged")]:
            other = rows[row.replace("unchanged", "stretched")]
            assert other[:9].tolist() == rows[row][:9].tolist()
            assert (other[-1] < rows[row][-1]) == (share < 1) or np.ptp(other[8:]) == 0


def test_a_length_without_log_points_of_its_own_is_refused() -> None:
    with pytest.raises(ExperimentError, match="70% of 50 updates and 15 log points are no run"):
        Length.of(50, 15, 0.7)


def test_runs_are_trained_once_and_printed(params: Path) -> None:
    first = CliRunner().invoke(changed_budget.main, [str(params)])
    assert first.exit_code == 0, first.output
    lines = [line for line in first.output.splitlines() if line.startswith("|")]
    rows = {cells[0]: cells for line in lines if (cells := line.strip("| ").split(" | "))}
    assert len(rows) == len(lines) >= 8 and all(
        "±" in cells[1] for cells in list(rows.values())[2:]
    )
    assert rows[REPLANNED][2].count("to") == rows[REPLANNED][4].count("to") == 1
    assert "70%: the LODE chose " in first.output and "150%: the LODE chose " in first.output
    folder = Workspace(params.parent).changed_budget(TASK)
    ours = [run for run in read_histories(folder) if run.meta["scheduler"] == "lode"]
    assert sorted(len(run.points) for run in ours) == [14, 14, 30, 30]
    for run in ours:
        (change,) = run.meta["budgets"]
        assert (change["done"], change["updates"]) == (16, run.meta["updates"])
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert CliRunner().invoke(changed_budget.main, [str(params)]).output == first.output
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_without_tuned_baselines_it_says_what_to_do(finished: Path) -> None:
    said = CliRunner().invoke(changed_budget.main, [str(finished / "params.yaml")]).output
    assert "it takes baselines.schedulers: [warmup-stable-decay, warmup-cosine]" in said
