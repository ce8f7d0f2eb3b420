"""A way of choosing a schedule that takes the judge as its mean and weighs it by what was seen."""

from __future__ import annotations

import numpy as np

from components.experiments.game import Game
from components.experiments.on_law import process_residual
from components.experiments.strategies import EVERY, FIRST, improvement, runs_of, spread
from components.lode.judge_fit import fit_judge
from components.lode.settings import JudgeSettings


def process_on_judge(game: Game, settings: JudgeSettings = JudgeSettings()) -> None:
    """A Gaussian process on what the judge's forecasts leave of the values that were seen; the
    largest expected improvement is run next, be it of a schedule that was run before."""
    spread(game, FIRST)
    while True:
        mean = fit_judge(runs_of(game), settings).final_metric(game.pool.tables).mean(0)
        for _ in range(EVERY):
            added, std = process_residual(game, mean)
            tried = sorted({one.plan for one in game.seen})
            game.choose(tried[int(np.argmax((mean + added)[tried]))])
            expected = improvement(mean + added, std, tried)
            expected[~game.free()] = -np.inf
            game.run(int(np.argmax(expected)))
