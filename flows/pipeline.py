"""The pipeline as a flow: each step of `components/steps` is a Prefect task.

DVC and `lode …` call the same steps. Where one finds its finished output it does nothing, so a
failed or killed flow run is simply started again.
"""

from __future__ import annotations

from pathlib import Path

from prefect import State, get_run_logger

from components.steps.pipeline import STEPS, steps_of
from components.steps.table import result_table
from components.storage.lock import only_one
from flows.artifacts import publish
from flows.inputs import read
from flows.interrupts import stopped
from flows.names import of_changes
from flows.nightly import through_the_gate
from flows.parameters import AS_IN_PARAMS, Changes, Promote, SettingsFile
from flows.parameters import Task as TaskName
from flows.record import record
from flows.said import flow
from flows.step_task import step_task


@flow(name="pipeline", run_name=of_changes)
def pipeline(
    task: TaskName = AS_IN_PARAMS,
    changes: Changes = Changes(),  # noqa: B008  a frozen default, which the form shows
    promote: Promote = False,
    params: SettingsFile = Path("params.yaml"),
) -> str | State:
    """Learn a schedule from a sweep and compare it with the sweep's own schedules.

    Args:
        task: what to train.
        changes: what this run does differently from params.yaml: a trial, whose files lie apart and
            whose LODE is a candidate. What is left empty stays as it is there.
        promote: at the end compare what was learned with the champion, as a night does, and make it
            the champion if it passes the gate.
        params: the settings file on the worker; its folder is the workspace.

    Returns:
        The result table, as text.
    """
    try:
        return _run(params, task, changes, promote)
    except KeyboardInterrupt:  # in `make demo`
        return stopped()


def _run(params: Path, task: TaskName, changes: Changes, promote: bool) -> str:
    settings, workspace = read(params, task, changes.overrides())
    with only_one(workspace):
        sweep(settings, workspace)
        validate(settings, workspace)
        pilot(settings, workspace)
        fit(settings, workspace)
        register(settings, workspace)
        compared = STEPS["evaluate"] in steps_of(settings)  # not of imported histories
        if compared:
            baselines(settings, workspace)
            train(settings, workspace)
            evaluate(settings, workspace)
            publish(settings, workspace)
        if promote:
            get_run_logger().info(f"the gate: {through_the_gate(settings, workspace)}")
        plain = task == AS_IN_PARAMS and not changes.overrides()  # DVC knows params.yaml only
        if compared and plain:
            record(workspace, params)
    return result_table(settings, workspace)


TASKS = {name: step_task(step) for name, step in STEPS.items()}
sweep, validate, pilot, fit, register, baselines, train, evaluate = TASKS.values()
