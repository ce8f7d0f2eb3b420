"""Runs that went on from others: joined where both agree, else left out with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.training.resampled import resampled

from .made import N, T, log, one_file, read_csv

COOL = 300  # where the cooldown begins


def cooldown(said: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """The last quarter of a run whose beginning another run has."""
    rows = log("flat")
    rest = rows[rows["step"] >= COOL].copy()
    rest.loc[rest["step"] > COOL, "lr"] *= 1 - (rest["step"] - COOL) / (N - COOL)
    return {"sched": "wsd", "seed": 0, "from": said, "length": N}, rest


def trunk(name: str = "flat", **change: float) -> tuple[dict[str, Any], pd.DataFrame]:
    rows = log(name, updates=2 * N) if name != "flat" else log("flat")
    for column, factor in change.items():
        rows[column] *= factor
    return {"sched": name, "seed": 0, "from": False, "length": N}, rows


@pytest.mark.parametrize("said", ["trunk", True, COOL])
def test_named_or_only_said_it_is_joined(said: Any, tmp_path: Path) -> None:
    runs = {"trunk": trunk(), "worse": trunk(val_loss=1.1), "cool": cooldown(said)}
    result = read_csv(
        one_file(tmp_path / "runs.csv", runs), tmp_path, resumed_from="from", horizon="length"
    )
    assert result.joined == [("cool", "trunk", COOL)]
    found = {one.meta["imported"]["id"]: one for one in result.histories}["cool"]
    whole = pd.concat([log("flat").query(f"step < {COOL}"), runs["cool"][1]])
    expected = resampled(whole.rename(columns={"val_loss": "val_metric"}), updates=N, points=T)
    np.testing.assert_allclose(found.points["train_loss"], expected["train_loss"], rtol=1e-9)
    np.testing.assert_allclose(found.points["lr"], expected["lr"], rtol=1e-9)


@pytest.mark.parametrize(
    ("other", "said", "reason"),
    [
        (trunk(val_loss=1.1), True, "none of the runs has its beginning"),
        (trunk(lr=1.1), True, "none of the runs has its beginning"),
        (trunk(val_loss=1.1), "trunk", "its rate and metric are not its trunk's"),
    ],
)
def test_one_that_does_not_agree_is_no_trunk(
    other: Any, said: Any, reason: str, tmp_path: Path
) -> None:
    runs = {"trunk": other, "cool": cooldown(said)}
    result = read_csv(
        one_file(tmp_path / "runs.csv", runs), tmp_path, resumed_from="from", horizon="length"
    )
    assert list(result.left_out) == ["cool"] and reason in result.left_out["cool"]


def test_runs_that_were_resumed_from_one_another_are_left_out(tmp_path: Path) -> None:
    runs = {"trunk": trunk(), "a": cooldown("b"), "b": cooldown("a")}
    runs["trunk"][0]["from"] = "no"
    result = read_csv(
        one_file(tmp_path / "runs.csv", runs), tmp_path, resumed_from="from", horizon="length"
    )
    assert set(result.left_out) == {"a", "b"}


def test_without_being_told_a_late_beginning_is_a_gap(tmp_path: Path) -> None:
    runs = {"trunk": trunk(), "cool": cooldown("trunk")}
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path, horizon="length")
    assert "first logged at step 300 of 400" in result.left_out["cool"]
