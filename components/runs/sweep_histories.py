"""The runs of the present sweep, as validation found them."""

from __future__ import annotations

from components.runs.validated import read_accepted
from components.storage.workspace import Workspace
from components.training.history import History, history_path, read_once


def sweep_run_ids(task: str, workspace: Workspace) -> list[str]:
    """Run ids of the current sweep, accepted and quarantined.

    The folder may hold others: former settings', and what nightly retraining gathers.

    Raises:
        WorkspaceError: as of `read_accepted`.
    """
    found = read_accepted(workspace.accepted(task))
    return sorted([*found.accepted, *(bad.run_id for bad in found.quarantined)])


def sweep_histories(task: str, workspace: Workspace) -> list[History]:
    """Their histories, in the order of `sweep_run_ids`; errors as there.

    Raises:
        HistoryError: one is gone or damaged.
    """
    folder = workspace.histories(task)
    return [read_once(history_path(folder, one)) for one in sweep_run_ids(task, workspace)]
