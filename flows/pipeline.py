"""The pipeline: sweep, validate, pilot, fit, register, baselines, train, evaluate.

Each step is a Prefect task over the same function that DVC and `lode …` call. Where a step finds
its finished output it does nothing, so a failed or killed flow run is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from prefect import Task, flow

from components.settings import Settings
from components.steps import all_steps as steps
from components.steps.all_steps import StepResult
from components.storage.lock import only_one
from components.storage.workspace import Workspace
from flows.artifacts import publish
from flows.inputs import read
from flows.parameters import AS_IN_PARAMS, Changes
from flows.parameters import Task as TaskName
from flows.record import record
from flows.tasks import (
    HOUR,
    MINUTE,
    SCHEDULED_TRAINING,
    SWEEP_SHARD,
    named_after_settings,
    step_task,
)


@flow(name="pipeline", flow_run_name=lambda: named_after_settings("pipeline"))
def pipeline(
    task: TaskName = AS_IN_PARAMS,
    changes: Changes = Changes(),  # noqa: B008  a frozen default, which the form shows
    params: Path = Path("params.yaml"),
) -> str:
    """Learn a schedule from a sweep and compare it with the sweep's own schedules.

    Args:
        task: what to train.
        changes: what this run does differently from params.yaml.
        params: the settings file on the worker; its folder is the workspace.

    Returns:
        The result table, as text.
    """
    settings, workspace = read(params, task, changes.overrides())
    with only_one(workspace):
        sweep(settings, workspace)
        validate(settings, workspace)
        pilot(settings, workspace)
        fit(settings, workspace)
        register(settings, workspace)
        baselines(settings, workspace)
        train(settings, workspace)
        evaluate(settings, workspace)
        publish(settings, workspace)
        if task == AS_IN_PARAMS and not changes.overrides():  # DVC knows params.yaml only
            record(workspace, params)
    return steps.result_table(settings, workspace)


def _step(
    name: str, title: Callable[[Settings], str], **options: Any
) -> Task[[Settings, Workspace], StepResult]:
    @wraps(steps.STEPS[name])
    def work(*arguments: Any) -> StepResult:
        return steps.STEPS[name](*arguments)

    return step_task(name, work, title, **options)


# Validation and fit are deterministic: they would fail again. The limits only end what hangs.
sweep = _step(
    "sweep",
    lambda s: f"sweep {s.task} · {s.sweep_runs} runs",
    timeout=72 * HOUR,
    retries=2,  # a worker was killed; finished runs are found
    trains_by=SWEEP_SHARD,
)
validate = _step("validate", lambda s: f"validate {s.task}", timeout=30 * MINUTE)
pilot = _step(
    "pilot",
    lambda s: f"pilot {s.task} · {s.pilot_runs} runs",
    timeout=72 * HOUR,
    retries=2,  # as for the sweep
    trains_by=SWEEP_SHARD,
)
fit = _step("fit", lambda s: f"fit {s.task} · {s.lode.fit.updates} updates", timeout=12 * HOUR)
register = _step(
    "register",
    lambda s: f"register lode-{s.task}",
    timeout=30 * MINUTE,
    retries=3,  # a database or a server that is locked or just starting
)
baselines = _step(
    "baselines",
    lambda s: f"baselines {s.task} · {len(s.baselines.schedulers)} schedulers",
    timeout=72 * HOUR,
    retries=2,  # as for the sweep
    trains_by=SWEEP_SHARD,
)
train = _step(
    "train",
    lambda s: f"train {s.task} · {_evaluation_runs(s)} runs",
    timeout=72 * HOUR,
    retries=2,  # as for the sweep
    trains_by=SCHEDULED_TRAINING,
)
evaluate = _step(
    "evaluate",
    lambda s: f"evaluate {s.task} · {len(s.evaluation.seeds)} seeds",
    timeout=HOUR,
)


def _evaluation_runs(settings: Settings) -> int:
    compared = [*settings.sweep.schedulers, *settings.baselines.schedulers, "lode"]
    return len(compared) * len(settings.evaluation.seeds)
