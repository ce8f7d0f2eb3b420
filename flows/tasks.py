"""A step of `components/` as a Prefect task, and a flow run's name; the same for every flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from components.settings import Settings, SettingsError
from components.steps.all_steps import StepResult
from components.storage.workspace import Workspace
from flows.fan_out import elsewhere
from flows.inputs import read
from flows.parameters import Changes
from flows.retries import DELAYS, may_pass_next_time

MINUTE, HOUR = 60, 60 * 60
SWEEP_SHARD, SCHEDULED_TRAINING = "sweep-shard/gpu", "scheduled-training/gpu"


def step_task(
    name: str,
    work: Callable[..., StepResult],
    title: Callable[[Settings], str],
    *,
    timeout: float,
    retries: int = 0,
    trains_by: str | None = None,
) -> Task[[Settings, Workspace], StepResult]:
    """A step as a Prefect task whose name tells its runs apart.

    The steps know themselves what is done, so Prefect's cache stays out of it.

    Args:
        trains_by: for a step that takes `run_all`, the deployment that trains for it where
            params.yaml's `execution` says so.
    """

    def run(settings: Settings, workspace: Workspace) -> StepResult:
        who = [elsewhere(settings, workspace, trains_by)] if trains_by else []
        result = work(settings, workspace, *who)
        done = f"{result.seconds:.1f} s" if result.ran else "up to date"
        line = f"{title(settings)}: {result.summary} ({done})"
        get_run_logger().info(line)
        click.echo(line, err=True)
        return result

    def title_of(parameters: dict[str, Any]) -> str:
        return title(parameters["settings"])

    return task(
        name=name,
        description=work.__doc__,
        task_run_name=title_of,  # type: ignore[arg-type]  # a Protocol no function satisfies
        cache_policy=NO_CACHE,
        timeout_seconds=timeout,
        retries=retries,
        retry_delay_seconds=DELAYS[:retries] or None,
        retry_condition_fn=may_pass_next_time,
    )(run)


def named_after_settings(flow: str) -> str:
    """`pipeline mnist1d-cnn · 4f1a9c02`, for a flow with the parameters params, task, changes."""
    given = flow_run.parameters
    try:
        changes = Changes.model_validate(given["changes"])
        settings, _ = read(given["params"], given["task"], changes.overrides())
    except SettingsError:  # the run itself will say what is wrong
        return f"{flow} · invalid settings"
    return f"{flow} {settings.task} · {settings.digest()[:8]}"
