"""What is learned beside a law: on a pool whose losses are a law's and one more term."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from components.experiments.game import Game, play
from components.experiments.on_law import (
    FIRST,
    ON_LAW,
    judge_on_law,
    mean_of,
    process_residual,
)
from components.experiments.pool import Pool
from components.experiments.pool_plans import PoolPlan
from components.lode.settings import JudgeSettings
from components.training.facts import MINIMIZE
from tests.experiments import made
from tests.experiments.test_peak_law import STEPS, law, schedules

PEAKS = tuple(np.geomspace(0.2e-3, 2e-3, 6))
T = 100
SMALL = partial(judge_on_law, settings=JudgeSettings(members=2, updates=40))


def pool(extra: float, *, metric: str = "loss") -> Pool:
    """A plan for each peak and cooldown.

    Args:
        extra: added to the final loss per e-fold of the peak below the largest.
        metric: `loss`, its negative, or `accuracy`, which is linear in the loss's logarithm.
    """
    at = np.arange(T + 1.0)
    tables = np.array([np.interp(at, STEPS, own) for own in schedules(PEAKS)])
    losses = law(0.1).losses(at, tables)[:, 1:]
    losses += extra * np.log(tables.max(1) / tables.max())[:, None] * at[1:] / T
    metrics = -losses if metric == "loss" else 1.5 - 0.7 * np.log(losses)
    goal = {"metric_goal": MINIMIZE} if metric == "loss" else {}
    runs = []
    for table, loss, own in zip(tables, losses, metrics, strict=True):
        one = made.run(list(own), seed=0, lrs=list(table[1:]), **goal)
        one.points["train_loss"], one.points["lr"] = loss, table[1:]
        one.points.loc[0, "train_loss"] = 10.0  # so that it learned
        runs.append([one])
    plans = [PoolPlan(f"{i}", "run", tuple(table)) for i, table in enumerate(tables)]
    truth = metrics[:, -1]
    return Pool("law", plans, runs, truth, np.ones(len(truth), bool), 0.0, float(metrics.min()))


def seen(own: Pool, plans: range) -> Game:
    game = Game(own, 50, np.random.default_rng(0))
    for plan in plans:
        game.run(plan)
    return game


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_the_mean_is_the_law_in_units_of_the_metric(metric: str) -> None:
    own = pool(0.0, metric=metric)
    mean = mean_of(seen(own, range(0, 18, 2))).metric(own.tables)
    assert mean.shape == (18, T)
    assert np.abs(mean[:, -1] - own.truth).max() < 0.005


def test_the_process_learns_what_the_law_leaves() -> None:
    own = pool(0.03)
    game = seen(own, range(0, 18, 2))
    flat = np.full(18, own.truth.mean())
    corrected = flat + process_residual(game, flat)[0]
    assert np.abs(corrected - own.truth).mean() < 0.5 * np.abs(flat - own.truth).mean()


def test_runs_that_failed_do_not_drown_the_others() -> None:
    own = pool(0.0)
    broken = made.run([-10.0] * T, seed=0, metric_goal=MINIMIZE)
    game = seen(replace(own, runs=[[broken], *own.runs[1:]]), range(12))
    mean = mean_of(game).metric(own.tables)[:, -1]
    assert np.abs(mean - own.truth).max() < 0.02, "it has not learned, and follows no law"
    added, _ = process_residual(game, mean)
    assert added[0] < 0
    assert np.abs(added).max() < 1.0


def test_where_nothing_learned_the_mean_is_one_number() -> None:
    own = pool(0.0)
    for runs in own.runs:
        runs[0].points["train_loss"] = 1.0
    mean = mean_of(seen(own, range(4))).metric(own.tables)
    assert np.ptp(mean) == 0.0


def test_a_law_that_does_not_fit_is_not_used() -> None:
    own, rng = pool(0.0, metric="accuracy"), np.random.default_rng(0)
    for runs in own.runs:
        runs[0].points["train_loss"] *= np.exp(rng.normal(0, 0.5))
    mean = mean_of(seen(own, range(12)))
    assert mean.law is None
    assert mean.metric(own.tables) == pytest.approx(own.truth[:12].mean())


@pytest.mark.parametrize("name", ON_LAW)
def test_each_finds_the_best_of_a_law_within_few_runs(name: str) -> None:
    own = pool(0.0)
    strategy = SMALL if name == "judge-on-law" else ON_LAW[name]
    choices = play(strategy, own, FIRST + 6, seed=1)
    assert own.best - own.truth[choices[-1][1]] < 0.003
    assert play(strategy, own, FIRST + 6, seed=1) == choices, "one seed, one game"
