"""Runs trained elsewhere, as far as that is decided without a server; tests/end_to_end has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.runs.execute import execute
from components.runs.job import Job
from components.runs.plan import sweep_plan
from components.settings import Settings, load
from components.storage.workspace import Workspace
from components.training.history import digest, read_history

SETTINGS = """
task: mnist1d-cnn
training: {updates: 20, points: 10, train_samples: 200, device: cpu}
sweep: {schedulers: [constant, onecycle], peak_lrs: [0.01], seeds: [0, 1]}
execution: EXECUTION
"""
pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture
def make(tmp_path: Path, datasets: Path) -> Callable[[str], tuple[Settings, Workspace]]:
    def workspace(execution: str) -> tuple[Settings, Workspace]:
        (tmp_path / "params.yaml").write_text(SETTINGS.replace("EXECUTION", execution))
        (tmp_path / "data").mkdir()
        (tmp_path / "data/datasets").symlink_to(datasets)
        return load(tmp_path / "params.yaml"), Workspace(tmp_path)

    return workspace


@given(st.integers(0, 60), st.integers(1, 20))
def test_shards_hold_every_job_once_and_are_even(jobs: int, size: int) -> None:
    from flows.fan_out import split

    parts = split(list(range(jobs)), size)  # type: ignore[arg-type]
    assert [job for part in parts for job in part] == list(range(jobs))
    sizes = [len(part) for part in parts]
    assert all(0 < n <= size for n in sizes) and len(parts) == -(-jobs // size)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_local_needs_nobody(make: Any) -> None:
    from flows.fan_out import elsewhere

    assert elsewhere(*make("local"), "sweep-shard/sweep-on-gpu") is None


class Shards:
    """Stands in for the Prefect server (a mock: the real one is in tests/end_to_end): every shard
    handed out trains some of its runs and ends in the state it is told to."""

    def __init__(self, *ends: tuple[int, str]) -> None:
        self.ends: Iterator[tuple[int, str]] = iter(ends)
        self.handed_out: list[list[str]] = []

    def hand_out(self, jobs: list[Job], *_: Any) -> Any:
        from prefect.client.schemas.objects import FlowRun, State, StateType

        done, state = next(self.ends)
        self.handed_out.append([job.spec.describe() for job in jobs])
        for job in jobs[:done]:
            execute(job)
        return FlowRun(
            flow_id="6d3a7c4e-0000-0000-0000-000000000000",
            name="shard",
            state=State(type=StateType[state.upper()], message="its heartbeat stopped"),
        )


def run_with(shards: Shards, jobs: list[Job], workspace: Workspace, monkeypatch: Any) -> Any:
    from prefect import flow

    from flows import fan_out

    monkeypatch.setattr(fan_out, "_hand_out", shards.hand_out)
    monkeypatch.setattr(fan_out, "_look", lambda run: run)
    monkeypatch.setattr(fan_out, "POLL_SECONDS", 0.0)
    told: list[str] = []

    @flow
    def parent() -> Any:
        run_all = fan_out.over_workers(workspace, "sweep-shard/sweep-on-gpu", 2)
        return run_all(jobs, on_history=lambda job, history: told.append(history.run_id))

    histories = parent()
    assert sorted(told) == sorted(job.spec.run_id for job in jobs)
    return histories


@pytest.fixture
def jobs(make: Any) -> tuple[list[Job], Workspace]:
    settings, workspace = make("workers")
    return sweep_plan(settings, workspace).grid_jobs(), workspace


@pytest.mark.slow
def test_what_a_dead_worker_left_is_handed_out_again(
    jobs: tuple[list[Job], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    todo, workspace = jobs
    shards = Shards((1, "crashed"), (2, "completed"), (1, "completed"))
    histories = run_with(shards, todo, workspace, monkeypatch)
    assert [h.run_id for h in histories] == [job.spec.run_id for job in todo]
    assert shards.handed_out == [
        ["constant 0.01 seed 0", "constant 0.01 seed 1"],
        ["onecycle 0.01 seed 0", "onecycle 0.01 seed 1"],
        ["constant 0.01 seed 1"],
    ]


@pytest.mark.slow
def test_who_dies_again_and_again_without_finishing_a_run_is_given_up(
    jobs: tuple[list[Job], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.fan_out import FanOutError

    todo, workspace = jobs
    shards = Shards((2, "completed"), *[(0, "crashed")] * 9)
    with pytest.raises(FanOutError, match="killed 3 times without finishing a run"):
        run_with(shards, todo, workspace, monkeypatch)
    assert len(shards.handed_out) == 4 and todo[0].path.exists()  # finished runs are kept


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ((0, "failed"), "its heartbeat stopped"),
        ((0, "cancelled"), "its heartbeat stopped"),
        ((0, "completed"), "must see the same workspace"),
    ],
)
def test_a_shard_that_fails_ends_the_step_with_its_message(
    end: tuple[int, str],
    message: str,
    jobs: tuple[list[Job], Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.fan_out import FanOutError

    todo, workspace = jobs
    with pytest.raises(FanOutError, match=message):
        run_with(Shards(end, end), todo, workspace, monkeypatch)


@pytest.mark.slow
def test_without_deployments_it_says_what_to_do(jobs: tuple[list[Job], Workspace]) -> None:
    from prefect import flow

    from flows import fan_out

    todo, workspace = jobs

    @flow
    def parent() -> None:
        fan_out.over_workers(workspace, "sweep-shard/sweep-on-gpu", 2)(todo)

    with pytest.raises(fan_out.FanOutError, match="make deploy"):
        parent()


@pytest.mark.acceptance
@pytest.mark.slow
def test_a_dask_cluster_trains_the_same_bits(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow

    from flows import fan_out

    # without a Prefect server every process starts one of its own: as few as there can be
    monkeypatch.setitem(fan_out.LOCAL_CLUSTER, "n_workers", 1)
    settings, workspace = make("dask")
    todo = sweep_plan(settings, workspace).grid_jobs()[:3]

    @flow
    def parent() -> Any:
        run_all = fan_out.elsewhere(settings, workspace, "sweep-shard/sweep-on-gpu")
        assert run_all is not None
        return run_all(todo)

    elsewhere = parent()
    here = [execute(replace(job, histories=tmp_path / "here")) for job in todo]
    assert digest(elsewhere) == digest(here)
    assert all(read_history(job.path).run_id == job.spec.run_id for job in todo)


@pytest.mark.slow
def test_without_a_common_folder_histories_come_through_the_store(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's flow runs here, in a workspace of its own; what starts it is a mock."""
    from prefect import flow
    from prefect.client.schemas.objects import FlowRun, State, StateType

    from flows import fan_out
    from flows.parameters import RunRequest
    from flows.training import sweep_shard

    settings, workspace = make("workers")
    away = tmp_path / "away"
    (away / "data").mkdir(parents=True)
    (away / "data/datasets").symlink_to((workspace.root / "data/datasets").resolve())

    def hand_out(jobs: list[Job], tries: int, workspace: Workspace, deployment: str, store: Any):  # type: ignore[no-untyped-def]
        runs = [RunRequest.of(job, workspace) for job in jobs]
        monkeypatch.setenv("LODE_WORKSPACE", str(away))
        sweep_shard(runs, store=store.url)
        return FlowRun(
            flow_id="6d3a7c4e-0000-0000-0000-000000000000",
            name="shard",
            state=State(type=StateType.COMPLETED),
        )

    monkeypatch.setattr(fan_out, "_hand_out", hand_out)
    monkeypatch.setattr(fan_out, "POLL_SECONDS", 0.0)
    todo = sweep_plan(settings, workspace).grid_jobs()[:2]

    @flow
    def parent() -> Any:
        return fan_out.over_workers(workspace, "x/gpu", 5, f"file://{tmp_path}/store")(todo)

    histories = parent()
    assert [h.run_id for h in histories] == [job.spec.run_id for job in todo]
    assert all(job.path.exists() for job in todo)
    assert len(list((away / "data/histories/mnist1d-cnn").glob("*.parquet"))) == 2
    assert list((away / ".lode/claims").iterdir()) == []


@pytest.mark.slow
def test_a_run_is_not_trained_under_another_lode_than_it_is_named_after(make: Any) -> None:
    from prefect import flow

    from components.runs.scheduled import scheduled_job
    from components.storage.workspace import WorkspaceError
    from flows.training import train_all

    settings, workspace = make("workers")
    folder = workspace.lode("mnist1d-cnn")
    folder.mkdir(parents=True)
    (folder / "lode.safetensors").write_bytes(b"old")
    (folder / "config.json").write_text("{}")
    job = scheduled_job(
        sweep_plan(settings, workspace).template, folder, {"controller": "paper"}, 100
    )
    (folder / "lode.safetensors").write_bytes(b"refitted")

    @flow
    def shard() -> None:
        train_all([job], workspace, None)

    with pytest.raises(WorkspaceError, match="refitted since this run was handed out"):
        shard()
    assert not job.path.exists()
