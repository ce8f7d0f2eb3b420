"""The sweep: schedulers × peak learning rates, asked for in rounds.

One asker, many workers. What was asked is kept nowhere: rounds follow from the answers to those
before, in a fixed order, so a killed sweep, started again, asks the same questions, finds the
answers on disk and goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from components.runs.job import Job, RunAll
from components.runs.plan import SweepPlan, under
from components.runs.pool import run_all
from components.sweep.racing import survivors
from components.sweep.rounds import Rounds
from components.training.history import History


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
    rounds = _rounds(plan)
    jobs = next(rounds, None)
    while jobs is not None:
        answers = (train or run_all)(jobs, workers=workers, on_history=on_history)
        histories += answers
        try:
            jobs = rounds.send(answers)
        except StopIteration:
            jobs = None
    return histories


def _rounds(plan: SweepPlan) -> Rounds:
    if plan.sampler != "tpe":
        return {"grid": _grid, "racing": _race}[plan.sampler](plan)
    from components.sweep.tpe import tpe  # Optuna, which no other sampler needs

    return tpe(plan)


def _grid(plan: SweepPlan) -> Rounds:
    yield plan.grid_jobs()


def _race(plan: SweepPlan) -> Rounds:
    """All on the first seed; who survives it, on the others."""
    first, *others = plan.seeds
    answers = yield [under(plan.template, *one, first) for one in plan.grid]
    left = survivors(plan.grid, answers, plan.survivors)
    if others:
        yield [under(plan.template, *one, seed) for one in left for seed in others]
