"""A step of `components/` as a Prefect task; the same for every flow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from prefect import get_run_logger
from prefect.cache_policies import NO_CACHE

from components.runs.progress import reporting
from components.settings import Settings
from components.steps.step import Step, StepResult
from components.storage.workspace import Workspace
from flows.fan_out import elsewhere
from flows.interrupts import Stoppable, stopped
from flows.retries import DELAYS, may_pass_next_time

StepTask = Stoppable[[Settings, Workspace], StepResult]


def step_task(step: Step) -> StepTask:
    """A step of the pipeline as a Prefect task whose name tells its runs apart."""
    return _task(
        step.name,
        step,
        step.help,
        step.title,
        timeout=step.limit,
        retries=step.retries,
        trains_by=step.trains_by,
    )


def part_task(
    name: str,
    work: Callable[..., StepResult],
    *,
    timeout: float,
    retries: int = 0,
    trains_by: str | None = None,
) -> StepTask:
    """A part of a night, a function of `components/retraining`, likewise.

    Args:
        trains_by: for one that takes `run_all`, the deployment that trains for it where
            params.yaml's `execution` says so.
    """
    title = name.replace("_", " ")
    return _task(
        name,
        work,
        work.__doc__,
        lambda settings: f"{title} {settings.task}",
        timeout=timeout,
        retries=retries,
        trains_by=trains_by,
    )


def _task(
    name: str,
    work: Callable[..., StepResult],
    description: str | None,
    title: Callable[[Settings], str],
    *,
    timeout: float,
    retries: int,
    trains_by: str | None,
) -> StepTask:
    """The steps know themselves what is done, so Prefect's cache stays out of it."""

    def run(settings: Settings, workspace: Workspace) -> Any:  # a StepResult, or `stopped()`
        who = [elsewhere(settings, workspace, trains_by)] if trains_by else []
        log, named = get_run_logger(), title(settings)

        def say(line: str) -> None:
            log.info(line)
            click.echo(line, err=True)

        # a terminal has the bar
        told = log.info if sys.stderr.isatty() else say
        try:
            with reporting(lambda how_far: told(f"{named}: {how_far}")):
                result = work(settings, workspace, *who)
        except KeyboardInterrupt:
            return stopped()
        say(f"{named}: {result.summary} ({result.timing})")
        return result

    def title_of(parameters: dict[str, Any]) -> str:
        return title(parameters["settings"])

    return Stoppable(
        run,
        name=name,
        description=description,
        task_run_name=title_of,  # type: ignore[arg-type]  # a Protocol no function satisfies
        cache_policy=NO_CACHE,
        timeout_seconds=timeout,
        retries=retries,
        retry_delay_seconds=DELAYS[:retries] or None,
        retry_condition_fn=may_pass_next_time,
    )
