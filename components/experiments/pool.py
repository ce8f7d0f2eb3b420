"""A pool of runs that strategies for choosing a schedule are replayed on (`experiments.replay`).

    .venv/bin/python -m components.experiments.pool M500/params.yaml F600/params.yaml …

About 300 schedules on three seeds each (those of the sweep's grid on all of the sweep's seeds), and
the 30 that validate best on twenty other seeds: what they are worth, measured well. A hundred
strategies can then be compared in the time of one pilot campaign. Every finished run is kept, so a
pool that was stopped goes on where it was. It lies in `data/pool/<task>` beside the params.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from components.evaluation.ranking import ranked_peaks, worst_validation, worth
from components.experiments.command import PARAMS, Command, ExperimentError, opened
from components.experiments.pool_plans import PROPOSED, PoolPlan, families, grid, named, shapes
from components.lode.planner import propose_plans
from components.runs.fits import Recipe, fit_both
from components.runs.job import Job
from components.runs.plan import template, under
from components.runs.pool import run_all
from components.runs.progress import progress
from components.schedulers.plan import plan_digest
from components.settings import Settings
from components.storage.lock import only_one
from components.storage.typed import DamagedError, read_sealed, typed, write_sealed
from components.storage.workspace import Workspace
from components.training.history import History, read_history

SEEDS = 3  # a schedule outside the grid is run on the sweep's first so many
MEASURED = 30  # schedules whose worth is measured on seeds of their own
TRUTH_SEEDS = range(3000, 3020)  # which no sweep, pilot or comparison of this repository has


@dataclass(frozen=True)
class Pool:
    """What a strategy may run, and what it then finds.

    Attributes:
        plans: the schedules. runs: of each, one history a seed.
        truth: (P,) mean test metric on `TRUTH_SEEDS`, where measured; elsewhere on the pool's own
            seeds. measured: (P,) where it is the former.
        best: of the measured ones the largest. baseline: the truth of the sweep's choice.
        worst: the worst validation metric that any run logged: what a diverged one counts as.
    """

    name: str
    plans: list[PoolPlan]
    runs: list[list[History]]
    truth: np.ndarray
    measured: np.ndarray
    baseline: float
    worst: float

    @property
    def best(self) -> float:
        return float(self.truth[self.measured].max())

    @property
    def tables(self) -> np.ndarray:
        return np.array([plan.table for plan in self.plans])


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
@click.option("--workers", type=int, help="Processes; one per core if not given.")
def main(params: tuple[Path, ...], workers: int | None) -> None:
    """Build the pools of these workspaces, or go on with what is missing."""
    for path in params:
        settings, workspace = opened(path)
        with only_one(workspace):
            pool = build(settings, workspace, workers)
        print(f"{path.parent}: {len(pool.plans)} schedules, {sum(map(len, pool.runs))} runs")


def build(settings: Settings, workspace: Workspace, workers: int | None = None) -> Pool:
    """Do what is not done yet, and read the pool."""
    made = _Building(settings, workspace, workers)
    plans = made.plans()
    made.run([job for plan in plans for job in made.jobs(plan)], "pool")
    runs = [[read_history(job.path) for job in made.jobs(plan)] for plan in plans]
    best = np.argsort(-_worths(runs), kind="stable")[:MEASURED]
    fresh = [[made.job(plans[i], seed) for seed in TRUTH_SEEDS] for i in best]
    made.run([job for jobs in fresh for job in jobs], "what the best are worth")
    return read(settings, workspace)


def read(settings: Settings, workspace: Workspace) -> Pool:
    """The pool in a workspace.

    Raises:
        ExperimentError: it is not there, or not all of it.
    """
    made = _Building(settings, workspace)
    again = "run `.venv/bin/python -m components.experiments.pool` on its params.yaml"
    try:
        plans = made.plans(known=True)
        runs = [[_history(job) for job in made.jobs(plan)] for plan in plans]
        best = np.argsort(-_worths(runs), kind="stable")[:MEASURED]
        fresh = {i: [_history(made.job(plans[i], seed)) for seed in TRUTH_SEEDS] for i in best}
    except FileNotFoundError as missing:
        raise ExperimentError(
            f"{workspace.root}: the pool is not whole ({missing}); {again}"
        ) from None
    worst = worst_validation(run for own in runs for run in own)
    assert worst is not None, "the grid has its best, so some run has logged a metric"
    truth = np.array([_tested(fresh.get(i, runs[i]), worst) for i in range(len(plans))])
    measured = np.isin(np.arange(len(plans)), best)
    baseline = _baseline(plans, runs, truth)
    return Pool(workspace.name, plans, runs, truth, measured, baseline, worst)


class _Building:
    """From settings to the pool's jobs."""

    def __init__(self, settings: Settings, workspace: Workspace, workers: int | None = None):
        self.settings, self.workspace, self.workers = settings, workspace, workers
        self.folder = workspace.pool(settings.task)
        self.template = template(settings, workspace, self.folder)

    def plans(self, known: bool = False) -> list[PoolPlan]:
        """Those on disk if they are of these settings; otherwise made anew, unless `known`."""
        path = self.folder / "plans.json"
        asked = self.settings.training, self.settings.sweep
        key = json.dumps([part.model_dump(mode="json") for part in asked])
        try:
            found = read_sealed(path)
            if found.get("key") == key:
                return list(typed(tuple[PoolPlan, ...], found["plans"], "plans"))
        except (FileNotFoundError, DamagedError):
            pass
        if known:
            raise FileNotFoundError(f"{path.name} of these settings")
        plans = self._make()
        write_sealed(path, {"key": key, "plans": [asdict(plan) for plan in plans]})
        return plans

    def _make(self) -> list[PoolPlan]:
        training, sweep = self.settings.training, self.settings.sweep
        size = training.updates, training.points
        rng = np.random.default_rng(0)
        plans = grid(sweep.schedulers, sweep.peak_lrs, *size)
        self.run([job for plan in plans for job in self.jobs(plan)], "grid")
        swept = [run for plan in plans for run in self._named(plan)]
        _, best_peak = ranked_peaks(swept)[0]
        plans += families(sweep.peak_lrs, *size)
        plans += shapes(best_peak, sweep.peak_lrs, training.points, rng)
        lode, judge = fit_both(swept, [], Recipe.of(self.settings), folder=self.folder / "lode")
        series = np.stack([run.series() for run in swept if run.completed])
        plans += named("lode", propose_plans(lode, judge, series, PROPOSED, rng))
        return list({plan.table: plan for plan in reversed(plans)}.values())[::-1]

    def _named(self, plan: PoolPlan) -> list[History]:
        """The runs of one of the grid's plans, called as the sweep calls them."""
        scheduler, peak = plan.name.rsplit(" ", 1)
        runs = [read_history(job.path) for job in self.jobs(plan)]
        for run in runs:
            run.meta |= {"scheduler": scheduler, "peak_lr": float(peak)}
        return runs

    def jobs(self, plan: PoolPlan) -> list[Job]:
        seeds = self.settings.sweep.seeds
        return [self.job(plan, seed) for seed in (seeds if plan.kind == "grid" else seeds[:SEEDS])]

    def job(self, plan: PoolPlan, seed: int) -> Job:
        made = under(self.template, "plan", None, seed)
        spec = replace(made.spec, scheduler_digest=plan_digest(plan.table))
        return replace(made, spec=spec, plan=plan.table)

    def run(self, jobs: Sequence[Job], what: str) -> None:
        with progress(f"{what} {self.settings.task}", len(jobs)) as advance:
            run_all(jobs, workers=self.workers, on_history=lambda job, run: advance(1, ""))


def _history(job: Job) -> History:
    if not job.path.exists():
        raise FileNotFoundError(job.spec.describe())
    return read_history(job.path)


def _worths(runs: Sequence[Sequence[History]]) -> np.ndarray:
    """(P,) mean validation metric at the best point, as a sweep's configurations are ranked."""
    worst = worst_validation(run for own in runs for run in own)
    means = [worth(own, worst).mean for own in runs]
    return np.array([-np.inf if mean is None else mean for mean in means])


def _tested(runs: Sequence[History], worst: float) -> float:
    """Mean test metric; a diverged run counts as the worst validation metric of the pool."""
    return float(np.mean([run.meta["test_metric"] if run.completed else worst for run in runs]))


def _baseline(
    plans: Sequence[PoolPlan], runs: Sequence[Sequence[History]], truth: np.ndarray
) -> float:
    """The truth of what the whole grid chooses."""
    own = [i for i, plan in enumerate(plans) if plan.kind == "grid"]
    return float(truth[own[int(np.argmax(_worths([runs[i] for i in own])))]])


if __name__ == "__main__":
    main()
