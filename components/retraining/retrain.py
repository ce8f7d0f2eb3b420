"""A whole night: collect, keep a version of it, fit a challenger, compare, decide."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from components.retraining.challenger import fit_challenger
from components.retraining.collection import collect
from components.retraining.comparison import compare
from components.retraining.decision import decide
from components.retraining.version import record_version
from components.settings import Settings
from components.steps.all_steps import StepResult
from components.storage.workspace import Workspace

if TYPE_CHECKING:
    from components.runs.pool import RunAll


def retrain(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Refit on what has accumulated; a worse LODE never replaces a better one.

    Returns within seconds where nothing is new. Killed, it goes on where it was, with the same
    histories, seeds and decision.

    Args:
        run_all: who trains the comparison; None: processes of this machine.

    Raises:
        ValidationError, LODEError, RegistryError, WorkerDiedError, …: of its parts; what was done
            is kept, the next call goes on.
    """
    started = time.perf_counter()
    found = collect(settings, workspace)
    if not found.ran:
        return StepResult(
            "retrain",
            ran=False,
            summary=found.summary,
            facts=found.facts,
            seconds=time.perf_counter() - started,
        )
    record_version(settings, workspace)
    fit_challenger(settings, workspace)
    compare(settings, workspace, run_all)
    decided = decide(settings, workspace)
    return StepResult(
        "retrain",
        ran=True,
        summary=decided.summary,
        facts=decided.facts,
        seconds=time.perf_counter() - started,
    )
