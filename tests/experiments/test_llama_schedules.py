"""The public runs as pools: on made-up pieces of a trunk, and on the real ones where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.experiments.command import ExperimentError
from components.experiments.llama_schedules import HORIZONS, POINTS, mended, pool, with_trunks
from tests.importers.made import SHARED

DATA = SHARED / "llama-schedules"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA} here")


def table() -> pd.DataFrame:
    """A cooldown over .2 of 1,000 updates, resumed at 500, and one over .5 that has its beginning;
    both go on at the rate .1 before."""
    common = {"peak_lr": 0.1, "scheduler": "wsd", "warmup": 10, "iterations": 1000}
    return pd.DataFrame(
        [
            {"run": 1, "cooldown_fraction": 0.2, "final_val_loss": 2.04, **common},
            {"run": 2, "cooldown_fraction": 0.5, "final_val_loss": 2.04, **common},
        ]
    )


def points() -> pd.DataFrame:
    late, whole = np.arange(500, 1000, 100), np.arange(0, 1000, 100)
    rows = [
        pd.DataFrame({"run": 1, "iter": late, "learning_rate": 0.1, "val_loss": 2.0}),
        pd.DataFrame({"run": 2, "iter": whole, "learning_rate": 0.1, "val_loss": 2.0}),
    ]
    found = pd.concat(rows).assign(train_loss=2.0, val_acc=0.5)
    found.loc[(found["run"] == 1) & (found["iter"] == 500), "learning_rate"] = np.nan
    return found.reset_index(drop=True)


def test_a_trunk_is_what_runs_of_its_peak_logged_before_they_cooled_down() -> None:
    rows = mended(points(), table())
    trunk = rows[rows["run"] == with_trunks(table())["run"].iloc[-1]]
    assert list(trunk["iter"]) == list(range(0, 801, 100)), "run 2's until 500, run 1's until 800"
    assert not trunk["iter"].duplicated().any()
    assert rows.loc[(rows["run"] == 1) & (rows["iter"] == 500), "learning_rate"].item() == 0.1


def test_the_final_loss_is_the_last_row_and_the_others_are_of_its_size() -> None:
    rows = mended(points(), table())
    own = rows[rows["run"] == 2].sort_values("iter")
    assert own["iter"].iloc[-1] == 1000
    assert own["val_loss"].iloc[-1] == 2.04
    np.testing.assert_allclose(own["val_loss"].iloc[:-1], 2.0 * 1.02)


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"points\.csv\.gz: no such file; name the folder"):
        pool(tmp_path, 25_000)


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("horizon", "plans", "runs"), [(15_000, 20, 22), (25_000, 36, 38), (35_000, 20, 20)]
)
def test_every_run_of_a_horizon_comes_in(horizon: int, plans: int, runs: int) -> None:
    assert horizon in HORIZONS
    own = pool(DATA, horizon)
    assert (len(own.plans), sum(map(len, own.runs))) == (plans, runs)
    assert own.tables.shape == (plans, POINTS + 1)
    known = pd.read_csv(DATA / "runs.csv").set_index("run")["final_val_loss"]
    for runs_of, truth in zip(own.runs, own.truth, strict=True):
        finals = [known[int(one.meta["imported"]["id"])] for one in runs_of]
        assert -truth == pytest.approx(np.mean(finals))
        assert np.ptp(finals) < 0.002, "repeats of one configuration"


@real
@pytest.mark.slow
def test_a_joined_cooldown_has_its_peak_before_and_none_after() -> None:
    own = pool(DATA, 25_000)
    names = [plan.name for plan in own.plans]
    at = next(
        i for i, name in enumerate(names) if "cooldown_fraction=0.2" in name and "sqrt" in name
    )
    table = np.array(own.plans[at].table)
    np.testing.assert_allclose(table[2:81], table.max(), rtol=1e-6)
    assert table[-1] < 0.02 * table.max()
