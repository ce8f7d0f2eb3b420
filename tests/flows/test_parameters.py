"""What the form offers, and what a worker is told of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.runs.job import Job
from components.schedulers.names import SCHEDULERS
from components.settings import load
from components.storage.workspace import Workspace
from components.tasks.names import TASKS
from components.training.run import RunSpec
from flows.form import form
from flows.inputs import read
from flows.parameters import AS_IN_PARAMS, Changes, RunRequest, Scheduler
from flows.pipeline import pipeline

ROOT = Path(__file__).parents[2]


def test_the_form_offers_every_task_and_scheduler() -> None:
    own = {"task": "mine", "tasks": {"mine": {"python": "my_module:TASK"}}}
    shown = form(pipeline, load(ROOT / "params.yaml", own))["properties"]["task"]
    assert shown["enum"] == [AS_IN_PARAMS, "mine", *TASKS]
    assert set(get_args(Scheduler)) == set(SCHEDULERS)


def test_an_untouched_form_changes_nothing() -> None:
    assert Changes().overrides() == {}
    settings, workspace = read(ROOT / "params.yaml", AS_IN_PARAMS, Changes().overrides())
    assert settings == load(ROOT / "params.yaml") and workspace.root == ROOT


def test_every_field_of_the_form_reaches_the_settings() -> None:
    changes = Changes(
        execution="workers",
        controller="paper",
        updates=77,
        points=11,
        sweep_seeds=[7, 8],
        fresh_seeds=[200, 201],
        pilots=40,
        peak_lrs=[0.3],
        others={"lode.fit.updates": 77},
    )
    settings, _ = read(ROOT / "params.yaml", "digits-mlp", changes.overrides())
    assert settings.task == "digits-mlp" and settings.execution.mode == "workers"
    assert settings.lode.controller == "paper" and settings.pilots.runs == 40
    assert (settings.training.updates, settings.training.points) == (77, 11)
    assert settings.sweep.seeds == [7, 8] and settings.evaluation.seeds == [200, 201]
    assert settings.sweep.peak_lrs == [0.3] and settings.lode.fit.updates == 77


def test_the_form_shows_the_fields_in_their_order() -> None:
    fields = Changes.model_json_schema()["properties"]
    assert [fields[name]["position"] for name in fields] == list(range(len(fields)))
    assert all(fields[name]["title"] and fields[name]["description"] for name in fields)


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="update"):
        Changes.model_validate({"update": 3})


finite = st.floats(1e-8, 1, allow_nan=False)
jobs = st.builds(
    Job,
    spec=st.builds(
        RunSpec,
        task=st.sampled_from(TASKS),
        scheduler=st.sampled_from([*SCHEDULERS, "plan"]),
        peak_lr=st.none() | finite,
        seed=st.integers(0, 10**6),
        updates=st.integers(10, 10**6),
        points=st.integers(10, 1000),
        train_samples=st.none() | st.integers(1, 10**6),
        scheduler_digest=st.none() | st.text(),
        sharpness_method=st.none() | st.just("lanczos 64"),
        data_digest=st.none() | st.just("ab"),
    ),
    histories=st.just(Path("/a/data/histories/x")),
    data=st.just(Path("/a/data/datasets")),
    device=st.sampled_from(["auto", "cuda:1"]),
    lode=st.none() | st.just(Path("/a/models/lode/x")),
    policy=st.none() | st.just(Path("/a/models/gns/x")),
    controller=st.just({}) | st.just({"mu": 0.05, "horizon": None, "sigma": 0.15}),
    plan=st.just(()) | st.lists(finite, min_size=2, max_size=5).map(tuple),
    sharpness=st.none() | st.just({"method": "lanczos", "samples": 64}),
)


@given(jobs)
def test_a_run_is_the_same_on_another_machine(job: Job) -> None:
    sent = json.dumps(RunRequest.of(job, Workspace(Path("/a"))).model_dump(mode="json"))
    got = RunRequest.model_validate_json(sent).job(Workspace(Path("/b/c")))
    assert got.spec == job.spec and got.spec.run_id == job.spec.run_id
    assert got.path == Path("/b/c/data/histories/x") / f"{job.spec.run_id}.parquet"
    assert (got.plan, got.controller, got.sharpness) == (job.plan, job.controller, job.sharpness)
    assert got.lode == (Path("/b/c/models/lode/x") if job.lode else None)
    assert got.policy == (Path("/b/c/models/gns/x") if job.policy else None)
    assert "/a/" not in sent


def test_a_workers_workspace_is_what_its_machine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("task: digits-mlp\n")
    monkeypatch.chdir("/")
    monkeypatch.setenv("LODE_WORKSPACE", str(tmp_path))
    settings, workspace = read(Path("params.yaml"))
    assert settings.task == "digits-mlp" and workspace.root == tmp_path.resolve()
