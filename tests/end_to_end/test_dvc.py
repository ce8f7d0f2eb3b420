"""The same steps as DVC stages: nothing is made twice, and a changed setting repeats its part."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo"), pytest.mark.timeout(600)]
STAGES = ["sweep", "validate", "fit", "register", "train", "evaluate"]


def ran(repro: subprocess.CompletedProcess[str]) -> list[str]:
    assert repro.returncode == 0, repro.stderr
    return re.findall(r"Running stage '(\w+)'", repro.stdout)


def test_after_the_demo_there_is_nothing_to_do(demo: Any) -> None:
    before = demo.outputs()
    assert "up to date" in demo.call("dvc", "status").stdout
    assert ran(demo.call("dvc", "repro")) == []
    assert demo.outputs() == before


def test_git_sees_no_output(demo: Any) -> None:
    status = subprocess.run(
        ["git", "status", "--short", "--untracked-files=all"], cwd=demo.root,
        capture_output=True, text=True,
    )  # fmt: skip
    names = [line[3:] for line in status.stdout.splitlines()]
    assert "params.yaml" in names
    assert not [n for n in names if n.startswith(("data", "models", "reports", "ml", ".lode"))]


def test_from_nothing_every_stage_runs_once(clone: Any, demo: Any) -> None:
    shutil.copytree(demo.root / "data/datasets", clone.root / "data/datasets")  # input, no output
    assert ran(clone.call("dvc", "repro")) == STAGES
    assert ran(clone.call("dvc", "repro")) == []
    reports = f"reports/{clone.task}"
    assert f"{reports}/evaluation.json" in clone.call("dvc", "metrics", "show", "--json").stdout
    assert f"{reports}/figures/" in clone.call("dvc", "plots", "show", "--json").stdout


def test_a_changed_setting_repeats_what_depends_on_it_and_keeps_finished_runs(
    demo: Any, tmp_path: Path
) -> None:
    clone = demo.copy(tmp_path / "clone")
    before = clone.outputs()
    clone.change_settings(evaluation={"seeds": [100, 101, 102]})
    assert ran(clone.call("dvc", "repro")) == ["train", "evaluate"]
    after = clone.outputs()
    runs = [name for name in after if name.startswith(f"data/scheduled/{demo.task}/")]
    assert len(runs) == 9
    assert sum(after[name] == before.get(name) for name in runs) == 6
