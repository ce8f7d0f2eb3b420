"""Nightly retraining: collect, version, fit a challenger, compare, decide.

Each part is a Prefect task over a function of `components/retraining`. What a killed night had done
is kept, and the next one goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run

from components import retraining
from components.lock import only_one
from components.settings import Settings, SettingsError
from components.steps import StepResult
from components.workspace import Workspace
from flows.fan_out import elsewhere
from flows.inputs import read
from flows.parameters import AS_IN_PARAMS, Changes
from flows.parameters import Task as TaskName
from flows.retries import DELAYS, may_pass_next_time

HOUR = 60 * 60


@flow(name="nightly-retraining", flow_run_name=lambda: _flow_run_name())
def nightly_retraining(
    task: TaskName = AS_IN_PARAMS,
    changes: Changes = Changes(),  # noqa: B008  a frozen default, which the form shows
    params: Path = Path("params.yaml"),
) -> str:
    """Refit the LODE on what has accumulated; a worse one never replaces a better one.

    Args:
        task: whose LODE.
        changes: what this night does differently from params.yaml.
        params: the settings file on the worker; its folder is the workspace.

    Returns:
        The night in one line.
    """
    settings, workspace = read(params, task, changes.overrides())
    with only_one(workspace):
        found = collect(settings, workspace)
        if not found.ran:  # nothing new
            return found.summary
        record_version(settings, workspace)
        fit_challenger(settings, workspace)
        compare(settings, workspace)
        decision = decide(settings, workspace)
    publish(settings.task, decision)
    return decision.summary


def _part(
    name: str, work: Callable[..., StepResult], *, timeout: float, retries: int = 0
) -> Task[[Settings, Workspace], StepResult]:
    def run(settings: Settings, workspace: Workspace) -> StepResult:
        if name == "compare":
            result = work(settings, workspace, elsewhere(settings, workspace, TRAINING))
        else:
            result = work(settings, workspace)
        get_run_logger().info(f"{name} {settings.task}: {result.summary} ({result.seconds:.1f} s)")
        return result

    def title(parameters: dict[str, Any]) -> str:
        return f"{name.replace('_', ' ')} {parameters['settings'].task}"

    return task(
        name=name,
        description=work.__doc__,
        task_run_name=title,  # type: ignore[arg-type]  # a Protocol no function satisfies
        cache_policy=NO_CACHE,
        timeout_seconds=timeout,
        retries=retries,
        retry_delay_seconds=DELAYS[:retries] or None,
        retry_condition_fn=may_pass_next_time,
    )(run)


TRAINING = "scheduled-training/gpu"
collect = _part("collect", retraining.collect, timeout=HOUR, retries=2)
record_version = _part("record_version", retraining.record_version, timeout=HOUR, retries=2)
fit_challenger = _part("fit_challenger", retraining.fit_challenger, timeout=12 * HOUR)
compare = _part("compare", retraining.compare, timeout=72 * HOUR, retries=2)
decide = _part("decide", retraining.decide, timeout=HOUR, retries=3)


@task(name="publish", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=2)
def publish(task_name: str, decision: StepResult) -> None:
    """The decision as an artifact, and as an event that automations can act upon."""
    facts = decision.facts
    reasons = "\n".join(f"- {reason}" for reason in facts["reasons"])
    create_markdown_artifact(
        key=f"night-{task_name}",
        markdown=f"**{decision.summary}**\n\n{reasons}\n",
        description=f"Whether the challenger of lode-{task_name} replaces the champion.",
    )
    emit_event(
        event=f"lode.challenger.{facts['decision']}",
        resource={
            "prefect.resource.id": f"lode.model.lode-{task_name}",
            "prefect.resource.name": f"lode-{task_name} version {facts['version']}",
        },
        payload={"summary": decision.summary, "reasons": facts["reasons"]},
    )


def _flow_run_name() -> str:
    given = flow_run.parameters
    try:
        changes = Changes.model_validate(given["changes"])
        settings, _ = read(given["params"], given["task"], changes.overrides())
    except SettingsError:  # the run itself will say what is wrong
        return "nightly retraining · invalid settings"
    return f"nightly retraining {settings.task}"
