"""What the step hands to the evaluation: where it comes from, and the schedules to take away."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from components.lode.names import PLAN
from components.lode.plan_file import read_at, read_plan
from components.schedulers.parametric import onecycle
from components.steps.evaluate import schedules_of
from components.steps.results import read_evaluation
from components.storage.workspace import Workspace
from tests.experiments.made import evaluation
from tests.tiny import TASK, TINY


def test_the_page_names_date_and_settings(finished: Path) -> None:
    workspace = Workspace(finished)
    about = read_evaluation(workspace.evaluation(TASK)).provenance
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", about.date) and about.commit == ""
    assert about.settings["sweep.peak_lrs"] == str(TINY["sweep.peak_lrs"])
    assert about.settings["training.updates"] == "40" and "sweep.workers" not in about.settings
    page = workspace.page(TASK).read_text(encoding="utf-8")
    assert about.date in page and "<dt>sweep.peak_lrs</dt><dd>[0.01, 0.05]</dd>" in page
    assert str(finished) not in page


def rates(text: str) -> tuple[tuple[float, float], ...]:
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["share_of_training", "learning_rate"]
    return tuple((float(share), float(rate)) for share, rate in rows)


def test_schedules_to_take_away_are_the_plan_and_what_is_recommended(finished: Path) -> None:
    workspace = Workspace(finished)
    worse = evaluation({"onecycle": [0.9, 0.91, 0.9, 0.92], "lode": [0.8, 0.8, 0.81, 0.8]})
    texts = schedules_of(worse, workspace)
    plan = workspace.lode(TASK) / PLAN
    assert texts["plan.json"] == plan.read_text(encoding="utf-8")
    assert rates(texts["plan.csv"]) == read_plan(plan).rates
    n = worse.setup.updates
    expected = [onecycle(i, n, 0.05) for i in range(n)]
    found = read_at(rates(texts["schedule.csv"]), n)
    assert np.abs(found - expected).max() <= 1e-3 * 0.05


@pytest.mark.parametrize("best", ["lode", "schedule-free"])
def test_what_follows_gradients_or_is_the_plan_has_no_schedule_of_its_own(
    finished: Path, best: str
) -> None:
    tests = {"onecycle": [0.8, 0.8, 0.81, 0.8], "lode": [0.8, 0.81, 0.81, 0.8]}
    won = evaluation({**tests, best: [0.9, 0.91, 0.9, 0.92]})
    assert set(schedules_of(won, Workspace(finished))) == {"plan.json", "plan.csv"}
