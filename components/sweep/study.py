"""The sweep: schedulers × peak learning rates, asked for in rounds.

One asker, many workers. What was asked is kept nowhere: rounds follow from the answers to those
before, in a fixed order, so a killed sweep, started again, asks the same questions, finds the
answers on disk and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import optuna

from components.evaluation.ranking import worst_validation, worth
from components.runs.job import Job, RunAll
from components.runs.plan import SweepPlan, under
from components.runs.pool import run_all
from components.sweep.racing import survivors
from components.training.history import History

TPE_ROUND = 4  # configurations asked at once; times the seeds, enough to keep workers busy

# Yields what is to be done, is sent the histories of it.
Rounds = Generator[list[Job], list[History], None]


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
    rounds = {"grid": _grid, "racing": _race, "tpe": _tpe}[plan.sampler](plan)
    jobs = next(rounds, None)
    while jobs is not None:
        answers = (train or run_all)(jobs, workers=workers, on_history=on_history)
        histories += answers
        try:
            jobs = rounds.send(answers)
        except StopIteration:
            jobs = None
    return histories


def _grid(plan: SweepPlan) -> Rounds:
    yield plan.grid_jobs()


def _race(plan: SweepPlan) -> Rounds:
    """All on the first seed; who survives it, on the others."""
    first, *others = plan.seeds
    answers = yield [under(plan.template, *one, first) for one in plan.grid]
    left = survivors(plan.grid, answers, plan.survivors)
    if others:
        yield [under(plan.template, *one, seed) for one in left for seed in others]


def _tpe(plan: SweepPlan) -> Rounds:
    """What Optuna suggests, a few configurations at a time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
    study, seen = optuna.create_study(direction="maximize", sampler=sampler), list[History]()
    for start in range(0, plan.trials, TPE_ROUND):
        trials = [study.ask() for _ in range(min(TPE_ROUND, plan.trials - start))]
        batches = [plan.jobs(*_suggest(trial, plan)) for trial in trials]
        answers = yield [job for batch in batches for job in batch]
        seen.extend(answers)
        for index, trial in enumerate(trials):
            seeds = answers[index * len(plan.seeds) : (index + 1) * len(plan.seeds)]
            _tell(study, trial, worth(seeds, worst_validation(seen)).mean)


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
