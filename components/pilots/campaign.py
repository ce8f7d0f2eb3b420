"""Pilots: close the loop between what the LODE believes of schedules and what they do.

A judge fitted on a sweep of four shapes errs on every other, and a search for the best schedule
finds its errors first. So before the LODE is fitted for good, some runs (`pilots.runs`) try
schedules that the sweep never saw:

1. explore: the sweep's two best schedulers at peaks between those of its grid, and random shapes
   around its best peak, one run each;
2. propose: fit LODE and judge on all runs so far, run what they propose, one run each;
3. trial: of all that was tried the two that a judge fitted on it likes best, one of the sweep's
   own schedulers among them where that may be better than the sweep's best (a finer grid is what a
   plain search would buy for the same runs, and the LODE is to be no worse than that), are run on
   the sweep's other seeds, where the sweep's best configuration has run before; the better of them
   on fresh seeds beside it, while that is undecided.

The plan is the better finalist, or, unless it is believed to be better, the sweep's best schedule.
All runs are kept as histories to learn from. Killed, it goes on where it was: runs are named by
what determines them, and a round's plans are written before any is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.ranking import ranked_peaks
from components.evaluation.results import BaselinePlan, Finalist, Gain, PilotResult
from components.evaluation.walltime import total_seconds
from components.pilots.budget import Budget
from components.pilots.proposals import Proposer
from components.pilots.trial import paired_gain, verdict
from components.runs.fits import Recipe
from components.runs.job import Job, RunAll
from components.runs.plan import note, under
from components.runs.pool import run_all
from components.schedulers.plan import parametric_table, plan_digest
from components.storage.typed import DamagedError, read_sealed, write_sealed
from components.training.history import History, digest

AT_ONCE = 2  # fresh pairs between two looks: their four runs keep two workers busy


@dataclass(frozen=True)
class Pilots:
    """What the pilots need.

    Attributes:
        sweep: accepted histories. template: a job of the sweep's settings, whose `histories` is
            the folder the pilots go to. scratch: folder for LODEs on the way.
        seeds: the sweep's, which pilots take in turn; fresh: seeds of the trial's further pairs,
            `budget.pairs` of them. run_all: who trains.
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
    plans = record.plans("propose", lambda: proposer.propose(histories))
    tried, histories = np.concatenate([tried, plans]), histories + _try(pilots, plans, len(tried))
    finalists = record.plans("finalists", lambda: proposer.finalists(histories, tried))
    own = [int(np.flatnonzero((tried == plan).all(1))[0]) for plan in finalists]
    trial = _Trial(pilots, scheduler, peak_lr)
    best = trial.run(finalists, own)
    adopted = bool(trial.verdict)
    spec = pilots.template.spec
    table = parametric_table(scheduler, peak_lr, spec.updates, spec.points)
    everything = list({run.run_id: run for run in [*histories, *trial.runs]}.values())
    return PilotResult(
        runs=len(everything),
        diverged=sum(not run.completed for run in everything),
        seconds=total_seconds(everything),
        run_ids=sorted(run.run_id for run in everything),
        budget=asdict(pilots.budget),
        peaks=list(proposer.peaks),
        baseline=BaselinePlan(scheduler, peak_lr, table.tolist()),
        finalists=[
            Finalist(plan.tolist(), gain.mean)
            for plan, gain in zip(finalists, trial.gains, strict=True)
        ],
        finalist=best.tolist(),
        gain=trial.gain,
        adopted=adopted,
        plan=best.tolist() if adopted else [],
    )


class _Trial:
    """The finalists beside the sweep's best configuration.

    Attributes:
        runs: all that were done for it. gains: of each finalist on the sweep's seeds.
        gain, verdict: of the best one, at the end.
    """

    def __init__(self, pilots: Pilots, scheduler: str, peak_lr: float) -> None:
        self.pilots, self.baseline = pilots, (scheduler, peak_lr)
        self.swept = [run for run in pilots.sweep if run.configuration == self.baseline]
        self.runs: list[History] = []
        self.gains: list[Gain] = []

    def run(self, finalists: np.ndarray, own: Sequence[int]) -> np.ndarray:
        """The best of the finalists; `own` says which runs of the pilots they were, and so on which
        of the sweep's seeds each has run before."""
        seeds, paired = self.pilots.seeds, self.pilots.budget.paired
        groups = [
            [_job(self.pilots, plan, seeds[(i + k) % len(seeds)]) for k in range(paired)]
            for plan, i in zip(finalists, own, strict=True)
        ]
        found = self._train(groups)
        self.gains = [paired_gain(runs, self.swept) for runs in found]
        best = int(np.argmax([-np.inf if g.mean is None else g.mean for g in self.gains]))
        self._confirm(finalists[best], found[best])
        return np.asarray(finalists[best])

    def _confirm(self, plan: np.ndarray, ours: list[History]) -> None:
        """Fresh pairs, two at a time, until there is a verdict."""
        left, theirs = list(self.pilots.fresh[: self.pilots.budget.pairs]), self.swept
        while True:
            self.gain = paired_gain(ours, theirs)
            self.verdict = verdict(self.gain, len(left))
            if self.verdict is not None:
                return
            now, left = left[:AT_ONCE], left[AT_ONCE:]
            template, jobs = self.pilots.template, [_job(self.pilots, plan, seed) for seed in now]
            more, baseline = self._train(
                [jobs, [under(template, *self.baseline, seed) for seed in now]]
            )
            ours, theirs = ours + more, theirs + baseline

    def _train(self, groups: list[list[Job]]) -> list[list[History]]:
        """The histories of each group, all groups' runs being done side by side."""
        done = _try_all(self.pilots, [job for jobs in groups for job in jobs])
        self.runs += done
        left = iter(done)
        return [[next(left) for _ in jobs] for jobs in groups]


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


def _try(pilots: Pilots, plans: np.ndarray, before: int = 0) -> list[History]:
    """One run of each plan, over the sweep's seeds in turn; so many were tried before."""
    seeds = [pilots.seeds[(before + i) % len(pilots.seeds)] for i in range(len(plans))]
    return _try_all(pilots, [_job(pilots, *one) for one in zip(plans, seeds, strict=True)])


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
