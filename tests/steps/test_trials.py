"""Trials: what runs with other settings than params.yaml's leaves production as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.registry.models import champion
from components.runs.plan import sweep_plan
from components.settings import Settings, SettingsError
from components.steps.pipeline import PIPELINE, STEPS
from components.steps.trials import opened
from components.storage.workspace import Workspace
from tests.tiny import TASK, in_this_process, write_params


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return write_params(tmp_path)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"training.updates": 40},  # as in the file
        {"sweep.workers": 1, "training.device": "auto", "execution.mode": "workers"},
        {"retraining.seeds": 7, "registry.tracking_uri": "sqlite:///other.db"},
        {"task": "mnist1d-cnn"},  # which has folders of its own
    ],
)
def test_what_changes_no_result_is_no_trial(params: Path, overrides: dict[str, Any]) -> None:
    settings, workspace = opened(params, overrides)
    assert workspace == Workspace(params.parent)
    assert settings.task == overrides.get("task", TASK)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({"training.updates": 50}, "updates-50-"),
        ({"sweep.seeds": [2, 3], "lode.encoder": "gru"}, "encoder-gru-seeds-2-3-"),
        ({"pilots.runs": 25}, "runs-25-"),
    ],
)
def test_a_trial_has_a_readable_folder_of_its_own(
    params: Path, overrides: dict[str, Any], name: str
) -> None:
    _, workspace = opened(params, overrides)
    assert workspace.root.parent == params.parent / "trials" and workspace.name.startswith(name)
    assert len(workspace.name) <= 49 and workspace == opened(params, dict(overrides))[1]
    assert workspace != opened(params, overrides | {"lode.fit.updates": 99})[1]
    assert workspace.main == Workspace(params.parent)
    for shared in ("data", "artifacts"):
        assert getattr(workspace, shared) == getattr(workspace.main, shared)
    assert workspace.database("sqlite:///mlflow.db") == f"sqlite:///{params.parent}/mlflow.db"
    for own in ("histories", "pilots", "lode", "reports", "scheduled", "baselines", "page"):
        assert getattr(workspace, own)(TASK).is_relative_to(workspace.root)


def test_what_is_replaced_may_mend_the_file(params: Path) -> None:
    found = yaml.safe_load(params.read_text())
    found["training"]["updates"] = -1
    params.write_text(yaml.safe_dump(found))
    with pytest.raises(SettingsError, match=r"training\.updates"):
        opened(params, {})
    assert opened(params, {"training.updates": 40})[1].name


def contents(root: Path) -> dict[Path, bytes]:
    """Of everything but the trials and MLflow's own store, which is shared."""
    files = (path for path in root.rglob("*") if path.is_file())
    theirs = ("trials", "mlartifacts", "datasets")
    return {
        path: path.read_bytes()
        for path in files
        if not set(theirs) & set(path.relative_to(root).parts) and path.suffix != ".db"
    }


def run(settings: Settings, workspace: Workspace) -> dict[str, str]:
    return {s.name: s(settings, workspace, in_this_process).summary for s in PIPELINE}


@pytest.mark.slow
def test_a_trial_leaves_production_as_it_is_and_trains_no_run_twice(finished_copy: Path) -> None:
    params = write_params(finished_copy)
    settings, main = opened(params, {})
    uri = main.database("sqlite:///mlflow.db")
    STEPS["register"](settings, main)  # of a copy: anew
    before, version = contents(finished_copy), champion(TASK, tracking_uri=uri).version
    said = run(*opened(params, {"lode.fit.updates": 21}))
    assert said["sweep"] == "8 runs, 0 diverged, 8 found", "the sweep's own are lent"
    assert "a candidate: it is of the trial updates-21-" in said["register"]
    other = opened(params, {"evaluation.seeds": [100, 102]})
    _, trial = other
    run(*other)
    plan = sweep_plan(settings, main).grid_jobs()
    assert {job.path.name for job in plan} == {p.name for p in trial.histories(TASK).iterdir()}
    assert trial.page(TASK).exists() and trial.page(TASK) != main.page(TASK)
    assert contents(finished_copy) == before
    assert champion(TASK, tracking_uri=uri).version == version
    assert all(step.is_current(settings, main) for step in PIPELINE)
