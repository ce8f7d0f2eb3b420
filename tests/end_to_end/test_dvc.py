"""The same steps as DVC stages: nothing is made twice, and a changed setting repeats its part."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STAGES = ["sweep", "validate", "pilot", "fit", "register", "baselines", "train", "evaluate"]


def ran(repro: subprocess.CompletedProcess[str]) -> list[str]:
    assert repro.returncode == 0, repro.stderr
    return re.findall(r"Running stage '(\w+)'", repro.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_clone: Any) -> Any:
    """A clone after a first `dvc repro`, which ran every stage once."""
    clone = make_clone(tmp_path_factory.mktemp("dvc") / "clone")
    assert ran(clone.call("dvc", "repro")) == STAGES
    return clone


def test_a_second_time_nothing_runs(made: Any) -> None:
    before = made.outputs()
    assert ran(made.call("dvc", "repro")) == []
    assert made.outputs() == before


def test_metrics_and_plots_show_the_evaluation(made: Any) -> None:
    reports = f"reports/{made.task}"
    assert f"{reports}/evaluation.json" in made.call("dvc", "metrics", "show", "--json").stdout
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
    made.change_settings(evaluation={"seeds": [100, 101, 102]})
    assert ran(made.call("dvc", "repro")) == ["pilot", "train", "evaluate"]
    after = made.outputs()
    runs = [name for name in after if name.startswith(f"data/scheduled/{made.task}/")]
    assert len(runs) == 9
    assert sum(after[name] == before.get(name) for name in runs) == 6
