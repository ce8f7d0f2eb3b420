"""Fit the LODE, and the judge of the default controller, on sweep and pilots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.evaluation.ranking import best_configuration
from components.evaluation.results import FitSummary
from components.lode.names import PLAN
from components.lode.opening import Opening
from components.lode.plan_file import write_plan
from components.lode.planned import plan_of
from components.lode.settings import DEFAULT, PAPER
from components.runs.fits import Recipe, fit_both, fit_lode
from components.runs.progress import progress
from components.runs.scheduled import JUDGE_FILES
from components.schedulers.names import PARAMETRIC_SCHEDULERS
from components.settings import Settings
from components.steps.results import read_fit, read_pilots
from components.storage.workspace import Workspace
from components.training.history import History, history_path, read_history
from components.validation.accepted import accepted_histories


def work(settings: Settings, workspace: Workspace) -> None:
    task = settings.task
    sweep = accepted_histories(workspace.histories(task), workspace.accepted(task))
    pilots, plan = pilot_histories(settings, workspace)
    folder, checkpoint = workspace.lode(task), workspace.fit_checkpoint(task)
    fit_models(settings, sweep, pilots, plan, folder=folder, checkpoint=checkpoint)


def summary(settings: Settings, workspace: Workspace) -> str:
    found = read_fit(workspace.lode(settings.task)) or FitSummary()
    runs = "?" if found.fitted is None else found.fitted
    error = "" if found.best_error is None else f", held-out error {found.best_error:.3f}"
    return f"{runs} runs{error}"


def fit_models(
    settings: Settings,
    sweep: Sequence[History],
    others: Sequence[History],
    plan: Sequence[float],
    *,
    folder: Path,
    checkpoint: Path,
) -> None:
    """Fit the LODE, and the judge of the default controller, and save both in `folder`, with what
    they say of a whole run (plan.json).

    Args:
        sweep: the accepted runs, whose best gives the initial schedule. others: more to learn from.
        plan: what runs under the default controller begin with; empty: the sweep's best schedule.
        checkpoint: folder from which a killed fit goes on.
    """
    recipe, places = Recipe.of(settings), {"folder": folder, "checkpoint": checkpoint}
    judge = None
    if settings.lode.controller == DEFAULT:
        begins = opening(sweep, plan)
        with progress(f"fit {settings.task}", recipe.updates) as advance:
            lode, judge = fit_both(sweep, others, recipe, opening=begins, advance=advance, **places)
        judge.save(folder)
    else:
        with progress(f"fit {settings.task}", recipe.fit.updates) as advance:
            lode = fit_lode(sweep, others, recipe, advance, **places)
        for name in JUDGE_FILES:  # one of an earlier fit would be registered with this LODE
            (folder / name).unlink(missing_ok=True)
    write_plan(plan_of(lode, judge, sweep, others), folder / PLAN)


def opening(sweep: Sequence[History], plan: Sequence[float]) -> Opening:
    """What runs begin with: `plan` where there is one, else the sweep's best parametric schedule;
    the LODE's initial schedule where its best is of another kind."""
    best = best_configuration(sweep)
    if best.scheduler not in PARAMETRIC_SCHEDULERS or best.peak_lr is None:
        return Opening(tuple(plan))
    return Opening(tuple(plan), (best.scheduler, best.peak_lr))


def pilot_histories(settings: Settings, workspace: Workspace) -> tuple[list[History], list[float]]:
    """The pilots' histories and their plan; nothing for the controller `paper`.

    Raises:
        WorkspaceError: no pilots yet. HistoryError: one is gone.
    """
    if settings.lode.controller == PAPER:
        return [], []
    path = workspace.pilot_summary(settings.task)
    found, folder = read_pilots(path), workspace.pilots(settings.task)
    return [read_history(history_path(folder, i)) for i in found.run_ids], found.plan
