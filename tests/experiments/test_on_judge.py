"""What was seen weighs against a judge that foretells badly: two members, barely fitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from components.experiments.game import Game, play
from components.experiments.on_judge import process_on_judge
from components.experiments.strategies import FIRST, judge
from components.lode.settings import JudgeSettings
from tests.experiments.test_on_law import pool

BAD = JudgeSettings(members=2, updates=3)


def test_what_was_seen_mends_a_judge_that_knows_little() -> None:
    own = pool(0.0)

    def lost(strategy: Callable[[Game], None], seed: int) -> float:
        return own.best - own.truth[play(strategy, own, FIRST + 12, seed)[-1][1]]

    seeds = range(4)
    ours = [lost(partial(process_on_judge, settings=BAD), seed) for seed in seeds]
    alone = [lost(partial(judge, settings=BAD), seed) for seed in seeds]
    assert max(ours) < 0.003 < max(alone)


def test_one_seed_is_one_game() -> None:
    own, strategy = pool(0.0), partial(process_on_judge, settings=BAD)
    assert play(strategy, own, FIRST + 6, seed=1) == play(strategy, own, FIRST + 6, seed=1)
