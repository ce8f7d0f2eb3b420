"""Pilots: close the loop between what the LODE believes of schedules and what they do.

A judge fitted on a sweep of four shapes errs on every other, and a search for the best schedule
finds its errors first. So before the LODE is fitted for good, as many runs as the sweep had try
schedules it never saw:

1. explore: the sweep's two best schedulers at peaks between those of its grid, and random shapes
   around its best peak, one run each;
2. propose, twice: fit LODE and judge on all runs so far, run what they propose, one run each;
3. screen: of all that was tried what a judge fitted on it likes best, on a few fresh seeds each,
   one of the sweep's own schedulers among them: a finer grid is what a plain search would buy for
   the same runs, and the LODE is to be no worse than that;
4. confirm: the best of them and the sweep's best configuration, side by side on more fresh seeds.

The plan is the confirmed finalist, or, unless that was better by more than a standard error, the
sweep's best schedule. All runs are kept as histories to learn from. Killed, it goes on
where it was: runs are named by what determines them, and a round's plans are written before any is
run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.ranking import ranked_peaks, worst_validation, worth
from components.evaluation.results import BaselinePlan, Finalist, Gain, PilotResult
from components.evaluation.statistics import summarize
from components.evaluation.walltime import total_seconds
from components.pilots.budget import Budget
from components.pilots.proposals import Proposer
from components.runs.fits import Recipe
from components.runs.job import Job, RunAll
from components.runs.plan import note, under
from components.runs.pool import run_all
from components.schedulers.plan import parametric_table, plan_digest
from components.storage.typed import DamagedError, read_sealed, write_sealed
from components.training.history import History, digest

# Standard errors of a gain that make it believed. With none of them an expected loss would count
# like a gain; with one it counts 13 times as much, with two 236 times, and most true gains of the
# usual size are refused (docs/research/scheduler.md, entry 12).
STANDARD_ERRORS = 1.0


@dataclass(frozen=True)
class Pilots:
    """What the pilots need.

    Attributes:
        sweep: accepted histories. template: a job of the sweep's settings, whose `histories` is
            the folder the pilots go to. scratch: folder for LODEs on the way.
        seeds: the sweep's, which pilots take in turn; fresh: seeds of screening and confirmation,
            `budget.screen + budget.confirm` of them. run_all: who trains.
    """

    sweep: Sequence[History]
    template: Job
    recipe: Recipe
    budget: Budget
    seeds: Sequence[int]
    fresh: Sequence[int]
    scratch: Path
    workers: int | None = None
    run_all: RunAll = run_all
    on_run: Callable[[str], None] = lambda note: None
    on_fit: Callable[[str], None] = lambda note: None

    @property
    def proposer(self) -> Proposer:
        spec = self.template.spec
        return Proposer(
            self.sweep,
            self.recipe,
            self.budget,
            spec.updates,
            spec.points,
            self.scratch,
            self.on_fit,
        )


def run_pilots(pilots: Pilots) -> PilotResult:
    """Do what is not done yet."""
    scheduler, peak_lr = ranked_peaks(pilots.sweep)[0]
    record, proposer = _Record(pilots), pilots.proposer
    tried = record.plans("explore", proposer.explore)
    histories = _try(pilots, tried)
    for number in (1, 2):
        plans = record.plans(f"propose {number}", partial(proposer.propose, histories, number))
        tried, histories = np.concatenate([tried, plans]), histories + _try(pilots, plans)
    finalists = record.plans("finalists", lambda: proposer.finalists(histories, tried))
    screening, confirming = np.split(np.array(pilots.fresh), [pilots.budget.screen])
    screened = _try_each(pilots, [_on_seeds(pilots, plan, screening) for plan in finalists])
    merits = _merits(pilots.sweep, screened)
    best = finalists[int(np.argmax([-np.inf if m is None else m for m in merits]))]
    theirs = [under(pilots.template, scheduler, peak_lr, int(seed)) for seed in confirming]
    confirmed, baseline = _try_each(pilots, [_on_seeds(pilots, best, confirming), theirs])
    gain = paired_gain(confirmed, baseline)
    adopted = believed(gain)
    spec = pilots.template.spec
    table = parametric_table(scheduler, peak_lr, spec.updates, spec.points)
    everything = [*histories, *(run for runs in screened for run in runs), *confirmed, *baseline]
    everything = list({run.run_id: run for run in everything}.values())  # finalists may be equal
    return PilotResult(
        runs=len(everything),
        diverged=sum(not run.completed for run in everything),
        seconds=total_seconds(everything),
        run_ids=sorted(run.run_id for run in everything),
        budget=asdict(pilots.budget),
        peaks=list(proposer.peaks),
        baseline=BaselinePlan(scheduler, peak_lr, table.tolist()),
        finalists=[
            Finalist(plan.tolist(), merit) for plan, merit in zip(finalists, merits, strict=True)
        ],
        finalist=best.tolist(),
        gain=gain,
        adopted=adopted,
        plan=best.tolist() if adopted else [],
    )


def paired_gain(runs: Sequence[History], baseline: Sequence[History]) -> Gain:
    """Mean over the seeds of `runs`' best validation metric less `baseline`'s, and its standard
    error. None where a run of ours diverged; seeds on which only the baseline did are left out."""
    theirs = {h.meta["seed"]: h.meta["best_val_metric"] for h in baseline if h.completed}
    if not all(run.completed for run in runs):
        return Gain()
    found = summarize(
        run.meta["best_val_metric"] - theirs[run.meta["seed"]]
        for run in runs
        if run.meta["seed"] in theirs
    )
    if found.mean is None or found.std is None:
        return Gain(n=found.n)
    return Gain(found.mean, found.std / math.sqrt(found.n), found.n)


def believed(gain: Gain) -> bool:
    """Whether a plan with this gain is followed."""
    if gain.mean is None or gain.error is None:
        return False
    return gain.mean > STANDARD_ERRORS * gain.error


def _merits(sweep: Sequence[History], screened: list[list[History]]) -> list[float | None]:
    """What each finalist is worth by its runs, as a configuration of the sweep would be."""
    worst = worst_validation([*sweep, *(run for runs in screened for run in runs)])
    return [worth(runs, worst).mean for runs in screened]


class _Record:
    """The plans of each round, on disk before the first of them is run."""

    def __init__(self, pilots: Pilots) -> None:
        self.path = pilots.scratch / "plans.json"
        facts = [
            digest(pilots.sweep),
            asdict(pilots.budget),
            asdict(pilots.recipe),
            list(pilots.seeds),
            list(pilots.fresh),
        ]
        self.key = json.dumps(facts, sort_keys=True)
        try:
            found = read_sealed(self.path)
        except (FileNotFoundError, DamagedError):  # then the same plans are proposed again
            found = {}
        self.rounds: dict[str, Any] = found["rounds"] if found.get("key") == self.key else {}

    def plans(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self.rounds:
            self.rounds[name] = np.asarray(make(), dtype=np.float64).tolist()
            write_sealed(self.path, {"key": self.key, "rounds": self.rounds})
        return np.array(self.rounds[name])


def _try(pilots: Pilots, plans: np.ndarray) -> list[History]:
    """One run of each plan, over the sweep's seeds in turn."""
    seeds = [pilots.seeds[i % len(pilots.seeds)] for i in range(len(plans))]
    return _try_all(pilots, [_job(pilots, *one) for one in zip(plans, seeds, strict=True)])


def _on_seeds(pilots: Pilots, plan: np.ndarray, seeds: np.ndarray) -> list[Job]:
    return [_job(pilots, plan, int(seed)) for seed in seeds]


def _try_each(pilots: Pilots, groups: list[list[Job]]) -> list[list[History]]:
    """The histories of each group, all groups' runs being done side by side."""
    done = iter(_try_all(pilots, [job for jobs in groups for job in jobs]))
    return [[next(done) for _ in jobs] for jobs in groups]


def _try_all(pilots: Pilots, jobs: list[Job]) -> list[History]:
    return pilots.run_all(
        jobs,
        workers=pilots.workers,
        on_history=lambda job, history: pilots.on_run(note(history)),
    )


def _job(pilots: Pilots, plan: np.ndarray, seed: int) -> Job:
    table = tuple(float(lr) for lr in plan)
    spec = replace(
        pilots.template.spec,
        scheduler="plan",
        peak_lr=None,
        seed=seed,
        scheduler_digest=plan_digest(table),
    )
    return replace(pilots.template, spec=spec, plan=table)
