"""A whole night: collect, keep a version of it, fit a challenger, compare, decide."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from components.retraining.collection import collect
from components.retraining.errors import RetrainingError
from components.settings import Settings
from components.steps.step import StepResult
from components.storage.workspace import Workspace

if TYPE_CHECKING:
    from components.runs.job import RunAll


def retrain(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Refit on what has accumulated; a worse LODE never replaces a better one.

    Returns within seconds where nothing is new. Killed, it goes on where it was, with the same
    histories, seeds and decision. What came of it is `record.last_record`.

    Args:
        run_all: who trains the comparison; None: processes of this machine.

    Raises:
        ValidationError, RetrainingError, RegistryError, WorkerDiedError, …: of its parts; what was
            done is kept, the next call goes on.
    """
    started = time.perf_counter()
    if settings.own is not None and settings.own.imported:
        raise RetrainingError(
            f"{settings.task} has histories only, and a night compares LODEs by training: after "
            "`lode import`, `make demo` fits anew and registers a candidate"
        )
    result = collect(settings, workspace)
    if result.ran:
        # torch, and more: a night on which nothing is new need not wait for it
        from components.retraining.challenger import fit_challenger
        from components.retraining.comparison import compare
        from components.retraining.decision import decide
        from components.retraining.version import record_version

        record_version(settings, workspace)
        fit_challenger(settings, workspace)
        compare(settings, workspace, run_all)
        result = decide(settings, workspace)
    return replace(result, step="retrain", seconds=time.perf_counter() - started)
