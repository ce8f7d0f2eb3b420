"""Nightly retraining: collect, version, fit a challenger, compare, decide.

Each part is a Prefect task over a function of `components/retraining`. What a killed night had done
is kept, and the next one goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.steps.all_steps import StepResult
from prefect import Task, flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from components import retraining
from components.settings import Settings
from components.storage.lock import only_one
from components.storage.workspace import Workspace
from flows.inputs import read
from flows.parameters import AS_IN_PARAMS, Changes
from flows.parameters import Task as TaskName
from flows.tasks import HOUR, SCHEDULED_TRAINING, named_after_settings, step_task


@flow(name="nightly-retraining", flow_run_name=lambda: named_after_settings("nightly retraining"))
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
    name: str, work: Callable[..., StepResult], **options: Any
) -> Task[[Settings, Workspace], StepResult]:
    title = name.replace("_", " ")
    return step_task(name, work, lambda settings: f"{title} {settings.task}", **options)


collect = _part("collect", retraining.collect, timeout=HOUR, retries=2)
record_version = _part("record_version", retraining.record_version, timeout=HOUR, retries=2)
fit_challenger = _part("fit_challenger", retraining.fit_challenger, timeout=12 * HOUR)
compare = _part(
    "compare", retraining.compare, timeout=72 * HOUR, retries=2, trains_by=SCHEDULED_TRAINING
)
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
