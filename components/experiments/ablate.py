"""Run ablations: the LODE of every variant, its runs on fresh seeds, and what is written of them.

Everything lies on disk as soon as it is done, and under a name that says all that determines it.
So variants share what they have in common, and an ablation that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.evaluation.notation import configuration
from components.evaluation.ranking import Configuration, best_configuration
from components.experiments.ablation_figures import draw
from components.experiments.ablation_page import write_page
from components.experiments.ablation_results import AblationResult, result, write_result
from components.experiments.ablations import Ablation, Variant
from components.experiments.command import ExperimentError
from components.lode.settings import DEFAULT
from components.runs.job import Job, RunAll
from components.runs.plan import template, under
from components.runs.scheduled import scheduled_job
from components.runs.sweep_histories import sweep_histories
from components.settings import Settings
from components.steps.pipeline import STEPS
from components.steps.training import train_all
from components.steps.trials import opened
from components.storage.lock import only_one
from components.storage.workspace import Workspace
from components.training.history import History, read_history

LEARN = ("sweep", "validate", "pilot", "fit")  # the steps that make a LODE
FOLDER = "ablations"  # below the task's reports


@dataclass(frozen=True)
class Base:
    """The settings that variants change, and where they and what they make lie."""

    params: Path
    overrides: dict[str, Any]
    settings: Settings
    workspace: Workspace

    @classmethod
    def of(cls, params: Path, overrides: dict[str, Any]) -> Base:
        """
        Raises:
            SettingsError: they are none. ExperimentError: nothing can be trained under them.
        """
        settings, workspace = opened(params, overrides)
        if settings.own is not None and settings.own.imported:
            raise ExperimentError(
                f"{settings.task} has histories only, so nothing can be trained; an ablation is of "
                "tasks of the catalog, of Python objects and of commands"
            )
        return cls(params, overrides, settings, workspace)

    @property
    def folder(self) -> Path:
        return self.workspace.reports(self.settings.task) / FOLDER


@dataclass(frozen=True)
class Learned:
    """What a variant's LODE was fitted in: its folder, and the best of its sweep's runs."""

    lode: Path
    best: Configuration
    swept: int


def ablate(
    base: Base,
    asked: Sequence[Ablation],
    seeds: Sequence[int],
    *,
    run_all: RunAll | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[AblationResult]:
    """Run ablations, each as the next is asked for, and write `reports/<task>/ablations/`.

    Args:
        seeds: fresh ones, on which every variant is trained.
        run_all: who trains; None: processes of this machine.
        say: is told what is being done, a line each.
    """
    known: dict[str, Learned] = {}
    with only_one(base.workspace):
        for one in asked:
            say(f"{one.key}: {one.title}, {len(one.variants)} variants × {len(seeds)} seeds")
            for variant in one.variants:
                if variant.learns not in known:
                    known[variant.learns] = _learned(base, variant, run_all, say)
            yield _compared(base, one, known, seeds, run_all)


def _compared(
    base: Base,
    ablation: Ablation,
    known: Mapping[str, Learned],
    seeds: Sequence[int],
    run_all: RunAll | None,
) -> AblationResult:
    """Train what is not there, and write what it came to."""
    learned = known[ablation.variants[0].learns]
    best = learned.best
    jobs = {
        variant.name: _jobs(base, variant, known[variant.learns].lode, seeds)
        for variant in ablation.variants
    }
    reference = [under(_template(base), best.scheduler, best.peak_lr, seed) for seed in seeds]
    every = _once([*jobs.values(), reference])
    train_all(ablation.key, every, base.settings, base.workspace, run_all)
    runs = {name: _histories(own) for name, own in jobs.items()}
    named = configuration(best.scheduler, best.peak_lr), _histories(reference)
    found = result(ablation, runs, named, learned.swept)
    draw(found, runs, named[1], base.folder)
    write_result(found, runs, base.folder)
    write_page(base.folder)
    return found


def _learned(
    base: Base, variant: Variant, run_all: RunAll | None, say: Callable[[str], None]
) -> Learned:
    """Have the steps make what is not there: in the workspace itself where nothing that is learned
    from is other, else in a trial of its own, with which it shares finished runs."""
    changes = base.overrides | dict(variant.learned) | {"lode.controller": DEFAULT}
    if not variant.pilots:
        changes |= {"pilots.runs": 0, "baselines.schedulers": []}
    settings, workspace = opened(base.params, changes)
    with only_one(workspace):
        for name in LEARN:
            done = STEPS[name](settings, workspace, run_all)
        if done.ran:
            say(f"  fitted on {done.summary} ({done.timing}), in {workspace.root}")
    sweep = sweep_histories(settings.task, workspace)
    return Learned(workspace.lode(settings.task), best_configuration(sweep), len(sweep))


def _template(base: Base) -> Job:
    settings, workspace = base.settings, base.workspace
    return template(settings, workspace, workspace.scheduled(settings.task))


def _jobs(base: Base, variant: Variant, lode: Path, seeds: Sequence[int]) -> list[Job]:
    first = scheduled_job(_template(base), lode, variant.controller, seeds[0])
    return [replace(first, spec=replace(first.spec, seed=seed)) for seed in seeds]


def _once(jobs: Iterable[Sequence[Job]]) -> list[Job]:
    return list({job.spec.run_id: job for own in jobs for job in own}.values())


def _histories(jobs: Sequence[Job]) -> list[History]:
    return [read_history(job.path) for job in jobs]
