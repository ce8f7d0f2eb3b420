"""A budget that changes during a run: what planning the rest anew is worth.

At 40 % of a run its user learns that it shall end at 70 %, or go on to 150 %, of what was planned.
Every schedule had that first 40 % under the old budget, and each is followed on the same seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from joblib import cpu_count

from components.evaluation.metric import Metric
from components.evaluation.notation import configuration
from components.evaluation.ranking import best_configuration
from components.evaluation.statistics import paired_difference, summarize
from components.evaluation.tables import Table
from components.experiments.command import PARAMS, Command, ExperimentError, opened
from components.experiments.differences import text
from components.lode.budget import stretched
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.scheduler import LODEScheduler
from components.runs.comparison import comparison
from components.runs.execute import run
from components.runs.job import Job
from components.runs.plan import template, under
from components.runs.pool import DIED, run_all
from components.runs.processes import processes
from components.runs.progress import progress
from components.runs.scheduled import lode_job
from components.schedulers.parametric import PARAMETRIC
from components.schedulers.plan import parametric_table, plan_digest
from components.settings import Settings
from components.storage.digests import text_digest
from components.storage.workspace import Workspace
from components.training.history import History, read_history, write_history
from components.training.run import log_steps

AT = 0.4  # of the planned run: half of what the shorter budget has left is then over
SHARES = (0.7, 1.5)  # of the planned updates: what the run is given instead
# Raised when `set_total_steps` plans otherwise, so that old runs are not mistaken for its result.
RECIPE = 2
WSD, WARMUP_COSINE = "warmup-stable-decay", "warmup-cosine"
REPLANNED = "LODE, replanned"
MOVED = "its decay moved to the new end"


@dataclass(frozen=True)
class Length:
    """A run planned for N = `updates`, T = `points`, that learns after log point `at` that it has
    `new_updates` and `new_points`."""

    updates: int
    points: int
    at: int
    new_updates: int
    new_points: int

    @classmethod
    def of(cls, updates: int, points: int, share: float) -> Length:
        """
        Raises:
            ExperimentError: the new budget is no whole number of updates and log points, or these
                are not where a run of that length logs.
        """
        new = round(share * updates), round(share * points)
        every = updates / points
        if log_steps(*new) != [round(p * every) for p in range(1, new[1] + 1)]:
            raise ExperimentError(
                f"{share:.0%} of {updates} updates and {points} log points are no run whose log "
                "points keep their distance; choose training.updates as a multiple of both"
            )
        return cls(updates, points, round(AT * points), *new)


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
def main(params: tuple[Path, ...]) -> None:
    """Print the test metric of runs whose budget changes at 40 %, to 70 % and to 150 %.

    Reads the sweep, the LODE and the tuned baselines beside PARAMS, which `lode sweep`, `validate`,
    `pilot`, `fit` and `baselines` leave; baselines.schedulers must name warmup-stable-decay and
    warmup-cosine. Trains on evaluation.seeds; runs in data/changed-budget are not repeated.

    Prints a Markdown table for each PARAMS: mean ± standard deviation, and the paired difference
    to warmup-stable-decay whose decay is moved to the new end, with its 95 % interval.

    \b
    .venv/bin/python -m components.experiments.changed_budget digits/params.yaml m500/params.yaml
    """
    for path in params:
        settings, workspace = opened(path)
        found = [runs_of(settings, workspace, share) for share in SHARES]
        click.echo(f"{path.parent}\n\n{table_of(found).markdown()}\n")
        for share, rows in zip(SHARES, found, strict=True):
            click.echo(f"{share:.0%}: {choices(rows[REPLANNED])}")


def runs_of(settings: Settings, workspace: Workspace, share: float) -> dict[str, list[History]]:
    """By row, the runs on every fresh seed; those that are not there yet are trained."""
    training = settings.training
    length = Length.of(training.updates, training.points, share)
    made = template(settings, workspace, workspace.changed_budget(settings.task))
    spec = replace(made.spec, updates=length.new_updates, points=length.new_points)
    made = replace(made, spec=spec)
    seeds, workers = settings.evaluation.seeds, settings.sweep.workers
    jobs = {
        row: [_plan_job(made, plan, seed) for seed in seeds]
        for row, plan in plans_of(settings, workspace, length).items()
    }
    once = list({job.spec.run_id: job for own in jobs.values() for job in own}.values())
    ours = [_lode_job(made, settings, workspace, length, seed) for seed in seeds]
    with progress(f"{settings.task} {share:.0%}", len(once) + len(ours)) as advance:
        run_all(once, workers=workers, on_history=lambda job, history: advance(1, ""))
        todo = [job for job in ours if not job.path.exists()]
        advance(len(ours) - len(todo), "")
        if todo:
            with processes(workers or cpu_count(), DIED) as executor:
                for done in as_completed([executor.submit(replanned, job, length) for job in todo]):
                    done.result()
                    advance(1, "LODE")
    rows = {REPLANNED: ours, **jobs}
    return {row: [read_history(job.path) for job in own] for row, own in rows.items()}


def plans_of(settings: Settings, workspace: Workspace, length: Length) -> dict[str, np.ndarray]:
    """By row, learning rates at log points 0 … of the new run.

    Raises:
        ExperimentError: a baseline that is needed was not tuned, or the sweep's best is no
            schedule.
    """
    found = comparison(settings, workspace)
    best = best_configuration(found.sweep)
    missing = {WSD, WARMUP_COSINE} - found.chosen.keys()
    if missing or best.scheduler not in PARAMETRIC or best.peak_lr is None:
        raise ExperimentError(
            f"{workspace.root}: it takes baselines.schedulers: [{WSD}, {WARMUP_COSINE}] "
            "and a sweep whose best is a schedule; change them and run `lode baselines` again"
        )
    old, new = (length.updates, length.points), (length.new_updates, length.new_points)
    _, peak = found.chosen[WSD]
    assert peak is not None
    name = configuration(WSD, peak)
    holding = parametric_table(WSD, peak, *old)[: length.at + 1]
    rows = {
        f"{name}, {MOVED}": np.append(holding, parametric_table(WSD, peak, *new)[len(holding) :])
    }
    for scheduler, its in ((best.scheduler, best.peak_lr), found.chosen[WARMUP_COSINE]):
        assert its is not None
        plan, name = parametric_table(scheduler, its, *old), configuration(scheduler, its)
        rows[f"{name}, stretched"] = _stretched(plan, length)
        rows[f"{name}, unchanged"] = _unchanged(plan, length)
    rows["LODE's first plan, stretched"] = _stretched(_opening(settings, workspace, length), length)
    name = configuration(best.scheduler, best.peak_lr)
    rows[f"{name}, had it been known"] = parametric_table(best.scheduler, best.peak_lr, *new)
    return rows


def _stretched(plan: np.ndarray, length: Length) -> np.ndarray:
    return stretched(plan, length.points, length.at, length.new_points)


def _unchanged(plan: np.ndarray, length: Length) -> np.ndarray:
    """Cut short, or its last rate held."""
    ahead = max(length.new_points - length.points, 0)
    return np.pad(plan, (0, ahead), mode="edge")[: length.new_points + 1]


def _opening(settings: Settings, workspace: Workspace, length: Length) -> np.ndarray:
    folder = workspace.lode(settings.task)
    lode, judge = LODE.load(folder), Judge.load(folder)
    opening = judge.config.opening or lode.config.opening.linear
    return opening.plan(length.updates, length.points, lode.config.channels.lowest_lr)


def _plan_job(made: Job, plan: np.ndarray, seed: int) -> Job:
    job, table = under(made, "plan", None, seed), tuple(map(float, plan))
    spec = replace(job.spec, scheduler_digest=plan_digest(table))
    return replace(job, spec=spec, plan=table)


def _lode_job(
    made: Job, settings: Settings, workspace: Workspace, length: Length, seed: int
) -> Job:
    job = lode_job(made, settings, workspace, seed)
    digest = text_digest(job.spec.scheduler_digest, asdict(length), RECIPE)[:16]
    return replace(job, spec=replace(job.spec, scheduler_digest=digest))


class Replanning(LODEScheduler):
    """A LODE whose budget changes when a log point was observed."""

    def __init__(self, *lode: Any, change: tuple[int, int], **settings: Any) -> None:
        super().__init__(*lode, **settings)
        self._change = change

    def observe(
        self, point: int, train_loss: float, val_metric: float, lr: float, *, decide: bool = True
    ) -> None:
        super().observe(point, train_loss, val_metric, lr, decide=decide)
        at, steps = self._change
        if point == at:
            self.set_total_steps(steps)


def replanned(job: Job, length: Length) -> None:
    """Do a run under a LODE whose budget changes; what it chose then is in the metadata."""
    assert job.lode is not None
    scheduler = Replanning(
        LODE.load(job.lode),
        judge=Judge.load(job.lode),
        updates=length.updates,
        points=length.points,
        seed=job.spec.seed,
        change=(length.at, length.new_updates),
        **job.controller,
    )
    history, _ = run(job, scheduler=scheduler)
    history.meta["budgets"] = [asdict(change) for change in scheduler.budgets]
    write_history(history, job.histories)


def table_of(found: Sequence[dict[str, list[History]]]) -> Table:
    """A row per schedule; of every new budget its test metric, and the difference to WSD's."""
    metric = Metric.of(found[0][REPLANNED])
    columns = ["at 40 %, the new budget is"]
    for share in SHARES:
        columns += [f"{share:.0%}{metric.column}", f"{share:.0%} minus WSD's{metric.points}"]
    return Table.of(columns, (_row(row, found, metric) for row in found[0]))


def _row(row: str, found: Sequence[dict[str, list[History]]], metric: Metric) -> Iterator[str]:
    yield row
    for rows in found:
        wsd = next(_tests(runs) for name, runs in rows.items() if name.endswith(MOVED))
        own = _tests(rows[row])
        yield metric.spread(summarize(own.values()))
        yield "" if row.endswith(MOVED) else text(paired_difference(own, wsd), metric)


def _tests(runs: Sequence[History]) -> dict[int, float | None]:
    return {int(run.meta["seed"]): run.meta["test_metric"] for run in runs}


def choices(runs: Sequence[History]) -> str:
    """What was chosen at the change, and how often a decision left that later."""
    chosen = Counter(run.meta["budgets"][0]["chosen"] for run in runs)
    later = [
        decision
        for run in runs
        for decision in run.meta["decisions"][run.meta["budgets"][0]["decisions"] :]
    ]
    left = sum(decision["kept"] is None for decision in later)
    said = ", ".join(f"{name} {count}" for name, count in chosen.most_common())
    return f"the LODE chose {said}; {left} of {len(later)} later decisions left that"


if __name__ == "__main__":
    main()
