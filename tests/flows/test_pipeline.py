"""The flow's own decisions: what is tried again, what runs are called, what is published."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.runs.pool import WorkerDiedError
from components.settings import Settings, SettingsError, load
from components.steps import sweep as sweep_module
from components.steps.pipeline import STEPS
from components.steps.step import Trained
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import HistoryError
from components.validation.errors import ValidationError

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="session", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect's server without a server, its files in a folder of the tests."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    yield


@pytest.fixture
def settings() -> Settings:
    return load(ROOT / "params.yaml")


def failed(error: Exception) -> Any:
    from prefect.states import Failed

    return Failed(data=error, message=str(error))


@pytest.mark.parametrize("error", [WorkerDiedError("killed"), OSError("registry unreachable")])
def test_what_may_pass_next_time_is_tried_again(error: Exception) -> None:
    from flows.retries import may_pass_next_time

    assert may_pass_next_time(None, None, failed(error))


@pytest.mark.parametrize(
    "error",
    [SettingsError("x"), HistoryError("x"), ValidationError("x"), WorkspaceError("disk full")],
)
def test_what_would_fail_again_is_not(error: Exception) -> None:
    from flows.retries import may_pass_next_time

    assert not may_pass_next_time(None, None, failed(error))


def test_only_steps_that_meet_the_outside_world_are_tried_again() -> None:
    from flows import pipeline

    tasks = {name: getattr(pipeline, name) for name in STEPS}
    assert {name for name, task in tasks.items() if task.retries} == {
        "sweep",
        "pilot",
        "register",
        "baselines",
        "train",
    }
    assert all(task.timeout_seconds for task in tasks.values())


def test_names_count_what_is_done(settings: Settings, tmp_path: Path) -> None:
    from flows import pipeline

    parameters = {"settings": settings, "workspace": Workspace(tmp_path)}
    named = {name: getattr(pipeline, name).task_run_name(parameters=parameters) for name in STEPS}
    assert named == {
        "sweep": "sweep mnist1d-cnn · 100 runs",
        "validate": "validate mnist1d-cnn",
        "pilot": "pilot mnist1d-cnn · 100 runs",
        "fit": f"fit mnist1d-cnn · {settings.lode.fit.updates} updates",
        "register": "register mnist1d-cnn",
        "baselines": "baselines mnist1d-cnn · 0 schedulers",
        "train": "train mnist1d-cnn · 50 runs",
        "evaluate": "evaluate mnist1d-cnn · 10 seeds",
    }


def test_overrides_reach_the_settings() -> None:
    from flows.inputs import read

    overrides = {"training.points": 50, "sweep.seeds": [7, 8]}
    settings, workspace = read(ROOT / "params.yaml", "fashion-mnist-cnn", overrides)
    assert settings.task == "fashion-mnist-cnn" and workspace.main.root == ROOT
    assert settings.training.points == 50 and settings.sweep.seeds == [7, 8]


def fail_times(times: int, error: Exception) -> tuple[Callable[..., Trained], list[int]]:
    calls: list[int] = []

    def work(settings: Settings, workspace: Workspace, run_all: object) -> Trained:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return Trained(1, 0, 1)

    return work, calls


@pytest.mark.slow
def test_a_killed_worker_does_not_end_the_flow_and_bad_data_does(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    from flows import pipeline

    sweep = pipeline.sweep.with_options(retry_delay_seconds=0)

    @flow
    def one_step() -> None:
        sweep(settings, Workspace(tmp_path))

    work, calls = fail_times(2, WorkerDiedError("a worker process was killed"))
    monkeypatch.setattr(sweep_module, "work", work)
    one_step()
    assert len(calls) == 3

    work, calls = fail_times(9, ValidationError("bad rows"))
    monkeypatch.setattr(sweep_module, "work", work)
    with pytest.raises(ValidationError, match="bad rows"):
        one_step()
    assert len(calls) == 1
