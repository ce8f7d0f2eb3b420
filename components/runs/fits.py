"""Fit LODE and judge, which do not need each other, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.lode.fit import fit
from components.lode.judge import Judge
from components.lode.judge_fit import Runs, fit_judge
from components.lode.model import LODE
from components.lode.opening import Opening
from components.lode.settings import Architecture, FitSettings, JudgeSettings, window_points
from components.runs.progress import Advance
from components.runs.side_by_side import side_by_side
from components.settings import Settings
from components.training.history import History


@dataclass(frozen=True)
class Recipe:
    """How LODE and judge are fitted; `mu` is a share of a run."""

    mu: float
    fit: FitSettings
    judge: JudgeSettings
    architecture: Architecture

    @classmethod
    def of(cls, settings: Settings) -> Recipe:
        lode = settings.lode
        return cls(lode.scheduler.mu, lode.fit, lode.judge, lode.architecture)

    @property
    def updates(self) -> int:
        """Of both."""
        return self.fit.updates + self.judge.updates


def fit_both(
    sweep: Sequence[History],
    others: Sequence[History],
    recipe: Recipe,
    *,
    folder: Path,
    checkpoint: Path | None = None,
    opening: Opening = Opening(),
    advance: Advance = lambda units, note: None,
) -> tuple[LODE, Judge]:
    """The same to the bit as one after the other; the LODE is saved in `folder`, the judge not yet.

    Args:
        sweep, others: what is learned from (see `lode.fit.fit`). checkpoint: folder from which a
            killed fit of the LODE goes on. opening: kept in the judge.
    """
    lode = partial(fit_lode, sweep, others, recipe, folder=folder, checkpoint=checkpoint or folder)
    judge = partial(_fit_judge, Runs.of([*sweep, *others]), recipe.judge, opening)
    return side_by_side(lode, judge, advance)


def fit_lode(
    sweep: Sequence[History],
    others: Sequence[History],
    recipe: Recipe,
    advance: Advance,
    *,
    folder: Path,
    checkpoint: Path,
) -> LODE:
    """The LODE alone, as `fit_both` fits it."""
    shown = 0

    def show(done: int, error: float) -> None:
        nonlocal shown
        advance(done - shown, f"held-out error {error:.3f}")
        shown = done

    return fit(
        sweep,
        pilots=others,
        folder=folder,
        checkpoint=checkpoint,
        settings=recipe.fit,
        architecture=recipe.architecture,
        mu=window_points(recipe.mu, int(sweep[0].meta["points"])),
        progress=show,
    ).lode


def _fit_judge(runs: Runs, settings: JudgeSettings, opening: Opening, advance: Advance) -> Judge:
    return fit_judge(runs, settings, opening=opening, progress=lambda done: advance(done, "judge"))
