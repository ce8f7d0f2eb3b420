"""The sweep: an Optuna study over schedulers × peak learning rates, each with every seed.

One asker, many workers. The study itself is kept nowhere: configurations are asked for in rounds
of a fixed size and told in a fixed order, so a killed sweep, started again, asks the same
questions, finds the answers on disk and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import optuna

from components.evaluation.ranking import worst_validation, worth
from components.runs.job import Job, RunAll
from components.runs.plan import SweepPlan
from components.runs.pool import run_all
from components.training.history import History

TPE_ROUND = 4  # configurations asked at once; times the seeds, enough to keep workers busy


def run_sweep(
    plan: SweepPlan,
    *,
    workers: int | None = None,
    on_history: Callable[[Job, History], None] = lambda job, history: None,
    train: RunAll | None = None,
) -> list[History]:
    """Do every run of the plan that is not on disk and return all histories.

    Args:
        train: who trains; None: processes of this machine.

    Raises:
        components.runs.processes.WorkerDiedError: a worker was killed; call again to go on.
    """
    histories: list[History] = []
    for jobs, report in _rounds(plan):
        answers = (train or run_all)(jobs, workers=workers, on_history=on_history)
        report(answers)
        histories += answers
    return histories


def _rounds(plan: SweepPlan) -> Iterator[tuple[list[Job], Callable[[list[History]], None]]]:
    """Rounds of jobs, each with the function that tells the study how they came out."""
    study, seen = _study(plan), list[History]()
    size = plan.configurations if plan.sampler == "grid" else TPE_ROUND
    left = plan.configurations
    while left > 0:
        trials = [study.ask() for _ in range(min(size, left))]
        batches = [plan.jobs(*_suggest(trial, plan)) for trial in trials]

        def report(answers: list[History], trials=trials) -> None:  # type: ignore[no-untyped-def]
            seen.extend(answers)
            for index, trial in enumerate(trials):
                seeds = answers[index * len(plan.seeds) : (index + 1) * len(plan.seeds)]
                _tell(study, trial, worth(seeds, worst_validation(seen)).mean)

        yield [job for batch in batches for job in batch], report
        left -= len(trials)


def _study(plan: SweepPlan) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    if plan.sampler == "grid":
        # Not GridSampler: it stops the study from inside, which asking and telling cannot bear.
        for scheduler in plan.schedulers:
            for peak_lr in plan.peak_lrs:
                study.enqueue_trial({"scheduler": scheduler, "peak_lr": peak_lr})
    return study


def _suggest(trial: optuna.Trial, plan: SweepPlan) -> tuple[str, float]:
    scheduler = trial.suggest_categorical("scheduler", plan.schedulers)
    low, high = min(plan.peak_lrs), max(plan.peak_lrs)
    return str(scheduler), trial.suggest_float("peak_lr", low, high, log=True)


def _tell(study: optuna.Study, trial: optuna.Trial, merit: float | None) -> None:
    """A configuration of which nothing was logged, not even by others before, has failed."""
    if merit is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, merit)
