"""The pipeline's steps: settings and a workspace in, files out.

Prefect, DVC, the CLI and a notebook call these same functions. A step that finds its finished,
valid output does nothing; how it knows is in `components/stamps.py`. Imports are inside the steps,
so that a step pays only for what it uses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import stamps
from components.files import write_text
from components.progress import progress
from components.settings import Settings
from components.workspace import Workspace, WorkspaceError, file_digest, git_revision, text_digest

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
    found = {path.stem for path in workspace.histories(settings.task).glob("*.parquet")}
    if plan.sampler != "grid" or _missing(
        plan.grid_jobs()
    ):  # data problems show here, before worker processes are started
        load_data(settings.task, workspace.data, settings.training.train_samples, "cpu")
    with progress(f"sweep {settings.task}", total) as advance:
        histories = run_sweep(
            plan,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, _note(history)),
        )
    diverged = sum(not h.completed for h in histories)
    missing = sum(h.run_id not in found for h in histories)
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
        from components.validation import validate as check

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
            data_digest=sweep_plan(settings, workspace).template.spec.data_digest,
            sampler=sweep.sampler,
            max_train_loss=settings.validation.max_train_loss,
            max_quarantined=settings.validation.max_quarantined,
            report_dir=workspace.reports(settings.task),
        )

    result = _stamped("validate", settings, workspace, work)
    facts = stamps.read_json(workspace.validation(settings.task))
    kept, bad = len(facts["accepted"]), len(facts["quarantined"])
    return replace(result, summary=f"{kept} runs accepted, {bad} quarantined", facts=facts)


def fit(settings: Settings, workspace: Workspace) -> StepResult:
    """Fit the LODE on the accepted histories."""

    def work() -> None:
        from components.lode.fit import FitConfig
        from components.lode.fit import fit as fit_lode
        from components.validation import accepted_histories

        lode, task = settings.lode, settings.task
        histories = accepted_histories(workspace.histories(task), workspace.validation(task))
        with progress(f"fit {task}", lode.fit.updates) as advance:
            shown = 0

            def show(done: int, error: float) -> None:
                nonlocal shown
                advance(done - shown, f"held-out error {error:.3f}")
                shown = done

            fit_lode(
                histories,
                folder=workspace.lode(task),
                checkpoint=workspace.fit_checkpoint(task),
                settings=FitConfig(**lode.fit.model_dump()),
                mu=lode.scheduler.mu,
                encoder=lode.encoder,
                latent=lode.latent,
                hidden=lode.hidden,
                solver=lode.solver,
                solver_steps=lode.solver_steps,
                progress=show,
            )

    result = _stamped("fit", settings, workspace, work)
    facts = stamps.read_json(workspace.lode(settings.task) / "config.json")["fit"]
    error = facts["best_error"]
    said = f"{facts['fitted']} runs" + (f", held-out error {error:.3f}" if error else "")
    return replace(result, summary=said, facts=facts)


def register(settings: Settings, workspace: Workspace) -> StepResult:
    """Log the sweep in MLflow and register the LODE as `lode-<task>@champion`."""

    task, uri = settings.task, tracking_uri(settings, workspace)

    def work() -> None:
        from components.registry import log_sweep
        from components.registry import register as register_lode
        from components.training.history import history_path, read_history

        validated = stamps.read_json(workspace.validation(task))
        runs = [
            read_history(history_path(workspace.histories(task), run_id))
            for run_id in sweep_run_ids(task, workspace)
        ]
        log_sweep(
            runs, tracking_uri=uri, experiment=f"sweep-{task}",
            artifact_root=workspace.artifacts,
        )  # fmt: skip
        registered = register_lode(
            workspace.lode(task),
            task=task,
            tags={
                "histories_digest": validated["histories_digest"],
                "settings_digest": _learning_digest(settings),
                "git_revision": git_revision(workspace.root),
                "sweep_size": str(len(validated["accepted"])),
            },
            tracking_uri=uri,
            artifact_root=workspace.artifacts,
            **settings.lode.scheduler.model_dump(),
        )
        text = json.dumps({**asdict(registered), "tags": dict(registered.tags)}, indent=1)
        write_text(workspace.registration(task), text + "\n")

    result = _stamped("register", settings, workspace, work)
    facts = stamps.read_json(workspace.registration(settings.task))
    return replace(result, summary=f"{facts['name']} version {facts['version']}", facts=facts)


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
    task = settings.task

    def work() -> None:
        from components.evaluation.evaluate import evaluate as compare

        compare(
            task,
            workspace.histories(task),
            workspace.scheduled(task),
            workspace.lode(task),
            workspace.reports(task),
            seeds=settings.evaluation.seeds,
            sweep_runs=sweep_run_ids(task, workspace),
            scheduled_runs=[job.spec.run_id for job in evaluation_jobs(settings, workspace)],
        )

    result = _stamped("evaluate", settings, workspace, work)
    facts = stamps.read_json(workspace.evaluation(task))
    return replace(result, summary=f"report in {workspace.page(task)}", facts=facts)


STEPS: dict[str, Callable[[Settings, Workspace], StepResult]] = {
    "sweep": sweep,
    "validate": validate,
    "fit": fit,
    "register": register,
    "train": train,
    "evaluate": evaluate,
}


STAMPED = ("validate", "fit", "register", "evaluate")  # sweep and train: files named by digests


def up_to_date(settings: Settings, workspace: Workspace) -> bool:
    """Whether every step would find its finished output."""
    plan = sweep_plan(settings, workspace)
    if plan.sampler == "grid" and _missing(plan.grid_jobs()):
        return False
    return all(_is_current(step, settings, workspace) for step in STAMPED) and not _missing(
        evaluation_jobs(settings, workspace)
    )


def result_table(settings: Settings, workspace: Workspace) -> str:
    """The comparison as text, and where the report lies."""
    from components.evaluation.report import text_table

    path = workspace.evaluation(settings.task)
    if not path.exists():
        raise WorkspaceError(f"{path}: not evaluated yet; run `make demo` or `lode evaluate`")
    return f"{text_table(stamps.read_json(path))}\nreport: {workspace.page(settings.task)}"


def tracking_uri(settings: Settings, workspace: Workspace) -> str:
    """The registry's address; a relative SQLite path is meant from the workspace's root."""
    uri = settings.registry.tracking_uri
    prefix = "sqlite:///"
    if uri.startswith(prefix):
        return prefix + str(workspace.root / uri.removeprefix(prefix))
    return uri


def sweep_plan(settings: Settings, workspace: Workspace) -> SweepPlan:
    """The sweep that params.yaml asks for."""
    from components.sweep.study import SweepPlan
    from components.tasks import catalog
    from components.training.execute import Job
    from components.training.run import RunSpec

    training, sweep = settings.training, settings.sweep
    spec = RunSpec(
        task=settings.task, scheduler="", peak_lr=None, seed=0, updates=training.updates,
        points=training.points, train_samples=training.train_samples,
        data_digest=catalog.get(settings.task).data_digest(workspace.data),
    )  # fmt: skip
    job = Job(spec, workspace.histories(settings.task), workspace.data, training.device)
    return SweepPlan(
        job, sweep.sampler, tuple(sweep.schedulers), tuple(sweep.peak_lrs), tuple(sweep.seeds),
        sweep.trials,
    )  # fmt: skip


def evaluation_jobs(settings: Settings, workspace: Workspace) -> list[Job]:
    """The runs of the comparison: LODE and the best of each baseline, on the fresh seeds."""
    from components.evaluation.accuracy import best_configurations
    from components.training.history import history_path, read_history

    task, evaluation = settings.task, settings.evaluation
    histories = workspace.histories(task)
    sweep = [read_history(history_path(histories, run)) for run in sweep_run_ids(task, workspace)]
    template = _evaluation_template(settings, workspace)
    baselines = [
        replace(template, spec=replace(template.spec, scheduler=name, peak_lr=peak_lr, seed=seed))
        for name, peak_lr in best_configurations(sweep).items()
        for seed in evaluation.seeds
    ]
    return [
        *baselines,
        *(lode_job(template, settings, workspace, seed) for seed in evaluation.seeds),
    ]


def _evaluation_template(settings: Settings, workspace: Workspace) -> Job:
    evaluation, template = settings.evaluation, sweep_plan(settings, workspace).template
    template = replace(template, histories=workspace.scheduled(settings.task))
    if evaluation.sharpness == "none":
        return template
    measured = {"method": evaluation.sharpness, "samples": evaluation.sharpness_samples}
    method = f"{evaluation.sharpness} {evaluation.sharpness_samples}"
    spec = replace(template.spec, sharpness_method=method)
    return replace(template, spec=spec, sharpness=measured)


def sweep_run_ids(task: str, workspace: Workspace) -> list[str]:
    """The runs of the current sweep, as validation found them: accepted and quarantined.

    The folder may hold others: former settings', and what nightly retraining gathers.
    """
    path = workspace.validation(task)
    if not path.exists():
        raise WorkspaceError(f"{path}: not validated yet; run `lode validate` first")
    found = stamps.read_json(path)
    return sorted([*found["accepted"], *(bad["run_id"] for bad in found["quarantined"])])


def lode_job(template: Job, settings: Settings, workspace: Workspace, seed: int) -> Job:
    """`template` as a run under the fitted LODE; its name depends on weights and controller."""
    folder = workspace.lode(settings.task)
    weights = folder / "lode.safetensors"
    if not weights.exists():
        raise WorkspaceError(f"{weights}: no fitted LODE; run `lode fit` first")
    controller = settings.lode.scheduler.model_dump()
    digest = text_digest(file_digest(weights), controller)[:16]
    spec = replace(template.spec, scheduler="lode", peak_lr=None, seed=seed,
                   scheduler_digest=digest)  # fmt: skip
    return replace(template, spec=spec, lode=folder, controller=controller)


def _stamped(
    step: str, settings: Settings, workspace: Workspace, work: Callable[[], None]
) -> StepResult:
    """Do `work` unless the step's outputs are there, unchanged, and made from its inputs."""
    started = time.perf_counter()
    if _is_current(step, settings, workspace):
        return StepResult(step, ran=False, summary="")
    workspace.check_writable()
    work()
    inputs, outputs = _inputs(step, settings, workspace), _outputs(step, settings, workspace)
    if inputs is not None:
        stamps.write_stamp(workspace, settings.task, step, inputs, outputs)
    return StepResult(step, ran=True, summary="", seconds=time.perf_counter() - started)


def _is_current(step: str, settings: Settings, workspace: Workspace) -> bool:
    inputs = _inputs(step, settings, workspace)
    outputs = _outputs(step, settings, workspace)
    return inputs is not None and stamps.is_current(workspace, settings.task, step, inputs, outputs)


def _outputs(step: str, settings: Settings, workspace: Workspace) -> list[Path]:
    """The files whose presence and content say that a step is done."""
    task = settings.task
    return {
        "validate": [workspace.validation(task)],
        "fit": [workspace.lode(task) / "lode.safetensors", workspace.lode(task) / "config.json"],
        "register": [workspace.registration(task)],
        "evaluate": [
            workspace.evaluation(task),
            workspace.page(task),
            workspace.reports(task) / "runs.parquet",
        ],
    }[step]


def _inputs(step: str, settings: Settings, workspace: Workspace) -> str | None:
    """Digest of all that determines a step's output; None if it cannot be told yet."""
    from components.training.history import HistoryError, digest, read_histories, read_history

    task, say = settings.task, _what_matters(settings)
    try:
        if step == "validate":
            seen = digest(read_histories(workspace.histories(task)))
            return text_digest(say["sweep"], say["training"], say["validation"], seen)
        validated = file_digest(workspace.validation(task))
        if step == "fit":
            controller = {"scheduler": say["lode"]["scheduler"]["mu"]}  # the window it encodes
            return text_digest(validated, say["lode"] | controller)
        weights = file_digest(workspace.lode(task) / "lode.safetensors")
        if step == "register":
            return text_digest(validated, weights, say["registry"], _learning_digest(settings))
        runs = digest(read_history(job.path) for job in evaluation_jobs(settings, workspace))
        return text_digest(validated, weights, runs, say["evaluation"])
    except (HistoryError, FileNotFoundError, WorkspaceError):
        return None


def _what_matters(settings: Settings) -> dict[str, Any]:
    """The settings without those that change how fast a result comes, not what it is."""
    say = settings.model_dump(mode="json")
    del say["sweep"]["workers"], say["training"]["device"]
    return say


def _learning_digest(settings: Settings) -> str:
    """Of the settings that a LODE depends on; how it is evaluated is not among them."""
    say = _what_matters(settings)
    return text_digest(*(say[key] for key in ("task", "training", "sweep", "validation", "lode")))


def _missing(jobs: list[Job]) -> int:
    return sum(not job.path.exists() for job in jobs)


def _note(history: History) -> str:
    best = history.meta["best_val_metric"]
    return f"{history.describe()}: {best:.4f}" if best is not None else f"{history.describe()}: –"
