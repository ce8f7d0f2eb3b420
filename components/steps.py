"""The pipeline's steps: settings and a workspace in, files out.

Prefect, DVC, the CLI and a notebook call these same functions. A step that finds its finished,
valid output does nothing; how it knows is in `components/stamps.py`. Imports are inside the steps,
so that a step pays only for what it uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import stamps
from components.progress import progress
from components.settings import Settings
from components.workspace import Workspace, file_digest, text_digest

if TYPE_CHECKING:
    from components.sweep.study import SweepPlan
    from components.training.execute import Job
    from components.training.history import History


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        step: its name. ran: False if the finished output was found.
        summary: one line for people. facts: figures for artifacts and logs.
        seconds: wall time.
    """

    step: str
    ran: bool
    summary: str
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def sweep(settings: Settings, workspace: Workspace) -> StepResult:
    """Train every run of the sweep that is not on disk."""
    from components.sweep.study import run_sweep
    from components.training.execute import load_data

    started = time.perf_counter()
    workspace.check_writable()
    plan = sweep_plan(settings, workspace)
    total = plan.configurations * len(plan.seeds)
    missing = _missing(plan.grid_jobs()) if plan.sampler == "grid" else total
    if missing:  # data problems show here, before worker processes are started
        load_data(settings.task, workspace.data, settings.training.train_samples, "cpu")
    with progress(f"sweep {settings.task}", total) as advance:
        histories = run_sweep(
            plan,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, _note(history)),
        )
    diverged = sum(not h.completed for h in histories)
    return StepResult(
        "sweep",
        ran=missing > 0,
        summary=f"{len(histories)} runs, {diverged} diverged, {len(histories) - missing} found",
        facts={"runs": len(histories), "diverged": diverged, "trained": missing},
        seconds=time.perf_counter() - started,
    )


def validate(settings: Settings, workspace: Workspace) -> StepResult:
    """Check the sweep's histories; quarantine bad runs, stop on structural faults."""

    def work() -> None:
        from components.validation.suite import validate as check

        sweep, training = settings.sweep, settings.training
        check(
            workspace.histories(settings.task),
            task=settings.task,
            schedulers=sweep.schedulers,
            peak_lrs=sweep.peak_lrs,
            seeds=sweep.seeds,
            updates=training.updates,
            points=training.points,
            train_samples=training.train_samples,
            sampler=sweep.sampler,
            max_train_loss=settings.validation.max_train_loss,
            max_quarantined=settings.validation.max_quarantined,
            report_dir=workspace.reports(settings.task),
        )

    def summarise() -> tuple[str, dict[str, Any]]:
        facts = stamps.read_json(workspace.validation(settings.task))
        kept, bad = len(facts["accepted"]), len(facts["quarantined"])
        return f"{kept} runs accepted, {bad} quarantined", facts

    return _stamped("validate", settings, workspace, work, summarise)


def fit(settings: Settings, workspace: Workspace) -> StepResult:
    """Fit the LODE on the accepted histories."""

    def work() -> None:
        from components.lode.fit import FitConfig
        from components.lode.fit import fit as fit_lode
        from components.validation.quarantine import accepted_histories

        lode = settings.lode
        fit_lode(
            accepted_histories(
                workspace.histories(settings.task), workspace.validation(settings.task)
            ),
            FitConfig(**lode.fit.model_dump()),
            encoder=lode.encoder,
            latent=lode.latent,
            hidden=lode.hidden,
            solver=lode.solver,
            solver_steps=lode.solver_steps,
            mu=lode.scheduler.mu,
            folder=workspace.lode(settings.task),
            checkpoint=workspace.state / "fit" / settings.task,
        )

    def summarise() -> tuple[str, dict[str, Any]]:
        facts = stamps.read_json(workspace.lode(settings.task) / "config.json")["fit"]
        return f"{facts['updates']} updates", facts

    return _stamped("fit", settings, workspace, work, summarise)


def register(settings: Settings, workspace: Workspace) -> StepResult:
    """Log the sweep in MLflow and register the LODE as `lode-<task>@champion`."""
    raise NotImplementedError


def train(settings: Settings, workspace: Workspace) -> StepResult:
    """Train the LODE-scheduled runs and the best of every baseline on the same fresh seeds."""
    from components.training.pool import run_all

    started = time.perf_counter()
    workspace.check_writable()
    jobs = evaluation_jobs(settings, workspace)
    missing = _missing(jobs)
    with progress(f"train {settings.task}", len(jobs)) as advance:
        histories = run_all(
            jobs,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, _note(history)),
        )
    diverged = sum(not h.completed for h in histories)
    return StepResult(
        "train",
        ran=missing > 0,
        summary=f"{len(jobs)} runs, {diverged} diverged, {len(jobs) - missing} found",
        facts={"runs": len(jobs), "diverged": diverged, "trained": missing},
        seconds=time.perf_counter() - started,
    )


def evaluate(settings: Settings, workspace: Workspace) -> StepResult:
    """Compare on the fresh seeds and draw the report."""
    raise NotImplementedError


STEPS: dict[str, Callable[[Settings, Workspace], StepResult]] = {
    "sweep": sweep,
    "validate": validate,
    "fit": fit,
    "register": register,
    "train": train,
    "evaluate": evaluate,
}


def sweep_plan(settings: Settings, workspace: Workspace) -> SweepPlan:
    """The sweep that params.yaml asks for."""
    from components.sweep.study import SweepPlan
    from components.training.execute import Job
    from components.training.run import RunSpec

    training, sweep = settings.training, settings.sweep
    spec = RunSpec(
        task=settings.task, scheduler="", peak_lr=None, seed=0, updates=training.updates,
        points=training.points, train_samples=training.train_samples,
    )  # fmt: skip
    job = Job(spec, workspace.histories(settings.task), workspace.data, training.device)
    return SweepPlan(
        job, sweep.sampler, tuple(sweep.schedulers), tuple(sweep.peak_lrs), tuple(sweep.seeds),
        sweep.trials,
    )  # fmt: skip


def evaluation_jobs(settings: Settings, workspace: Workspace) -> list[Job]:
    """The runs of the comparison: LODE and the best of each baseline, on the fresh seeds."""
    from dataclasses import replace

    from components.evaluation.accuracy import best_configurations
    from components.training.history import read_histories

    task, evaluation = settings.task, settings.evaluation
    controller = settings.lode.scheduler.model_dump()
    weights = file_digest(workspace.lode(task) / "lode.safetensors")
    chosen: dict[str, float | None] = dict(
        best_configurations(read_histories(workspace.histories(task)))
    )
    template = replace(
        sweep_plan(settings, workspace).template,
        histories=workspace.scheduled(task),
        sharpness=None
        if evaluation.sharpness == "none"
        else {"method": evaluation.sharpness, "samples": evaluation.sharpness_samples},
    )
    jobs = []
    for scheduler, peak_lr in [*chosen.items(), ("lode", None)]:
        for seed in evaluation.seeds:
            spec = replace(template.spec, scheduler=scheduler, peak_lr=peak_lr, seed=seed)
            if scheduler == "lode":
                spec = replace(spec, scheduler_digest=text_digest(weights, controller)[:16])
                jobs.append(
                    replace(template, spec=spec, lode=workspace.lode(task), controller=controller)
                )
            else:
                jobs.append(replace(template, spec=spec))
    return jobs


def _missing(jobs: list[Job]) -> int:
    return sum(not job.path.exists() for job in jobs)


def _note(history: History) -> str:
    best = history.meta["best_val_metric"]
    return f"{history.describe()}: {best:.4f}" if best is not None else f"{history.describe()}: –"
