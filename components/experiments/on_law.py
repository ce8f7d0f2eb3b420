"""Ways of choosing a schedule that take a law as their mean and learn what it leaves.

The law (`peak_law`) is fitted on the loss of what was seen: where the metric is a loss, on that;
elsewhere on the training loss, the metric being linear in its logarithm. What it leaves of the
metric is learned by a Gaussian process over the schedules, or by the judge over time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from components.experiments.game import Game
from components.experiments.peak_law import PeakLaw, fit_peak_law
from components.experiments.strategies import (
    features,
    improvement,
    learned_runs,
    losses_of,
    metric_is_loss,
    runs_of,
    spread,
)
from components.lode.judge_fit import Runs, fit_judge
from components.lode.settings import JudgeSettings
from components.schedulers.multi_power_law import LawError
from components.schedulers.swept_law import nodes

FIRST = 4  # spread runs before the law is asked; with two or three its first choices are worse
EVERY = 3  # runs between two fits of the judge
# Relative error of the fitted runs' final losses above which there is no law: on the public runs it
# is .003, on the training losses of m500 from a dozen runs on .2 to .6.
FITS = 0.05
UPDATES = 300  # of the judge's fit: a residual is small, and less is to be learned of it
# Of the judge's residual that is believed. All of it was worse for the fitted's neighbours, and as
# far as its members foretold what they were not taught meant nothing of it (25,000 updates).
SHARE = 0.5
FAR = 3.0  # rms of the finals' residuals, at which those of a run's beginning are cut


@dataclass(frozen=True)
class Mean:
    """A law, and the metric as a linear function of its logarithm; `law` None: one number.

    Attributes:
        points: T of the runs. is_loss: the metric is the negative of what the law is of.
    """

    law: PeakLaw | None
    points: int
    is_loss: bool = False
    offset: float = 0.0
    slope: float = 0.0
    lowest: float = 0.0

    def metric(self, tables: np.ndarray) -> np.ndarray:
        """(P, T) of schedules (P, T + 1); held before the law's second node."""
        if self.law is None:
            return np.full((len(tables), self.points), self.offset)
        at_nodes = nodes(self.points)
        losses = self.law.losses(at_nodes, tables[:, at_nodes])
        if self.is_loss:
            values = -losses
        else:
            values = self.offset - self.slope * np.log(np.maximum(losses, self.lowest))
        at = np.arange(1, self.points + 1)
        return np.stack([np.interp(at, at_nodes[1:], own[1:]) for own in values])


def mean_of(game: Game) -> Mean:
    """Fitted on what was seen; a law that does not fit is not used."""
    good = learned_runs(game)
    values = np.array([one.value for one in good or game.seen])
    plain = Mean(None, game.points, offset=float(values.mean()))
    if not good:
        return plain
    at_nodes = nodes(game.points)
    losses = losses_of(game, good)
    tables = game.pool.tables[[one.plan for one in good]]
    try:
        law = fit_peak_law([(at_nodes, tables[:, at_nodes], losses[:, at_nodes])])
    except LawError:
        return plain
    if law.error > FITS:
        return plain
    if metric_is_loss(game):
        return Mean(law, game.points, is_loss=True)
    lowest = float(losses[:, -1].min()) / 2
    foretold = np.maximum(law.losses(at_nodes, tables[:, at_nodes])[:, -1], lowest)
    slope, offset = _line(-np.log(foretold), values)
    return Mean(law, game.points, offset=offset, slope=slope, lowest=lowest)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope, not below 0, and offset."""
    x0, y0 = x.mean(), y.mean()
    slope = max(float((x - x0) @ (y - y0)) / max(float((x - x0) @ (x - x0)), 1e-12), 0.0)
    return slope, float(y0 - slope * x0)


def law_alone(game: Game) -> None:
    """What the law foretells best is run next; the best that was seen is chosen."""
    spread(game, FIRST)
    while True:
        foretold = mean_of(game).metric(game.pool.tables)[:, -1]
        game.run(_best_untried(game, foretold)[0])
        game.choose_best_mean()


def process_on_law(game: Game) -> None:
    """A Gaussian process on the law's residual of the values that were seen; the largest expected
    improvement is run next."""
    spread(game, FIRST)
    while True:
        mean = mean_of(game).metric(game.pool.tables)[:, -1]
        added, std = process_residual(game, mean)
        _choose_tried(game, mean + added)
        tried = [one.plan for one in game.seen]
        game.run(_best_untried(game, improvement(mean + added, std, tried))[0])


def judge_on_law(game: Game, settings: JudgeSettings = JudgeSettings(updates=UPDATES)) -> None:
    """The judge on the law's residual; what is foretold best is run next."""
    spread(game, FIRST)
    while True:
        mean = mean_of(game).metric(game.pool.tables)[:, -1]
        foretold = mean + judge_residual(game, settings)
        _choose_tried(game, foretold)
        for plan in _best_untried(game, foretold)[:EVERY]:
            game.run(plan)


def _choose_tried(game: Game, foretold: np.ndarray) -> None:
    tried = sorted({one.plan for one in game.seen})
    game.choose(tried[int(np.argmax(foretold[tried]))])


def _best_untried(game: Game, worth: np.ndarray) -> list[int]:
    """Plans that were never run, the best first; after them those that were."""
    own = worth.copy()
    own[[one.plan for one in game.seen]] = -np.inf
    own[~game.free()] = -np.inf
    return [int(plan) for plan in np.argsort(-own, kind="stable")]


def process_residual(game: Game, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) what is to be added to a mean (P,), and its standard deviation."""
    plans = [one.plan for one in game.seen]
    values = np.array([one.value for one in game.seen])
    left = values - mean[plans]
    # A run that failed to train says that others like it would, not how far a residual goes.
    far = max(4 * float(np.median(np.abs(left))), 2 * float(values.max() - np.median(values)))
    return process(features(game.pool.tables), plans, np.clip(left, -far, far))


def process(own: np.ndarray, rows: list[int], left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) the residual over features (P, n), learned from that of some rows, and its standard
    deviation."""
    scale = max(float(np.sqrt(np.mean(left**2))), 1e-9)
    kernel = ConstantKernel(1.0, (0.05, 20)) * Matern(1.0, (0.3, 30), nu=2.5)
    model = GaussianProcessRegressor(kernel + WhiteKernel(0.1, (0.01, 1)), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(own[rows], left / scale)
    mean, std = model.predict(own, return_std=True)
    return scale * mean, scale * std


def judge_residual(game: Game, settings: JudgeSettings) -> np.ndarray:
    """(P,) what is to be added to the mean of `mean_of`."""
    runs = runs_of(game)
    done = [one.plan for one in game.seen if one.completed]
    mean = mean_of(game).metric(game.pool.tables)
    return judged(replace(runs, metrics=runs.metrics - mean[done]), game.pool.tables, settings)


def judged(residual: Runs, tables: np.ndarray, settings: JudgeSettings) -> np.ndarray:
    """(P,) the final residual of schedules (P, T + 1), by a judge that is taught residuals."""
    size = float(np.sqrt(np.mean(residual.metrics[:, -1] ** 2)))
    cut = np.clip(residual.metrics, -FAR * size, FAR * size)
    model = fit_judge(replace(residual, metrics=cut), settings)
    found: np.ndarray = SHARE * model.final_metric(tables).mean(0)
    return found


ON_LAW: dict[str, Callable[[Game], None]] = {
    "peak-law": law_alone,
    "process-on-law": process_on_law,
    "judge-on-law": judge_on_law,
}
