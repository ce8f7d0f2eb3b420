"""Nightly retraining: collect, version, fit a challenger, compare, decide.

Each part is a Prefect task over a function of `components/retraining`. What a killed night had done
is kept, and the next one goes on with it.
"""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from components.retraining import challenger, collection, comparison, decision, version
from components.retraining.record import NightRecord, last_record
from components.settings import Settings
from components.steps.step import HOUR, SCHEDULED_TRAINING
from components.storage.lock import only_one
from components.storage.workspace import Workspace
from flows.inputs import read
from flows.names import of_changes
from flows.parameters import AS_IN_PARAMS, Changes, SettingsFile
from flows.parameters import Task as TaskName
from flows.said import flow
from flows.step_task import part_task


@flow(name="nightly-retraining", run_name=lambda: of_changes("night"))
def nightly_retraining(
    task: TaskName = AS_IN_PARAMS,
    changes: Changes = Changes(),  # noqa: B008  a frozen default, which the form shows
    params: SettingsFile = Path("params.yaml"),
) -> str:
    """Refit the LODE on what has accumulated; a worse one never replaces a better one.

    Args:
        task: whose LODE is fitted anew.
        changes: what this night does differently from params.yaml. What is left empty stays as
            it is there.
        params: the settings file on the worker; its folder is the workspace.

    Returns:
        The night in one line.
    """
    settings, workspace = read(params, task, changes.overrides())
    with only_one(workspace):
        return through_the_gate(settings, workspace)


def through_the_gate(settings: Settings, workspace: Workspace) -> str:
    """Fit a challenger on all there is, and compare it with the champion; the night in one line.

    For a flow that holds the workspace's lock.
    """
    found = collect(settings, workspace)
    if not found.ran:  # nothing new
        return found.summary
    record_version(settings, workspace)
    fit_challenger(settings, workspace)
    compare(settings, workspace)
    decided = decide(settings, workspace)
    record = last_record(workspace, settings.task)
    if record is not None:
        publish(record)
    return decided.summary


collect = part_task("collect", collection.collect, timeout=HOUR, retries=2)
record_version = part_task("record_version", version.record_version, timeout=HOUR, retries=2)
fit_challenger = part_task("fit_challenger", challenger.fit_challenger, timeout=12 * HOUR)
compare = part_task(
    "compare", comparison.compare, timeout=72 * HOUR, retries=2, trains_by=SCHEDULED_TRAINING
)
decide = part_task("decide", decision.decide, timeout=HOUR, retries=3)


@task(
    name="publish",
    task_run_name="publish the decision",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
)
def publish(record: NightRecord) -> None:
    """The decision as an artifact, and as an event that automations can act upon."""
    named = f"lode-{record.task} version {record.version}"
    reasons = "\n".join(f"- {reason}" for reason in record.reasons)
    create_markdown_artifact(
        key=f"night-{record.task}",
        markdown=f"**{named}: {record.decision}**\n\n{reasons}\n",
        description=f"Whether the challenger of lode-{record.task} replaces the champion.",
    )
    emit_event(
        event=f"lode.challenger.{record.decision}",
        resource={
            "prefect.resource.id": f"lode.model.lode-{record.task}",
            "prefect.resource.name": named,
        },
        payload={"summary": record.summary, "reasons": record.reasons},
    )
