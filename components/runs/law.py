"""The baseline `multi-power-law`: the schedule that a law of the sweep's train losses calls best.

The step `baselines` finds it once and leaves it beside the runs that tune other baselines, named
after the sweep's histories, so that a schedule of another sweep is never taken for this one's. A
law that does not fit is a finding, too: its reason is kept in the schedule's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from components.runs.job import Job
from components.runs.sweep_histories import sweep_histories
from components.schedulers.names import MULTI_POWER_LAW
from components.schedulers.plan import plan_digest
from components.storage.digests import text_digest
from components.storage.typed import DamagedError, read_sealed, typed, write_sealed
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import History, digest

RECIPE = 1  # of how the schedule is found; raised when the same sweep gives another


@dataclass(frozen=True)
class LawFound:
    """What the law made of a sweep.

    Attributes:
        sweep: digest of its histories and of the recipe. updates: N of its runs.
        table: T + 1 learning rates at log points 0 … T; empty: no law fits, `refused` says why.
        unexplained: share of the variance of the fitted log losses that the law leaves.
    """

    sweep: str
    updates: int
    table: tuple[float, ...]
    refused: str
    unexplained: float


def find_law(task: str, workspace: Workspace) -> LawFound:
    """The law's schedule for the present sweep: the one that is there, else found and written.

    A file that is damaged, or of another sweep, is written anew.

    Raises:
        WorkspaceError, HistoryError: as of `sweep_histories`.
    """
    sweep = sweep_histories(task, workspace)
    named = _named(sweep)
    try:
        return _read(task, workspace, named)
    except WorkspaceError:
        found = _found(sweep, named)
        write_sealed(workspace.law(task), asdict(found))
        return found


def _found(sweep: Sequence[History], named: str) -> LawFound:
    from components.schedulers.multi_power_law import LawError  # torch
    from components.schedulers.swept_law import law_schedule

    try:
        best = law_schedule(sweep)
        return LawFound(named, sweep[0].meta["updates"], best.table, "", best.unexplained)
    except LawError as error:
        return LawFound(named, 0, (), str(error), 1.0)


def read_law(task: str, workspace: Workspace) -> LawFound:
    """What `find_law` left.

    Raises:
        WorkspaceError: nothing, damaged, or of another sweep; says what to run.
        HistoryError: as of `sweep_histories`.
    """
    return _read(task, workspace, _named(sweep_histories(task, workspace)))


def law_job(template: Job, found: LawFound, seed: int) -> Job:
    """`template` as a run under the law's schedule, whose name depends on its rates.

    Args:
        found: with a table.
    """
    spec = replace(
        template.spec,
        scheduler=MULTI_POWER_LAW,
        peak_lr=None,
        seed=seed,
        scheduler_digest=plan_digest(found.table),
    )
    return replace(template, spec=spec, plan=found.table)


def _named(sweep: Sequence[History]) -> str:
    return text_digest(RECIPE, digest(sweep))


def _read(task: str, workspace: Workspace, named: str) -> LawFound:
    path, again = workspace.law(task), "run `lode baselines` again"
    try:
        found: LawFound = typed(LawFound, read_sealed(path))
    except FileNotFoundError:
        raise WorkspaceError(
            f"{path}: the Multi-Power Law has no schedule yet; name {MULTI_POWER_LAW} in "
            "baselines.schedulers and run `lode baselines` first"
        ) from None
    except DamagedError as error:
        raise WorkspaceError(f"{path}: {error}; {again}") from None
    if found.sweep != named:
        raise WorkspaceError(f"{path}: of another sweep; {again}")
    return found
