"""`lode learn`, and runs under what it has learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.runs.build import BUILDERS
from components.runs.execute import execute
from components.runs.job import Job
from components.runs.plan import JobError, job_of, sweep_plan
from components.runs.policies import learn_policy, policy_job
from components.runs.single import single_run
from components.schedulers import names
from components.schedulers.learning import METHODS
from components.schedulers.policy import PolicyError
from components.settings import Settings, load
from components.storage.workspace import Workspace
from components.training.history import read_history


def template(settings: Settings, space: Workspace) -> Job:
    return sweep_plan(settings, space).template


TINY = {"task": "digits-mlp", "training.updates": 40, "training.points": 10}


def test_names_are_those_of_the_registries() -> None:
    assert tuple(METHODS) == names.LEARNED_SCHEDULERS
    assert set(BUILDERS) - {"plan"} == set(names.SCHEDULERS)


@pytest.mark.parametrize("scheduler", names.LEARNED_SCHEDULERS)
def test_a_policy_is_learned_once_and_names_its_runs(scheduler: str, workspace: Path) -> None:
    settings, space = load(workspace / "params.yaml", TINY), Workspace(workspace)
    with pytest.raises(PolicyError, match=f"lode learn --scheduler {scheduler}.* first"):
        job_of(template(settings, space), settings, space, scheduler, 0.01, 0)
    made = template(settings, space)
    first = learn_policy(settings, space, made, scheduler, episodes=2)
    assert first.ran and first.learning_updates == 80
    assert not learn_policy(settings, space, made, scheduler, episodes=2).ran
    job = job_of(template(settings, space), settings, space, scheduler, 0.01, 0)
    assert job.policy == workspace / "models" / scheduler / "digits-mlp"
    assert job.spec.scheduler_digest == first.digest
    history = execute(replace(job, device="cpu"))
    assert history.completed and history.meta["price"]["learning_updates"] == 80
    assert learn_policy(settings, space, made, scheduler, episodes=2, seed=1).ran
    other = policy_job(sweep_plan(settings, space).template, space, scheduler, 0.01, 0)
    assert other.spec.run_id != job.spec.run_id
    with pytest.raises(PolicyError, match="learned again since"):
        execute(replace(job, histories=workspace / "elsewhere"))


def test_a_learned_scheduler_needs_a_rate_to_start_from(workspace: Path) -> None:
    settings, space = load(workspace / "params.yaml", TINY), Workspace(workspace)
    with pytest.raises(JobError, match=r"starts from: add --peak-lr 0\.01"):
        job_of(template(settings, space), settings, space, "gns", None, 0)


@pytest.mark.slow
def test_a_population_trains_from_the_settings(workspace: Path) -> None:
    settings, space = load(workspace / "params.yaml", TINY), Workspace(workspace)
    with pytest.raises(JobError, match="drop --peak-lr"):
        job_of(template(settings, space), settings, space, "pbt", 0.01, 0)
    said = single_run(settings, space, "pbt", None, 0, workspace / "runs")
    assert "digits-mlp pbt seed 0: test 0." in said
    (path,) = (workspace / "runs" / "digits-mlp").glob("*.parquet")
    meta = read_history(path).meta
    assert meta["price"]["run_factor"] == 8 and meta["peak_lr"] is None
    assert len(meta["population"]["lrs"]) == 10
    wider = load(workspace / "params.yaml", {**TINY, "sweep.peak_lrs": [1e-4, 1.0]})
    assert job_of(template(wider, space), wider, space, "pbt", None, 0).spec.run_id != path.stem
