"""A race replayed on made-up grids whose choice is known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from components.experiments.command import ExperimentError
from components.experiments.raced import main, replay
from components.settings import Settings
from components.training.history import History
from tests.tiny import tiny

SEEDS = [0, 1, 2]


def settings() -> Settings:
    """Two schedulers at four peaks: two of eight configurations survive."""
    peaks = [0.01, 0.02, 0.03, 0.04]
    return tiny(sweep__seeds=SEEDS, sweep__peak_lrs=peaks, sweep__sampler="grid")


def grid(values: dict[tuple[str, float], list[float]]) -> list[History]:
    """Runs of every configuration; those not named are worse on every seed."""
    asked = settings().sweep
    return [
        History(
            pd.DataFrame({"val_metric": [values.get((s, p), [0.2, 0.2, 0.2])[i]]}),
            {"scheduler": s, "peak_lr": p, "seed": seed, "status": "completed"},
        )
        for s in asked.schedulers
        for p in asked.peak_lrs
        for i, seed in enumerate(SEEDS)
    ]


def test_a_clear_best_survives_every_first_seed() -> None:
    found = replay(settings(), grid({("onecycle", 0.03): [0.9, 0.8, 0.7]}))
    assert [one.first for one in found] == SEEDS
    assert {one.chosen for one in found} == {one.grid for one in found} == {("onecycle", 0.03)}
    assert {one.runs for one in found} == {8 + 2 * 2} and not any(one.behind for one in found)


def test_what_is_unlucky_on_the_first_seed_is_lost_and_that_is_said() -> None:
    values = {("onecycle", 0.03): [0.1, 0.9, 0.9], ("onecycle", 0.02): [0.5, 0.5, 0.6]}
    unlucky, *others = replay(settings(), grid(values))
    assert unlucky.chosen == ("onecycle", 0.02) and unlucky.grid == ("onecycle", 0.03)
    assert unlucky.behind == pytest.approx((1.9 - 1.6) / 3)
    assert all(one.chosen == one.grid for one in others)


def test_a_sweep_that_is_no_whole_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="a whole grid of two seeds"):
        replay(settings(), grid({})[1:])
    failed = CliRunner().invoke(main, [str(tmp_path / "params.yaml")])
    assert failed.exit_code == 1 and "no such file" in failed.output
