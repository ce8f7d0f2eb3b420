"""A sweep whose configurations Optuna suggests."""

from __future__ import annotations

import optuna

from components.evaluation.ranking import worst_validation, worth
from components.runs.plan import SweepPlan
from components.sweep.rounds import Rounds
from components.training.history import History

TPE_ROUND = 4  # configurations asked at once; times the seeds, enough to keep workers busy


def tpe(plan: SweepPlan) -> Rounds:
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
