"""The pipeline: sweep, validate, pilot, fit, register, train, evaluate.

Each step is a Prefect task over the same function that DVC and `lode …` call. Where a step finds
its finished output it does nothing, so a failed or killed flow run is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from prefect import Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from components import steps
from components.lock import only_one
from components.settings import Settings, SettingsError
from components.steps import StepResult
from components.workspace import Workspace
from flows.artifacts import publish
from flows.fan_out import elsewhere
from flows.inputs import read
from flows.parameters import AS_IN_PARAMS, Changes
from flows.parameters import Task as TaskName
from flows.record import record
from flows.retries import DELAYS, may_pass_next_time

MINUTE, HOUR = 60, 60 * 60


@flow(name="pipeline", flow_run_name=lambda: _flow_run_name())
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
        train(settings, workspace)
        evaluate(settings, workspace)
        publish(settings, workspace)
        if task == AS_IN_PARAMS and not changes.overrides():  # DVC knows params.yaml only
            record(workspace, params)
    return steps.result_table(settings, workspace)


def _step(
    name: str,
    title: Callable[[Settings], str],
    *,
    timeout: float,
    retries: int = 0,
) -> Task[[Settings, Workspace], StepResult]:
    """A step as a Prefect task whose name tells its runs apart.

    The steps know themselves what is done, so Prefect's cache stays out of it.
    """

    def run(settings: Settings, workspace: Workspace) -> StepResult:
        if name in steps.TRAINING:
            deployment = "scheduled-training/gpu" if name == "train" else "sweep-shard/gpu"
            who = elsewhere(settings, workspace, deployment)
            result = steps.STEPS[name](settings, workspace, who)
        else:
            result = steps.STEPS[name](settings, workspace)
        done = f"{result.seconds:.1f} s" if result.ran else "up to date"
        line = f"{title(settings)}: {result.summary} ({done})"
        get_run_logger().info(line)
        click.echo(line, err=True)
        return result

    def title_of(parameters: dict[str, Any]) -> str:
        return title(parameters["settings"])

    return task(
        name=name,
        description=steps.STEPS[name].__doc__,
        task_run_name=title_of,  # type: ignore[arg-type]  # a Protocol no function satisfies
        cache_policy=NO_CACHE,
        timeout_seconds=timeout,
        retries=retries,
        retry_delay_seconds=DELAYS[:retries] or None,
        retry_condition_fn=may_pass_next_time,
    )(run)


# Validation and fit are deterministic: they would fail again. The limits only end what hangs.
sweep = _step(
    "sweep",
    lambda s: f"sweep {s.task} · {s.sweep_runs} runs",
    timeout=72 * HOUR,
    retries=2,  # a worker was killed; finished runs are found
)
validate = _step("validate", lambda s: f"validate {s.task}", timeout=30 * MINUTE)
pilot = _step(
    "pilot",
    lambda s: f"pilot {s.task} · {s.pilot_runs} runs",
    timeout=72 * HOUR,
    retries=2,  # as for the sweep
)
fit = _step("fit", lambda s: f"fit {s.task} · {s.lode.fit.updates} updates", timeout=12 * HOUR)
register = _step(
    "register",
    lambda s: f"register lode-{s.task}",
    timeout=30 * MINUTE,
    retries=3,  # a database or a server that is locked or just starting
)
train = _step(
    "train",
    lambda s: f"train {s.task} · {_evaluation_runs(s)} runs",
    timeout=72 * HOUR,
    retries=2,  # as for the sweep
)
evaluate = _step(
    "evaluate",
    lambda s: f"evaluate {s.task} · {len(s.evaluation.seeds)} seeds",
    timeout=HOUR,
)


def _evaluation_runs(settings: Settings) -> int:
    return (len(settings.sweep.schedulers) + 1) * len(settings.evaluation.seeds)


def _flow_run_name() -> str:
    given = flow_run.parameters
    try:
        changes = Changes.model_validate(given["changes"])
        settings, _ = read(given["params"], given["task"], changes.overrides())
    except SettingsError:  # the run itself will say what is wrong
        return "pipeline · invalid settings"
    return f"pipeline {settings.task} · {settings.digest()[:8]}"
