"""The flow's own decisions: what is tried again, what runs are called, what is published."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.runs.processes import WorkerDiedError
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
        "sweep": "sweep mnist1d-cnn · 40 runs",
        "validate": "validate mnist1d-cnn",
        "pilot": "pilot mnist1d-cnn · 60 runs",
        "fit": f"fit mnist1d-cnn · {settings.lode.fit.updates} updates",
        "register": "register mnist1d-cnn",
        "baselines": "baselines mnist1d-cnn · finer-search",
        "train": "train mnist1d-cnn · 120 runs",
        "evaluate": "evaluate mnist1d-cnn · 20 seeds",
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


@pytest.mark.slow
def test_an_impossible_value_ends_the_run_with_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.client.orchestration import get_client

    from flows.parameters import Changes
    from flows.pipeline import pipeline

    (tmp_path / "params.yaml").write_text("task: digits-mlp\n")
    monkeypatch.chdir(tmp_path)
    message = (
        "params.yaml: training: points (60) must not exceed updates (50): there is at most one log "
        "point per update"
    )
    state: Any = pipeline(changes=Changes(updates=50, points=60), return_state=True)
    assert state.is_failed() and state.message == message
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.name == "digits-mlp · updates 50, log points 60"
    assert run.state is not None and run.state.message == message
    with pytest.raises(SettingsError, match="must not exceed updates"):  # for who calls it
        pipeline(changes=Changes(updates=50, points=60))
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.slow
def test_what_stops_a_step_is_said_without_a_traceback_and_a_fault_of_ours_with_one(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from flows import pipeline, said

    sweep = pipeline.sweep.with_options(retries=0)

    @said.flow(name="one-step", run_name=lambda: "one step")
    def one_step() -> None:
        sweep(settings, Workspace(tmp_path))

    work, _ = fail_times(9, WorkspaceError("the disk is full: free some"))
    monkeypatch.setattr(sweep_module, "work", work)
    state: Any = one_step(return_state=True)
    assert state.is_failed() and state.message == "the disk is full: free some"
    assert not [record for record in caplog.records if record.exc_info]
    assert "the disk is full: free some" in caplog.messages

    work, _ = fail_times(9, KeyError("ours"))
    monkeypatch.setattr(sweep_module, "work", work)
    state = one_step(return_state=True)
    assert state.is_failed() and "KeyError" in state.message
    assert [record for record in caplog.records if record.exc_info]


@pytest.mark.slow
def test_a_step_says_again_and_again_how_far_it_is(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from prefect import flow

    from components.runs import progress as module
    from components.runs.progress import progress
    from flows import pipeline

    monkeypatch.setattr(module, "EVERY_S", 0.01)

    def work(settings: Settings, workspace: Workspace, run_all: object) -> Trained:
        with progress("sweep", 100) as advance:
            advance(40, "onecycle 0.05 seed 3")
            until = time.monotonic() + 30
            while time.monotonic() < until and "40 of 100" not in caplog.text:
                time.sleep(0.01)
        return Trained(1, 0, 1)

    monkeypatch.setattr(sweep_module, "work", work)

    @flow
    def one_step() -> None:
        pipeline.sweep(settings, Workspace(tmp_path))

    one_step()
    assert "sweep mnist1d-cnn · 40 runs: 40 of 100; onecycle 0.05 seed 3" in caplog.text
