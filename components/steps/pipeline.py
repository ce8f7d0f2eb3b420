"""The pipeline: the one list of its steps.

Everything else that speaks of steps reads it here: the command line, `make help`, what is up to
date, the Prefect tasks with their titles and retries, the test of dvc.yaml. To add a step: its
module, its entry here, its stage in dvc.yaml, its line in flows/pipeline.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.steps.files import (
    ACCEPTED,
    BASELINES,
    DATA_DOCS,
    DOWNLOADS,
    EVALUATION,
    FIGURES,
    HISTORIES,
    LODE,
    METRICS,
    PAGE,
    PILOT_SUMMARY,
    PILOTS,
    REGISTRATION,
    RUN_TABLE,
    SCHEDULED,
    SWEEP,
    VALIDATION,
)
from components.steps.step import HOUR, MINUTE, SCHEDULED_TRAINING, SWEEP_SHARD, Step

if TYPE_CHECKING:
    from components.settings import Settings
    from components.storage.workspace import Workspace

# Of the LODE's settings: what is fitted, and what the pilots search with. The controller's others
# (n, sigma, …) are only used in runs.
FITTED = (
    "lode.controller",
    "lode.encoder",
    "lode.latent",
    "lode.hidden",
    "lode.solver",
    "lode.solver_steps",
    "lode.fit",
    "lode.judge",
    "lode.scheduler.mu",
)
# What the runs of the comparison follow from. Pilots are as many as a finer search has runs.
COMPARED = (
    "task",
    "own",
    "training",
    "sweep",
    "pilots",
    "baselines",
    "lode.controller",
    "lode.scheduler",
    "evaluation",
)


def _compared(settings: Settings) -> str:
    rows = [*settings.sweep.schedulers, *settings.baselines.schedulers, "lode"]
    return f"{len(rows) * len(settings.evaluation.seeds)} runs"


def _tuned(settings: Settings) -> str:
    names = settings.baselines.schedulers
    return names[0] if len(names) == 1 else f"{len(names)} schedulers"


# Deterministic steps are not tried again: they would fail again. What trains is (a worker was
# killed; finished runs are found), and what talks to a database that may be locked or starting.
PIPELINE: tuple[Step, ...] = (
    Step(
        "sweep",
        "Train every run of the sweep that is not on disk.",
        settings=("task", "own", "training", "sweep"),
        reads=(),
        writes=(SWEEP,),
        stamped=False,
        size=lambda s: f"{s.sweep_runs} runs",
        trains_by=SWEEP_SHARD,
        limit=72 * HOUR,
        retries=2,
    ),
    Step(
        "validate",
        "Check the histories; quarantine bad runs, stop on structural faults.",
        settings=("task", "own", "training", "sweep", "validation"),
        reads=(HISTORIES,),
        writes=(VALIDATION, ACCEPTED, DATA_DOCS),
        limit=30 * MINUTE,
    ),
    Step(
        "pilot",
        "Try proposed schedules; find the plan that LODE-scheduled runs begin with.",
        settings=("task", "own", "training", "sweep", "pilots", "evaluation.seeds", *FITTED),
        reads=(HISTORIES, ACCEPTED),
        writes=(PILOTS, PILOT_SUMMARY),
        size=lambda s: f"{s.pilot_runs} runs",
        trains_by=SWEEP_SHARD,
        limit=72 * HOUR,
        retries=2,
    ),
    Step(
        "fit",
        "Fit the LODE and its judge on the histories of sweep and pilots.",
        settings=("task", *FITTED),
        reads=(HISTORIES, ACCEPTED, PILOTS, PILOT_SUMMARY),
        writes=(LODE,),
        size=lambda s: f"{s.lode.fit.updates} updates",
        limit=12 * HOUR,
    ),
    Step(
        "register",
        "Log sweep and pilots in MLflow and register the LODE, as champion or candidate.",
        settings=("task", "own", "training", "sweep", "lode", "registry"),
        reads=(HISTORIES, ACCEPTED, PILOTS, PILOT_SUMMARY, LODE),
        writes=(REGISTRATION,),
        limit=30 * MINUTE,
        retries=3,
    ),
    Step(
        "baselines",
        "Tune the baselines of baselines.schedulers as the sweep tunes its own.",
        compares=True,
        settings=("task", "own", "training", "sweep", "pilots", "baselines", "lode.controller"),
        reads=(HISTORIES, ACCEPTED),
        writes=(BASELINES,),
        stamped=False,
        size=_tuned,
        trains_by=SWEEP_SHARD,
        limit=72 * HOUR,
        retries=2,
    ),
    Step(
        "train",
        "Train under the LODE, and under the best of every baseline, on the same fresh seeds.",
        compares=True,
        settings=COMPARED,
        reads=(HISTORIES, ACCEPTED, BASELINES, LODE),
        writes=(SCHEDULED,),
        stamped=False,
        size=_compared,
        trains_by=SCHEDULED_TRAINING,
        limit=72 * HOUR,
        retries=2,
    ),
    Step(
        "evaluate",
        "Compare on fresh seeds and draw reports/<task>/index.html.",
        compares=True,
        settings=(*COMPARED, "registry"),
        reads=(HISTORIES, VALIDATION, ACCEPTED, PILOT_SUMMARY, LODE, BASELINES, SCHEDULED),
        writes=(EVALUATION, METRICS, RUN_TABLE, PAGE, DOWNLOADS, FIGURES),
        size=lambda s: f"{len(s.evaluation.seeds)} seeds",
    ),
)
STEPS = {step.name: step for step in PIPELINE}


def sentence() -> str:
    """`sweep, validate, …`: the steps in their order."""
    return ", ".join(STEPS)


def steps_of(settings: Settings) -> tuple[Step, ...]:
    """The steps that there are for a task: where nothing can be trained, those that learn."""
    imported = settings.own is not None and settings.own.imported
    return tuple(step for step in PIPELINE if not (imported and step.compares))


def up_to_date(settings: Settings, workspace: Workspace) -> bool:
    """Whether every step would find its finished output."""
    return all(step.is_current(settings, workspace) for step in steps_of(settings))
