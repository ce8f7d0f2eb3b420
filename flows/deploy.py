"""`make deploy`: work pools, deployments and the watch over dead flow runs, on a Prefect server.

Deployments are brought up to date; pools and the watch are created where they are missing. What
runs is not disturbed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import yaml

import flows  # noqa: F401  telemetry off, before anything else
from components.settings import SettingsError
from components.storage.workspace import Workspace
from flows.server import prefect_environment, running_server

if TYPE_CHECKING:
    from prefect import Flow

POOLS = {
    "cpu": "Pipelines, nightly retraining: what thinks.",
    "gpu": "Trainings, one at a time on each worker: start one worker per GPU, with --limit 1.",
}
HEARTBEAT = timedelta(seconds=30)  # as in prefect.yaml
DEAD_AFTER = 3 * HEARTBEAT
FORMER_SCHEDULE = "nightly"
TAG = "lode"  # of every deployment in prefect.yaml
WATCH = "lode: mark dead flow runs as crashed"


class DeployError(RuntimeError):
    """Nothing can be deployed; the message says why and what to do."""


def create_pools() -> None:
    """The process pools `cpu` and `gpu`, where they are missing."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name, description in POOLS.items():
            try:
                client.create_work_pool(
                    WorkPoolCreate(
                        name=name,
                        description=description,
                        type="process",
                        base_job_template=template,
                    )
                )
            except ObjectAlreadyExists:
                continue


def watch_heartbeats() -> None:
    """Mark a flow run of ours whose heartbeats stop as crashed: its process or machine is gone.

    Prefect itself would show it as running for ever, and who waits for it would wait as long. Only
    runs with the deployments' tag: others beat every three minutes, if at all. A run that was
    killed before its first heartbeat is missed from when it began.
    """
    from prefect.automations import Automation
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    beat = "prefect.flow-run.heartbeat"
    ends = ("Completed", "Failed", "Cancelled", "Cancelling", "Crashed", "Paused", "Suspended")
    trigger = EventTrigger(
        after={beat, "prefect.flow-run.Running"},
        expect={beat, *(f"prefect.flow-run.{end}" for end in ends)},
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": ["tag"], "prefect.resource.id": [f"prefect.tag.{TAG}"]}
        ),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=DEAD_AFTER,
    )
    automation = Automation(
        name=WATCH,
        description=f"No heartbeat for {DEAD_AFTER.seconds} s: process or machine is gone.",
        trigger=trigger,
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="its heartbeat stopped: process or machine is gone"
            )
        ],
    )
    try:
        found = cast(Automation, Automation.read(name=WATCH))  # here it blocks
    except ValueError:  # there is none
        automation.create()  # type: ignore[unused-coroutine]
        return
    if getattr(found.trigger, "after", None) != trigger.after:  # an earlier version's
        found.trigger = trigger
        found.update()  # type: ignore[unused-coroutine]


def deploy(prefect_file: Path) -> None:
    """Write the deployments of `prefect_file` to the server."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "prefect",
            "--no-prompt",
            "deploy",
            "--all",
            "--prefect-file",
            str(prefect_file),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        end = (done.stdout + done.stderr).strip().splitlines()[-12:]
        raise DeployError(f"{prefect_file} was not deployed:\n    " + "\n    ".join(end))


def fill_forms(prefect_file: Path) -> str:
    """Labels, limits and the present values of params.yaml on the form of every deployment.

    Returns:
        Why the forms say no values; empty if they do.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    from flows.form import form
    from flows.inputs import read

    settings, why = None, ""
    try:
        settings, _ = read(Path("params.yaml"))
    except SettingsError as error:  # a server may be deployed to from anywhere
        why = str(error)
    with get_client(sync_client=True) as client:
        for name, flow in deployed(prefect_file).items():
            filled = DeploymentUpdate(parameter_openapi_schema=form(flow, settings))
            client.update_deployment(client.read_deployment_by_name(name).id, filled)
    return why


def deployed(prefect_file: Path) -> dict[str, Flow[..., Any]]:
    """The flow of every deployment by its full name, `pipeline/on-demand`."""
    found = {}
    for one in yaml.safe_load(prefect_file.read_text(encoding="utf-8"))["deployments"]:
        module, _, name = one["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        found[f"{flow.name}/{one['name']}"] = flow
    return found


def retire(prefect_file: Path) -> None:
    """Delete our deployments that the file no longer has, which nobody starts and all see, and
    the nightly schedule under its former name, which would make every night two."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    kept = deployed(prefect_file)
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    with get_client(sync_client=True) as client:
        for one in client.read_deployments(deployment_filter=ours):
            if f"{client.read_flow(one.flow_id).name}/{one.name}" not in kept:
                client.delete_deployment(one.id)
                continue
            for schedule in one.schedules:
                if schedule.slug == FORMER_SCHEDULE:
                    client.delete_deployment_schedule(one.id, schedule.id)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--prefect-file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    default=Path("prefect.yaml"),
    show_default=True,
)
def main(prefect_file: Path) -> None:
    """Create work pools, deployments and the watch over dead flow runs on the Prefect server.

    The server is that of PREFECT_API_URL, or else the one of `make serve`.
    """
    workspace = Workspace(Path.cwd())
    server = running_server(workspace)
    if not (server or os.environ.get("PREFECT_API_URL")):
        raise click.ClickException(
            "no Prefect server: start one with `make serve`, or set PREFECT_API_URL"
        )
    os.environ.update(prefect_environment(workspace, server))
    try:
        create_pools()
        deploy(prefect_file)
        unsaid = fill_forms(prefect_file)
        retire(prefect_file)
        watch_heartbeats()
    except DeployError as error:
        raise click.ClickException(str(error)) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "prefect", "httpcore"):
            raise
        raise click.ClickException(f"{os.environ['PREFECT_API_URL']}: {error}") from None
    if unsaid:
        click.echo(f"the forms do not say what params.yaml has: {unsaid}", err=True)
    click.echo(f"deployed to {os.environ['PREFECT_API_URL']}; workers are started with")
    for name in POOLS:
        limit = " --limit 1" if name == "gpu" else ""
        click.echo(f"    prefect worker start --type process --pool {name}{limit}")


if __name__ == "__main__":
    main()
