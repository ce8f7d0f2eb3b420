"""The same steps as DVC stages: nothing is made twice, and a changed setting repeats its part."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.steps.pipeline import PIPELINE
from tests.tiny import TASK, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STAGES = [step.name for step in PIPELINE]


def ran(repro: subprocess.CompletedProcess[str]) -> list[str]:
    assert repro.returncode == 0, repro.stderr
    return re.findall(r"Running stage '(\w+)'", repro.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_clone: Any, finished: Path) -> Any:
    """A clone whose pipeline has been finished without DVC, which then was told of it."""
    clone = make_clone(tmp_path_factory.mktemp("dvc") / "clone")
    shutil.copytree(finished, clone.root, dirs_exist_ok=True)
    assert clone.call("components.cli", "register").returncode == 0  # of a copy: anew
    done = clone.call("dvc", "commit", "--force", "--quiet")
    assert done.returncode == 0, done.stderr
    return clone


@pytest.mark.acceptance
def test_every_stage_runs_once_and_a_second_time_none(tmp_path: Path, make_clone: Any) -> None:
    clone = make_clone(tmp_path / "clone")
    write_params(clone.root)
    assert ran(clone.call("dvc", "repro")) == STAGES
    before = clone.outputs()
    assert ran(clone.call("dvc", "repro")) == []
    assert clone.outputs() == before


def test_metrics_and_plots_show_the_evaluation(made: Any) -> None:
    reports = f"reports/{TASK}"
    shown = made.call("dvc", "metrics", "show", "--json")
    assert shown.returncode == 0 and not shown.stderr, "no warning of metrics not loaded"
    [files] = [one["data"] for one in json.loads(shown.stdout).values()]
    assert list(files) == [f"{reports}/metrics.json"]
    numbers = files[f"{reports}/metrics.json"]["data"]
    assert "gain" in numbers and len(numbers) <= 10
    assert all(isinstance(number, int | float) for number in numbers.values())
    plots = made.call("dvc", "plots", "show", "--json").stdout
    assert f"{reports}/figures/learning_rates.svg" in plots


def test_what_changes_no_code_repeats_nothing(made: Any) -> None:
    """Python's caches lie in the rooms that the stages depend on."""
    cache = made.root / "components/lode/__pycache__/other.pyc"
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(b"x")
    assert ran(made.call("dvc", "repro")) == []


def test_a_changed_setting_repeats_what_depends_on_it_and_keeps_finished_runs(
    made: Any, tmp_path: Path
) -> None:
    before = made.outputs()
    write_params(made.root, evaluation__seeds=[100, 101, 102])
    assert ran(made.call("dvc", "repro")) == ["pilot", "train", "evaluate"]
    after = made.outputs()
    runs = [name for name in after if name.startswith(f"data/scheduled/{TASK}/")]
    assert len(runs) == 3 * len([name for name in runs if name in before]) // 2
    assert all(after[name] == before[name] for name in runs if name in before)


def test_changed_code_starts_its_stages_and_a_comment_makes_nothing_anew(made: Any) -> None:
    """DVC goes by rooms and bytes; the step, which knows what its code means, finds it all done."""
    path = made.root / "components/registry/aliases.py"
    path.write_text(path.read_text() + "# a comment\n")
    before = (made.root / f"reports/{TASK}/registration.json").read_bytes()
    done = made.call("dvc", "repro")
    assert ran(done) == ["register", "evaluate"]
    assert done.stdout.count("(up to date)") == 2
    assert "version 2, the champion (up to date)" in done.stdout
    assert (made.root / f"reports/{TASK}/registration.json").read_bytes() == before
