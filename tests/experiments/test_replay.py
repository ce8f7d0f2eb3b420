"""Searches replayed on a made-up pool whose best schedule is known, and a small real one built."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from components.experiments import pool as pools
from components.experiments import pool_plans, replay
from components.experiments.command import ExperimentError, opened
from components.experiments.curves import Curve, table
from components.experiments.game import Game, OverBudgetError, play, regret
from components.experiments.pool import Pool, build, read
from components.experiments.pool_plans import families, grid, shapes
from components.experiments.replay_figure import draw
from components.experiments.strategies import EVERY, STRATEGIES, judge, runs_of
from components.lode.settings import JudgeSettings
from components.training.history import DIVERGED
from tests.experiments import made

N, T = 200, 20
PEAKS = (0.001, 0.005, 0.01, 0.05, 0.1)
PARAMS = """
task: digits-mlp
training: {updates: 20, points: 10, device: cpu}
sweep: {schedulers: [constant, onecycle], peak_lrs: [0.01, 0.05], seeds: [1, 2, 3, 4]}
lode: {fit: {updates: 20}, judge: {updates: 20}}
"""


@pytest.fixture(scope="module")
def pool() -> Pool:
    """The metric rises to a final value that is best for a peak near 0.02 and an annealed end."""
    rng = np.random.default_rng(0)
    plans = [
        *grid(("constant", "cosine", "onecycle"), PEAKS, N, T),
        *families(PEAKS, N, T),
        *shapes(0.01, PEAKS, T, rng),
    ]
    tables = np.array([plan.table for plan in plans])
    truth = 0.9 - 0.05 * np.log10(tables.max(1) / 0.02) ** 2 - 0.05 * tables[:, -1] / tables.max(1)
    rise = 1 - 0.8 * np.exp(-4 * np.arange(1, T + 1) / T)
    runs = [
        [
            made.run(list(value * rise + rng.normal(0, 0.002, T)), seed=seed, lrs=list(table[1:]))
            for seed in range(3)
        ]
        for value, table in zip(truth, tables, strict=True)
    ]
    measured = np.argsort(-truth)[:30]
    return Pool(
        "made up",
        plans,
        runs,
        truth,
        np.isin(np.arange(len(plans)), measured),
        float(truth[0]),
        worst=0.0,
    )


# Searches whose model takes seconds to fit play shorter games here, the judge a smaller one.
SHORT = {"law": 5, "judge": 9}
SMALL = partial(judge, settings=JudgeSettings(members=2, updates=60))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_search_stays_within_its_budget_and_ends_better_than_chance(
    pool: Pool, name: str
) -> None:
    strategy = SMALL if name == "judge" else STRATEGIES[name]
    budget = SHORT.get(name, 30)
    choices = play(strategy, pool, budget, seed=1)
    spent = [at for at, _ in choices]
    assert spent == sorted(spent)
    assert spent[0] > 0
    assert budget - EVERY <= spent[-1] <= budget + 1e-9
    lost = regret(pool, choices, np.arange(1.0, budget + 1))
    if name not in SHORT:
        assert lost[-1] < pool.best - pool.truth.mean()
        assert play(strategy, pool, budget, seed=1) == choices, "one seed, one game"


def test_pruners_pay_for_what_they_saw_alone(pool: Pool) -> None:
    game = Game(pool, 10, np.random.default_rng(0))
    stopped = game.run(0, lambda point, metric: point < 5)
    assert len(stopped.series) == 5
    assert game.spent == pytest.approx(5 / T)
    assert not game.seen
    assert stopped.value == pytest.approx(stopped.series[:, 1].max())


def test_a_diverged_run_costs_a_run_and_counts_as_the_worst_of_the_pool(pool: Pool) -> None:
    broken = made.run([0.95, np.nan, np.nan], seed=7, status=DIVERGED)
    one = replace(pool, runs=[[broken], *pool.runs[1:]], worst=-2.0)
    game = Game(one, 10, np.random.default_rng(0))
    told: list[float] = []
    seen = game.run(0, lambda point, metric: told.append(metric) is None)
    assert (game.spent, seen.value, seen.completed) == (1.0, -2.0, False)
    assert told == [0.95, *[-2.0] * (T - 2)]
    for plan in range(1, 4):
        game.run(plan)
    assert len(runs_of(game).seeds) == 3, "the judge is taught by what completed"


def test_regret_is_that_of_the_choice_in_force(pool: Pool) -> None:
    best, other = int(np.argmax(pool.truth)), 3
    lost = regret(pool, [(2.0, other), (4.0, best)], np.array([1.0, 2.0, 3.9, 4.0, 9.0]))
    far = pool.best - pool.truth[other]
    assert np.isnan(lost[0])
    assert lost[1:] == pytest.approx([far, far, 0, 0])


def test_a_pool_is_built_goes_on_and_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_plans, "PEAKS", 2)
    monkeypatch.setattr(pool_plans, "AROUND", 2)
    monkeypatch.setattr(pool_plans, "WIDE", 1)
    monkeypatch.setattr(pools, "PROPOSED", 2)
    monkeypatch.setattr(pools, "MEASURED", 2)
    monkeypatch.setattr(pools, "TRUTH_SEEDS", range(50, 52))
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS)
    with pytest.raises(ExperimentError, match=r"not whole .*experiments\.pool"):
        read(*opened(params))
    found = build(*opened(params), workers=1)
    kinds = [plan.kind for plan in found.plans]
    assert [kinds.count(kind) for kind in ("grid", "shape", "lode")] == [4, 3, 2]
    assert {len(runs) for runs, kind in zip(found.runs, kinds, strict=True) if kind == "grid"} == {
        4
    }
    assert {len(runs) for runs, kind in zip(found.runs, kinds, strict=True) if kind != "grid"} == {
        3
    }
    assert found.measured.sum() == 2
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    lost = sorted(files)[0]
    lost.unlink()
    with pytest.raises(ExperimentError, match="not whole"):
        read(*opened(params))
    changed = tmp_path / "other.yaml"
    changed.write_text(PARAMS.replace("updates: 20, points", "updates: 30, points"))
    with pytest.raises(ExperimentError, match="of these settings"):
        read(*opened(changed))  # and trains nothing
    again = build(*opened(params), workers=1)
    assert again.truth == pytest.approx(found.truth)
    kept = {path: path.stat().st_mtime_ns for path in files if path != lost}
    assert kept == {path: when for path, when in files.items() if path != lost}, "nothing repeated"
    lost = replay.one_game(params, "random", 7, seed=0)
    printed = table([Curve("random", np.stack([lost, lost]))], budget=7).text()
    assert f"{lost[-1]:.4f} ± 0.0000" in printed
    # Another process would not know of the small pool that is asked for above.
    monkeypatch.setattr(replay, "processes", lambda *_: ThreadPoolExecutor(1))
    figure, written = tmp_path / "regret.svg", tmp_path / "regret.csv"
    asked = [params, "--only", "random", "--games", "2", "--budget", "7"]
    asked += ["--figure", figure, "--table", written]
    said = CliRunner().invoke(replay.main, [str(one) for one in asked])
    assert said.exit_code == 0, said.output
    assert figure.read_text(encoding="utf-8").count(">random<") == 1
    head, row = written.read_text(encoding="utf-8").splitlines()
    assert head == "pool,strategy,games,7 runs,7 runs ±"
    assert row.startswith(f"{tmp_path},random,2,")


def test_a_plan_without_a_run_left_ends_the_game(pool: Pool) -> None:
    game = Game(pool, 10, np.random.default_rng(0))
    for _ in range(3):
        game.run(0)
    with pytest.raises(OverBudgetError):
        game.run(0)
    assert game.spent == 3


def test_the_figure_has_a_panel_a_pool_and_the_same_bytes_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    panels = {
        name: [Curve(one, rng.random((4, 8)) * at) for one in ("random", "judge")]
        for name, at in (("m500", 0.01), ("f600", 0.1))
    }
    panels["m500"][1].regrets[:, -1] = 0.0  # the best was found
    panels["m500"][1].regrets[:, 0] = np.nan  # before the first choice
    for name in ("one.svg", "two.svg"):
        draw(panels, "points", tmp_path / name)
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.svg").read_text(encoding="utf-8")
    for said in (">m500<", ">f600<"):
        assert text.count(said) == 1, said
    assert text.count(">judge<") == text.count(">random<") == 2, "each line bears its name"
    assert ">regret (points)<" in text
