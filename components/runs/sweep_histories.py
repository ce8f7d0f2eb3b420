"""The runs of the present sweep, as validation found them."""

from __future__ import annotations

import json

from components.storage.shown import shown
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import History, history_path, read_history


def sweep_run_ids(task: str, workspace: Workspace) -> list[str]:
    """Run ids of the current sweep, accepted and quarantined.

    The folder may hold others: former settings', and what nightly retraining gathers.

    Raises:
        WorkspaceError: not validated yet, or the report of it is damaged.
    """
    path = workspace.validation(task)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return sorted([*found["accepted"], *(bad["run_id"] for bad in found["quarantined"])])
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: not validated yet; run `lode validate` first") from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise WorkspaceError(
            f"{path}: not a validation report ({shown(error)}); run `lode validate` again"
        ) from None


def sweep_histories(task: str, workspace: Workspace) -> list[History]:
    """Their histories, in the order of `sweep_run_ids`; errors as there.

    Raises:
        HistoryError: one is gone or damaged.
    """
    folder = workspace.histories(task)
    return [read_history(history_path(folder, one)) for one in sweep_run_ids(task, workspace)]
