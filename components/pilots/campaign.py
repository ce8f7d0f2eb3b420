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
from components.evaluation.statistics import summarize
from components.evaluation.walltime import total_seconds
from components.lode.fit import FitConfig, fit
from components.lode.judge_fit import JudgeFitConfig, Runs, fit_judge
from components.lode.planner import propose_plans, random_shapes
from components.runs.job import Job
from components.runs.pool import RunAll, run_all
from components.schedulers.plan import parametric_table, plan_digest
from components.storage.files import write_text
from components.training.history import History, digest

# Shares of the runs; there are two rounds of proposals, and what is left is the confirmation's.
FINER, EXPLORE, PROPOSE, SCREEN = 0.08, 0.12, 0.125, 0.05
SCHEDULERS = 2  # of the sweep's best, that are tried at finer peaks
FINALISTS = 3
# What finalists are chosen by has so many times the judge's members: two fits' choices differ more
# than the plans do.
MANY = 3
# Standard errors of a gain that make it believed. With none of them an expected loss would count
# like a gain; with one it counts 13 times as much, with two 236 times, and most true gains of the
# usual size are refused (docs/research/scheduler.md, entry 12).
CAUTION = 1.0
REACH = 2.5  # explored peaks lie within this factor of the sweep's best, about half of a grid's gap


@dataclass(frozen=True)
class Budget:
    """How many runs: `finer` peaks of the sweep's schedulers, random shapes to `explore`, `propose`
    (in each of two rounds), and seeds of the two trials: `screen` for every finalist, `confirm`
    for the best one and for the baseline."""

    finer: int
    explore: int
    propose: int
    screen: int
    confirm: int

    @classmethod
    def of(cls, runs: int) -> Budget:
        """Share out so many runs, at least 20."""
        even = 2 * SCHEDULERS  # below and above each scheduler's best peak as many
        finer = even * max(1, int(FINER * runs / even))
        explore, propose = int(EXPLORE * runs), int(PROPOSE * runs)
        screen = max(1, int(SCREEN * runs))
        left = runs - finer - explore - 2 * propose - FINALISTS * screen
        return cls(finer, explore + left % 2, propose, screen, left // 2)

    @property
    def total(self) -> int:
        tried = self.finer + self.explore + 2 * self.propose
        return tried + FINALISTS * self.screen + 2 * self.confirm


@dataclass(frozen=True)
class Recipe:
    """How LODE and judge are fitted on the way; `lode` are keyword arguments of `fit`."""

    mu: int
    fit: FitConfig
    judge: JudgeFitConfig
    lode: dict[str, Any]


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
    def points(self) -> int:
        return self.template.spec.points


def run_pilots(pilots: Pilots) -> dict[str, Any]:
    """Do what is not done yet; returns what `pilots.json` holds."""
    scheduler, peak_lr = ranked_peaks(pilots.sweep)[0]
    record = _Record(pilots)
    peaks = (peak_lr / REACH, peak_lr * REACH)
    tried = record.plans("explore", lambda: _explore(pilots, peaks))
    histories = _try(pilots, tried)
    for number in (1, 2):
        make = partial(_propose, pilots, histories, number)
        plans = record.plans(f"propose {number}", make)
        tried, histories = np.concatenate([tried, plans]), histories + _try(pilots, plans)
    finalists = record.plans("finalists", lambda: _finalists(pilots, histories, tried))
    screening, confirming = np.split(np.array(pilots.fresh), [pilots.budget.screen])
    screened = _try_each(pilots, [_on_seeds(pilots, plan, screening) for plan in finalists])
    worst = worst_validation([*pilots.sweep, *(run for runs in screened for run in runs)])
    merits = [worth(runs, worst).mean for runs in screened]
    best = finalists[int(np.argmax([-np.inf if m is None else m for m in merits]))]
    theirs = [_baseline_job(pilots, scheduler, peak_lr, int(seed)) for seed in confirming]
    confirmed, baseline = _try_each(pilots, [_on_seeds(pilots, best, confirming), theirs])
    gain = paired_gain(confirmed, baseline)
    adopted = gain["mean"] is not None and gain["mean"] > CAUTION * gain["error"]
    table = parametric_table(scheduler, peak_lr, pilots.template.spec.updates, pilots.points)
    everything = [*histories, *(run for runs in screened for run in runs), *confirmed, *baseline]
    everything = list({run.run_id: run for run in everything}.values())  # finalists may be equal
    return {
        "runs": len(everything),
        "diverged": sum(not run.completed for run in everything),
        "seconds": total_seconds(everything),
        "run_ids": sorted({run.run_id for run in everything}),
        "budget": asdict(pilots.budget),
        "peaks": list(peaks),
        "baseline": {"scheduler": scheduler, "peak_lr": peak_lr, "plan": table.tolist()},
        "finalists": [
            {"plan": plan.tolist(), "screened": merit}
            for plan, merit in zip(finalists, merits, strict=True)
        ],
        "finalist": best.tolist(),
        "gain": gain,
        "adopted": adopted,
        "plan": best.tolist() if adopted else [],
    }


def paired_gain(runs: Sequence[History], baseline: Sequence[History]) -> dict[str, Any]:
    """Mean over the seeds of `runs`' best validation metric less `baseline`'s, and its standard
    error. None where a run of ours diverged; seeds on which only the baseline did are left out."""
    theirs = {h.meta["seed"]: h.meta["best_val_metric"] for h in baseline if h.completed}
    if not all(run.completed for run in runs):
        return {"mean": None, "error": None, "n": 0}
    found = summarize(
        run.meta["best_val_metric"] - theirs[run.meta["seed"]]
        for run in runs
        if run.meta["seed"] in theirs
    )
    if found.mean is None or found.std is None:
        return {"mean": None, "error": None, "n": found.n}
    return {"mean": found.mean, "error": found.std / math.sqrt(found.n), "n": found.n}


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
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            found = {}
        self.rounds: dict[str, Any] = found["rounds"] if found.get("key") == self.key else {}

    def plans(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self.rounds:
            self.rounds[name] = np.asarray(make(), dtype=np.float64).tolist()
            write_text(self.path, json.dumps({"key": self.key, "rounds": self.rounds}))
        return np.array(self.rounds[name])


def finer_peaks(best: float, count: int) -> list[float]:
    """`count` peaks, even, within `REACH` of the best of a grid: half of them below, half above."""
    exponents = (2 * np.arange(count) + 1) / count - 1
    return [float(f"{best * REACH**e:.3g}") for e in exponents]


def _finer(pilots: Pilots) -> np.ndarray:
    """The sweep's best schedulers at peaks between those of its grid."""
    best = ranked_peaks(pilots.sweep)[:SCHEDULERS]
    updates, count = pilots.template.spec.updates, pilots.budget.finer // len(best)
    return np.array(
        [
            parametric_table(name, peak, updates, pilots.points)
            for name, best_peak in best
            for peak in finer_peaks(best_peak, count)
        ]
    )


def _explore(pilots: Pilots, peaks: tuple[float, float]) -> np.ndarray:
    shapes = random_shapes(pilots.budget.explore, pilots.points, peaks, np.random.default_rng(0))
    return np.concatenate([_finer(pilots), shapes])


def _propose(pilots: Pilots, histories: Sequence[History], number: int) -> np.ndarray:
    """What LODE and judge, fitted on the sweep and the pilots so far, propose."""
    recipe = pilots.recipe
    pilots.on_fit(f"fitting for proposals {number}")
    # The LODE only generates here; half of its training is enough for that.
    settings = replace(recipe.fit, updates=max(1, recipe.fit.updates // 2))
    lode = fit(
        pilots.sweep,
        pilots=histories,
        folder=pilots.scratch,
        mu=recipe.mu,
        settings=settings,
        **recipe.lode,
    ).lode
    done = _completed(pilots, histories)
    judge = fit_judge(Runs.of(done), recipe.judge)
    series = np.stack([run.series() for run in done])
    rng = np.random.default_rng(number)
    return propose_plans(lode, judge, series, pilots.budget.propose, rng)


def _finalists(pilots: Pilots, histories: Sequence[History], tried: np.ndarray) -> np.ndarray:
    """Of the plans `tried`, one per history, those that a judge who knows them all likes best, and
    first of all the one of the sweep's own schedulers, which come first in `tried`."""
    pilots.on_fit("fitting for finalists")
    settings = replace(pilots.recipe.judge, members=MANY * pilots.recipe.judge.members)
    judge = fit_judge(Runs.of(_completed(pilots, histories)), settings)
    judged = judge.final_metric(tried).mean(0)
    judged[[not run.completed for run in histories]] = -np.inf
    order = np.argsort(-judged, kind="stable")
    ours = int(np.argmax(judged[: pilots.budget.finer]))
    return tried[[ours, *order[order != ours]][:FINALISTS]]


def _completed(pilots: Pilots, histories: Sequence[History]) -> list[History]:
    return [run for run in [*pilots.sweep, *histories] if run.completed]


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
    def tell(job: Job, history: History) -> None:
        best = history.meta["best_val_metric"]
        pilots.on_run(f"{history.describe()}: {best:.4f}" if best is not None else "diverged")

    return pilots.run_all(jobs, workers=pilots.workers, on_history=tell)


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


def _baseline_job(pilots: Pilots, scheduler: str, peak_lr: float, seed: int) -> Job:
    spec = replace(pilots.template.spec, scheduler=scheduler, peak_lr=peak_lr, seed=seed)
    return replace(pilots.template, spec=spec)
