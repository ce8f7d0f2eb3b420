"""Try the schedules that LODE and judge propose; find the plan that runs begin with."""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace

from components.evaluation.results import PilotResult
from components.pilots.budget import Budget
from components.pilots.campaign import Pilots, run_pilots
from components.runs.fits import Recipe
from components.runs.job import RunAll
from components.runs.lending import lent
from components.runs.plan import template
from components.runs.pool import run_all as on_this_machine
from components.runs.progress import progress
from components.settings import Settings
from components.steps.results import read_pilots
from components.storage.files import folder_of
from components.storage.typed import write_sealed
from components.storage.workspace import Workspace
from components.validation.accepted import accepted_histories


def work(settings: Settings, workspace: Workspace, run_all: RunAll | None) -> None:
    task, found = settings.task, PilotResult()
    folder_of(workspace.pilots(task), "Runs that tried proposed schedules; none without pilots.")
    if settings.pilot_runs:
        asked = pilots_of(settings, workspace)
        with progress(f"pilot {task}", asked.budget.total) as advance:
            asked = replace(
                asked,
                run_all=lent(run_all or on_this_machine, workspace),
                on_run=lambda note: advance(1, note),
                on_fit=lambda note: advance(0, note),
            )
            found = run_pilots(asked)
    write_sealed(workspace.pilot_summary(task), asdict(found))


def summary(settings: Settings, workspace: Workspace) -> str:
    found = read_pilots(workspace.pilot_summary(settings.task))
    if not found.runs:
        return "no pilots (pilots.runs is 0, the sweep is tiny, or the controller is `paper`)"
    said, gain = f"{found.runs} runs, {found.diverged} diverged; ", found.gain
    if gain.mean is None:
        return said + "the finalists diverged: the sweep's best stays the plan"
    verdict = "makes it" if found.adopted else "is too little: the sweep's best stays"
    return said + f"gain {gain.mean:+.4f} ± {gain.error:.4f} {verdict} the plan"


def pilots_of(settings: Settings, workspace: Workspace) -> Pilots:
    """What the pilots need, from the settings and what lies in the workspace."""
    task = settings.task
    budget = Budget.of(settings.pilot_runs, len(settings.sweep.seeds))
    taken = {*settings.sweep.seeds, *settings.evaluation.seeds}
    free = (seed for seed in itertools.count(max(settings.sweep.seeds) + 1) if seed not in taken)
    return Pilots(
        sweep=accepted_histories(workspace.histories(task), workspace.accepted(task)),
        template=template(settings, workspace, workspace.pilots(task)),
        recipe=Recipe.of(settings),
        budget=budget,
        seeds=settings.sweep.seeds,
        fresh=list(itertools.islice(free, budget.pairs)),
        scratch=workspace.state / "pilots" / task,
        workers=settings.sweep.workers,
    )
