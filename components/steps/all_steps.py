"""The pipeline's steps: settings and a workspace in, files out.

Prefect, DVC, the CLI and a notebook call these same functions. A step that finds its finished,
valid output does nothing; how it knows is in `components/steps/stamps.py`. Imports are inside, so
that a step pays only for what it uses.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.runs.progress import progress
from components.schedulers.names import PARAMETRIC_SCHEDULERS
from components.settings import Settings
from components.steps import stamps
from components.storage.files import write_text
from components.storage.workspace import (
    Workspace,
    WorkspaceError,
    file_digest,
    git_revision,
    text_digest,
)

if TYPE_CHECKING:
    from components.pilots.campaign import Pilots
    from components.runs.job import Job
    from components.runs.pool import RunAll
    from components.sweep.study import SweepPlan
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


def sweep(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Train every run of the sweep that is not on disk.

    `run_all`, here and below: who trains; None: processes of this machine.
    """
    from components.runs import pool
    from components.runs.execute import load_data
    from components.sweep.study import run_sweep

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
            train=run_all or pool.run_all,
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


def pilot(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Try the schedules that LODE and judge propose; find the plan that runs begin with."""
    task = settings.task

    def work() -> None:
        from components.pilots.campaign import run_pilots
        from components.runs import pool

        workspace.pilots(task).mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {"runs": 0, "run_ids": [], "plan": [], "adopted": False}
        if settings.pilot_runs:
            asked = _pilots(settings, workspace)
            with progress(f"pilot {task}", asked.budget.total) as advance:
                found = run_pilots(
                    replace(
                        asked,
                        run_all=run_all or pool.run_all,
                        on_run=lambda note: advance(1, note),
                        on_fit=lambda note: advance(0, note),
                    )
                )
        write_text(workspace.pilot_summary(task), json.dumps(found, indent=1) + "\n")

    result = _stamped("pilot", settings, workspace, work)
    facts = stamps.read_json(workspace.pilot_summary(task))
    return replace(result, summary=_said_of(facts), facts=facts)


def _said_of(pilots: dict[str, Any]) -> str:
    if not pilots["runs"]:
        return "no pilots (pilots.runs is 0, the sweep is tiny, or the controller is `paper`)"
    said = f"{pilots['runs']} runs, {pilots['diverged']} diverged; "
    gain = pilots["gain"]
    if gain["mean"] is None:
        return said + "the confirmation failed, as runs diverged: the sweep's best stays the plan"
    verdict = "makes it" if pilots["adopted"] else "is too little: the sweep's best stays"
    return said + f"gain {gain['mean']:+.4f} ± {gain['error']:.4f} {verdict} the plan"


def _pilots(settings: Settings, workspace: Workspace) -> Pilots:
    from components.lode.fit import FitConfig
    from components.lode.judge_fit import JudgeFitConfig
    from components.pilots.campaign import Budget, Pilots, Recipe
    from components.validation import accepted_histories

    task, lode = settings.task, settings.lode
    budget = Budget.of(settings.pilot_runs)
    taken = {*settings.sweep.seeds, *settings.evaluation.seeds}
    free = (seed for seed in itertools.count(max(settings.sweep.seeds) + 1) if seed not in taken)
    return Pilots(
        sweep=accepted_histories(workspace.histories(task), workspace.validation(task)),
        template=replace(
            sweep_plan(settings, workspace).template, histories=workspace.pilots(task)
        ),
        recipe=Recipe(
            mu=lode.scheduler.mu,
            fit=FitConfig(**lode.fit.model_dump()),
            judge=JudgeFitConfig(**lode.judge.model_dump()),
            lode=architecture(settings),
        ),
        budget=budget,
        seeds=settings.sweep.seeds,
        fresh=list(itertools.islice(free, budget.screen + budget.confirm)),
        scratch=workspace.state / "pilots" / task,
        workers=settings.sweep.workers,
    )


def architecture(settings: Settings) -> dict[str, Any]:
    """What `components.lode.fit.fit` is told of the LODE's architecture."""
    names = ("encoder", "latent", "hidden", "solver", "solver_steps")
    return {name: getattr(settings.lode, name) for name in names}


JUDGE_FILES = ("judge.safetensors", "judge.json")  # beside the LODE, of the default controller


def fit(settings: Settings, workspace: Workspace) -> StepResult:
    """Fit the LODE, and the judge of the default controller, on sweep and pilots."""
    task = settings.task

    def work() -> None:
        from components.validation import accepted_histories

        histories = accepted_histories(workspace.histories(task), workspace.validation(task))
        pilots, plan = pilot_histories(settings, workspace)
        fit_models(
            settings,
            histories,
            pilots,
            plan,
            folder=workspace.lode(task),
            checkpoint=workspace.fit_checkpoint(task),
        )

    result = _stamped("fit", settings, workspace, work)
    facts = stamps.read_json(workspace.lode(task) / "config.json")["fit"]
    error = facts["best_error"]
    said = f"{facts['fitted']} runs" + (f", held-out error {error:.3f}" if error else "")
    return replace(result, summary=said, facts=facts)


def fit_models(
    settings: Settings,
    sweep: list[History],
    others: list[History],
    plan: list[float],
    *,
    folder: Path,
    checkpoint: Path,
) -> None:
    """Fit the LODE, and the judge of the default controller, and save both in `folder`.

    Args:
        sweep: the accepted runs, whose best gives the initial schedule. others: more to learn from.
        plan: what runs under the default controller begin with; empty: the sweep's best schedule.
        checkpoint: folder from which a killed fit goes on.
    """
    from components.lode.fit import FitConfig
    from components.lode.fit import fit as fit_lode
    from components.lode.judge_fit import JudgeFitConfig, Runs, fit_judge

    lode = settings.lode
    judged = lode.controller == "default"
    total = lode.fit.updates + (lode.judge.updates if judged else 0)
    with progress(f"fit {settings.task}", total) as advance:
        shown = 0

        def show(done: int, error: float) -> None:
            nonlocal shown
            advance(done - shown, f"held-out error {error:.3f}")
            shown = done

        fit_lode(
            sweep,
            pilots=others,
            folder=folder,
            checkpoint=checkpoint,
            settings=FitConfig(**lode.fit.model_dump()),
            mu=lode.scheduler.mu,
            progress=show,
            **architecture(settings),
        )
        if judged:
            fit_judge(
                Runs.of([*sweep, *others]),
                JudgeFitConfig(**lode.judge.model_dump()),
                plan=plan,
                schedule=_best_schedule(sweep),
                progress=lambda done: advance(done, "judge"),
            ).save(folder)
        else:  # one of an earlier fit would be registered with this LODE
            for name in JUDGE_FILES:
                (folder / name).unlink(missing_ok=True)


def pilot_histories(settings: Settings, workspace: Workspace) -> tuple[list[History], list[float]]:
    """The pilots' histories and their plan; nothing for the controller `paper`."""
    from components.training.history import history_path, read_history

    if settings.lode.controller == "paper":
        return [], []
    path = workspace.pilot_summary(settings.task)
    if not path.exists():
        raise WorkspaceError(f"{path}: no pilots yet; run `lode pilot` first")
    found, folder = stamps.read_json(path), workspace.pilots(settings.task)
    histories = [read_history(history_path(folder, i)) for i in found["run_ids"]]
    return histories, found["plan"] if found["adopted"] else []


def _best_schedule(histories: list[History]) -> tuple[()] | tuple[str, float]:
    """The sweep's best parametric schedule; nothing where its best is of another kind."""
    from components.evaluation.ranking import best_configuration

    best = best_configuration(histories)
    if best.scheduler not in PARAMETRIC_SCHEDULERS or best.peak_lr is None:
        return ()
    return best.scheduler, best.peak_lr


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
            runs,
            tracking_uri=uri,
            experiment=f"sweep-{task}",
            artifact_root=workspace.artifacts,
        )
        registered = register_lode(
            workspace.lode(task),
            task=task,
            tags={
                "histories_digest": validated["histories_digest"],
                "settings_digest": learning_digest(settings),
                "git_revision": git_revision(workspace.root),
                "sweep_size": str(len(validated["accepted"])),
            },
            tracking_uri=uri,
            artifact_root=workspace.artifacts,
            **controller_settings(settings),
        )
        text = json.dumps({**asdict(registered), "tags": dict(registered.tags)}, indent=1)
        write_text(workspace.registration(task), text + "\n")

    result = _stamped("register", settings, workspace, work)
    facts = stamps.read_json(workspace.registration(settings.task))
    return replace(result, summary=f"{facts['name']} version {facts['version']}", facts=facts)


def baselines(
    settings: Settings, workspace: Workspace, run_all: RunAll | None = None
) -> StepResult:
    """Tune the baselines beyond the sweep's schedules, on the sweep's peak lrs and seeds."""
    from components.runs.baselines import learn_policies, tuning_jobs

    started = time.perf_counter()
    workspace.baselines(settings.task).mkdir(parents=True, exist_ok=True)  # DVC's output
    learn_policies(settings, workspace)
    jobs = tuning_jobs(settings, workspace)
    if not jobs:
        return StepResult("baselines", ran=False, summary="none to tune (baselines.schedulers)")
    return _train_all("baselines", jobs, settings, workspace, run_all, started)


def train(settings: Settings, workspace: Workspace, run_all: RunAll | None = None) -> StepResult:
    """Train the LODE-scheduled runs and the best of every baseline on the same fresh seeds."""
    started = time.perf_counter()
    jobs = evaluation_jobs(settings, workspace)
    return _train_all("train", jobs, settings, workspace, run_all, started)


def _train_all(
    step: str,
    jobs: list[Job],
    settings: Settings,
    workspace: Workspace,
    run_all: RunAll | None,
    started: float,
) -> StepResult:
    from components.runs import pool

    workspace.check_writable()
    missing = _missing(jobs)
    with progress(f"{step} {settings.task}", len(jobs)) as advance:
        histories = (run_all or pool.run_all)(
            jobs,
            workers=settings.sweep.workers,
            on_history=lambda job, history: advance(1, _note(history)),
        )
    diverged = sum(not h.completed for h in histories)
    return StepResult(
        step,
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
        from components.lode.predictions import predict_held_out
        from components.runs.baselines import tuning_jobs
        from components.training.history import history_path, read_history

        sweep = [
            read_history(history_path(workspace.histories(task), run_id))
            for run_id in sweep_run_ids(task, workspace)
        ]
        compare(
            task,
            workspace.histories(task),
            workspace.scheduled(task),
            workspace.lode(task),
            workspace.reports(task),
            seeds=settings.evaluation.seeds,
            sweep_runs=sweep_run_ids(task, workspace),
            baseline_dir=workspace.baselines(task),
            baseline_runs=[job.spec.run_id for job in tuning_jobs(settings, workspace)],
            scheduled_runs=[job.spec.run_id for job in evaluation_jobs(settings, workspace)],
            trajectories=predict_held_out(workspace.lode(task), sweep),
        )

    result = _stamped("evaluate", settings, workspace, work)
    facts = stamps.read_json(workspace.evaluation(task))
    return replace(result, summary=f"report in {workspace.page(task)}", facts=facts)


STEPS: dict[str, Callable[..., StepResult]] = {
    "sweep": sweep,
    "validate": validate,
    "pilot": pilot,
    "fit": fit,
    "register": register,
    "baselines": baselines,
    "train": train,
    "evaluate": evaluate,
}


STAMPED = (
    "validate",
    "pilot",
    "fit",
    "register",
    "evaluate",
)  # the others: files named by digests


def up_to_date(settings: Settings, workspace: Workspace) -> bool:
    """Whether every step would find its finished output."""
    from components.runs.baselines import tuning_jobs
    from components.schedulers.policy import PolicyError

    plan = sweep_plan(settings, workspace)
    if plan.sampler == "grid" and _missing(plan.grid_jobs()):
        return False
    try:
        if _missing(tuning_jobs(settings, workspace)):
            return False
    except PolicyError:  # not learned yet
        return False
    return all(_is_current(step, settings, workspace) for step in STAMPED) and not _missing(
        evaluation_jobs(settings, workspace)
    )


def result_table(settings: Settings, workspace: Workspace) -> str:
    """The comparison as text, and where the report lies."""
    from components.evaluation.evaluate import SCHEMA_VERSION
    from components.evaluation.report import text_table

    path = workspace.evaluation(settings.task)
    if not path.exists():
        raise WorkspaceError(f"{path}: not evaluated yet; run `make demo` or `lode evaluate`")
    evaluation = stamps.read_json(path)
    if evaluation["schema"] != SCHEMA_VERSION:
        raise WorkspaceError(f"{path}: written by another version; run `lode evaluate` again")
    return f"{text_table(evaluation)}\nreport: {workspace.page(settings.task)}"


def tracking_uri(settings: Settings, workspace: Workspace) -> str:
    """The registry's address; a relative SQLite path is meant from the workspace's root."""
    uri = settings.registry.tracking_uri
    prefix = "sqlite:///"
    if uri.startswith(prefix):
        return prefix + str(workspace.root / uri.removeprefix(prefix))
    return uri


def sweep_plan(settings: Settings, workspace: Workspace) -> SweepPlan:
    """The sweep that params.yaml asks for."""
    from components.runs.job import Job
    from components.sweep.study import SweepPlan
    from components.tasks import catalog
    from components.training.run import RunSpec

    training, sweep = settings.training, settings.sweep
    spec = RunSpec(
        task=settings.task,
        scheduler="",
        peak_lr=None,
        seed=0,
        updates=training.updates,
        points=training.points,
        train_samples=training.train_samples,
        data_digest=catalog.get(settings.task).data_digest(workspace.data),
    )
    job = Job(spec, workspace.histories(settings.task), workspace.data, training.device)
    return SweepPlan(
        job,
        sweep.sampler,
        tuple(sweep.schedulers),
        tuple(sweep.peak_lrs),
        tuple(sweep.seeds),
        sweep.trials,
    )


def evaluation_jobs(settings: Settings, workspace: Workspace) -> list[Job]:
    """The runs of the comparison: LODE and the best of each baseline, on the fresh seeds."""
    from components.evaluation.ranking import best_configurations
    from components.runs.baselines import tuning_jobs
    from components.runs.single import job_of
    from components.schedulers.names import WITHOUT_PEAK_LR
    from components.training.history import history_path, read_history

    task, evaluation = settings.task, settings.evaluation
    histories = workspace.histories(task)
    tuned = [read_history(history_path(histories, run)) for run in sweep_run_ids(task, workspace)]
    tuned += [read_history(job.path) for job in tuning_jobs(settings, workspace)]
    template = evaluation_template(settings, workspace)
    untuned = [name for name in settings.baselines.schedulers if name in WITHOUT_PEAK_LR]
    chosen = {**best_configurations(tuned), **dict.fromkeys(untuned)}
    return [
        *(
            job_of(template, settings, workspace, name, peak_lr, seed)
            for name, peak_lr in chosen.items()
            for seed in evaluation.seeds
        ),
        *(lode_job(template, settings, workspace, seed) for seed in evaluation.seeds),
    ]


def evaluation_template(settings: Settings, workspace: Workspace) -> Job:
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
    """`template` as a run under the fitted LODE."""
    folder, controller = workspace.lode(settings.task), controller_settings(settings)
    return scheduled_job(template, folder, controller, seed)


def scheduled_job(template: Job, folder: Path, controller: dict[str, Any], seed: int) -> Job:
    """`template` as a run under the LODE in `folder`; its name depends on weights and controller.

    Raises:
        WorkspaceError: no LODE there, or no judge for the default controller.
    """
    judge = JUDGE_FILES if controller["controller"] == "default" else ()
    fitted = [folder / name for name in ("lode.safetensors", *judge)]
    for path in fitted:
        if not path.exists():
            raise WorkspaceError(f"{path}: no fitted LODE; run `lode fit` first")
    digest = text_digest(*map(file_digest, fitted), controller)[:16]
    spec = replace(
        template.spec, scheduler="lode", peak_lr=None, seed=seed, scheduler_digest=digest
    )
    return replace(template, spec=spec, lode=folder, controller=controller)


def check_unchanged(job: Job) -> None:
    """For whoever does a job that was made elsewhere or a while ago.

    Raises:
        WorkspaceError: the LODE it names is no longer the one that the run is named after.
    """
    if job.lode and scheduled_job(job, job.lode, job.controller, job.spec.seed).spec != job.spec:
        raise WorkspaceError(
            f"{job.lode}: refitted since this run was handed out; start what handed it out again"
        )


def controller_settings(settings: Settings) -> dict[str, Any]:
    """What `LODEScheduler` is built with."""
    return {"controller": settings.lode.controller, **settings.lode.scheduler.model_dump()}


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
    task, folder = settings.task, workspace.lode(settings.task)
    fitted = ["lode.safetensors", "config.json"]
    if settings.lode.controller == "default":
        fitted += JUDGE_FILES
    return {
        "validate": [workspace.validation(task)],
        "pilot": [workspace.pilot_summary(task), *_pilot_files(task, workspace)],
        "fit": [folder / name for name in fitted],
        "register": [workspace.registration(task)],
        "evaluate": [
            workspace.evaluation(task),
            workspace.page(task),
            workspace.reports(task) / "runs.parquet",
        ],
    }[step]


def _pilot_files(task: str, workspace: Workspace) -> list[Path]:
    """The pilots' histories: the fit needs every one that the summary names."""
    try:
        run_ids = stamps.read_json(workspace.pilot_summary(task))["run_ids"]
    except (FileNotFoundError, ValueError, KeyError):
        return []
    return [workspace.pilots(task) / f"{run_id}.parquet" for run_id in run_ids]


def _inputs(step: str, settings: Settings, workspace: Workspace) -> str | None:
    """Digest of all that determines a step's output; None if it cannot be told yet."""
    from components.evaluation.evaluate import SCHEMA_VERSION
    from components.schedulers.policy import PolicyError
    from components.training.history import HistoryError, digest, read_histories, read_history

    task, say = settings.task, _what_matters(settings)
    try:
        if step == "validate":
            seen = digest(read_histories(workspace.histories(task)))
            return text_digest(say["sweep"], say["training"], say["validation"], seen)
        validated = file_digest(workspace.validation(task))
        learning = say["lode"] | {"scheduler": say["lode"]["scheduler"]["mu"]}  # what it encodes
        if step == "pilot":
            taken = sorted(say["evaluation"]["seeds"])  # the confirmation's are others
            return text_digest(validated, learning, settings.pilot_runs, taken)
        tried = file_digest(workspace.pilot_summary(task))
        if step == "fit":
            return text_digest(validated, learning, tried)
        fitted = _outputs("fit", settings, workspace)
        weights = text_digest(*(file_digest(path) for path in fitted if path.name != "config.json"))
        if step == "register":
            return text_digest(validated, weights, say["registry"], learning_digest(settings))
        runs = digest(read_history(job.path) for job in evaluation_jobs(settings, workspace))
        return text_digest(validated, weights, runs, say["evaluation"], SCHEMA_VERSION)
    except (HistoryError, FileNotFoundError, PolicyError, WorkspaceError):
        return None


def _what_matters(settings: Settings) -> dict[str, Any]:
    """The settings without those that change how fast a result comes, not what it is."""
    say = settings.model_dump(mode="json")
    del say["sweep"]["workers"], say["training"]["device"], say["execution"]
    return say


def learning_digest(settings: Settings) -> str:
    """Of the settings that a LODE depends on; how it is evaluated is not among them."""
    say = _what_matters(settings)
    return text_digest(*(say[key] for key in ("task", "training", "sweep", "validation", "lode")))


def _missing(jobs: list[Job]) -> int:
    return sum(not job.path.exists() for job in jobs)


def _note(history: History) -> str:
    best = history.meta["best_val_metric"]
    return f"{history.describe()}: {best:.4f}" if best is not None else f"{history.describe()}: –"
