"""The comparison on fresh seeds: what is tuned for it, what each row of it is, which runs it takes.

Baselines are tuned on the sweep's own peaks and seeds, at the sweep's price. Their runs teach the
LODE nothing: they are not of the sweep, whose histories are all that a user has to pay for.

The finer search is the honest opponent: what else the pilots' runs would buy. It sweeps the sweep's
two best schedulers at finer peaks, and takes the best configuration of both sweeps.

The Multi-Power Law costs the sweep alone. Where it does not fit, its row is left out and said why:
that is a finding about the law, which a comparison of the others need not wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.evaluation.ranking import best_configuration, best_configurations, ranked_peaks
from components.runs.job import Job
from components.runs.law import LawFound, law_job, read_law
from components.runs.plan import job_of, template, under
from components.runs.sweep_histories import sweep_histories
from components.runs.tasks import is_command
from components.schedulers.names import (
    FINER_SEARCH,
    LODE,
    MULTI_POWER_LAW,
    TUNED_BY_PEAK,
    WITHOUT_PEAK_LR,
)
from components.settings import FINER_FAMILIES, Settings
from components.storage.workspace import Workspace
from components.training.history import History, read_history

FAMILIES = FINER_FAMILIES  # as many as the pilots try at finer peaks
# Peaks lie within this factor of the family's best, about half of the gap of the default grid.
REACH = 2.5

Chosen = dict[str, tuple[str, float | None]]  # row of the comparison to scheduler and peak lr


def tuning_jobs(settings: Settings, workspace: Workspace) -> list[Job]:
    """What baselines are tuned by: peak lrs × sweep seeds each, and the finer search's runs."""
    jobs = _baseline_jobs(settings, workspace)
    if FINER_SEARCH in settings.baselines.schedulers:
        jobs += finer_jobs(settings, workspace, sweep_histories(settings.task, workspace))
    return jobs


def finer_jobs(settings: Settings, workspace: Workspace, sweep: Sequence[History]) -> list[Job]:
    """The finer search: about as many runs as there are pilots, in whole configurations."""
    seeds = settings.sweep.seeds
    made = template(settings, workspace, workspace.baselines(settings.task))
    return [
        under(made, scheduler, peak_lr, seed)
        for scheduler, peak_lr in finer_configurations(sweep, settings.finer_runs // len(seeds))
        for seed in seeds
    ]


def finer_configurations(sweep: Sequence[History], count: int) -> list[tuple[str, float]]:
    """(scheduler, peak lr) of at most `count` configurations: the best families at even factors
    within `REACH` of their best peak in the sweep, which is not among them."""
    families = ranked_peaks(sweep)[:FAMILIES]
    each = count // len(families)
    even = each + each % 2  # an odd number of factors would have 1 in its middle
    factors = np.geomspace(1 / REACH, REACH, even)[even - each :]
    return [(name, float(f"{best * f:.3g}")) for name, best in families for f in factors]


@dataclass(frozen=True)
class Comparison:
    """What is compared, and from what that follows.

    Attributes:
        sweep: its runs. tuned: those that tuned baselines, without the finer search's, which are
            `finer`. chosen: the configuration of every row, by validation alone.
        law: what the Multi-Power Law made of the sweep; None: it was not asked.
        jobs: every row's configuration on the fresh seeds, each run once.
    """

    sweep: list[History]
    tuned: list[History]
    finer: list[History]
    chosen: Chosen
    law: LawFound | None
    jobs: list[Job]


def comparison(settings: Settings, workspace: Workspace) -> Comparison:
    """The comparison that the settings ask for, of the runs that are there.

    Raises:
        WorkspaceError: no validated sweep, no LODE, or no word of a law that is asked for.
        HistoryError: a run of the sweep, or one that tunes a baseline, is missing or damaged.
    """
    asked = settings.baselines.schedulers
    sweep = sweep_histories(settings.task, workspace)
    tuned = [read_history(job.path) for job in _baseline_jobs(settings, workspace)]
    searched = finer_jobs(settings, workspace, sweep) if FINER_SEARCH in asked else []
    finer = [read_history(job.path) for job in searched]
    law = read_law(settings.task, workspace) if MULTI_POWER_LAW in asked else None
    chosen = _chosen(asked, sweep, tuned, finer)
    if law and law.refused:
        del chosen[MULTI_POWER_LAW]
    made = evaluation_template(settings, workspace)

    def job(scheduler: str, peak_lr: float | None, seed: int) -> Job:
        if scheduler == MULTI_POWER_LAW and law:  # read once, not for every seed
            return law_job(made, law, seed)
        return job_of(made, settings, workspace, scheduler, peak_lr, seed)

    seeds = settings.evaluation.seeds
    jobs = [job(*configuration, seed) for configuration in chosen.values() for seed in seeds]
    once = list({job.spec.run_id: job for job in jobs}.values())
    return Comparison(sweep, tuned, finer, chosen, law, once)


def _chosen(
    asked: Sequence[str],
    sweep: Sequence[History],
    tuned: Sequence[History],
    finer: Sequence[History],
) -> Chosen:
    best = best_configurations([*sweep, *tuned])
    rows: Chosen = {name: (name, peak) for name, peak in best.items()}
    rows |= {name: (name, None) for name in asked if name in WITHOUT_PEAK_LR}
    if FINER_SEARCH in asked:
        found = best_configuration([*sweep, *finer])
        rows[FINER_SEARCH] = found.scheduler, found.peak_lr
    return {**rows, LODE: (LODE, None)}


def evaluation_template(settings: Settings, workspace: Workspace) -> Job:
    """A job of the comparison without a scheduler: λ_max is measured at its end and, where asked
    for, on the way."""
    evaluation = settings.evaluation
    made = template(settings, workspace, workspace.scheduled(settings.task))
    if evaluation.sharpness == "none" or is_command(made):  # which keeps its network to itself
        return made
    measured = {"method": evaluation.sharpness, "samples": evaluation.sharpness_samples}
    method = f"{evaluation.sharpness} {evaluation.sharpness_samples}"
    if every := evaluation.sharpness_every:
        measured, method = measured | {"every": every}, f"{method} every {every}"
    return replace(made, spec=replace(made.spec, sharpness_method=method), sharpness=measured)


def _baseline_jobs(settings: Settings, workspace: Workspace) -> list[Job]:
    """Every baseline × peak lr × sweep seed; none for a baseline without a peak lr."""
    made = template(settings, workspace, workspace.baselines(settings.task))
    return [
        job_of(made, settings, workspace, scheduler, peak_lr, seed)
        for scheduler in settings.baselines.schedulers
        if scheduler in TUNED_BY_PEAK
        for peak_lr in settings.sweep.peak_lrs
        for seed in settings.sweep.seeds
    ]
