"""Steps, epochs, gaps and numbers that are none: the rules of components/importers/logs.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.importers.errors import LeftOutError
from components.importers.logs import Log, canonical
from components.importers.roles import Columns
from components.importers.source import NOT_FINITE

COLUMNS = Columns(
    {"step": ("step",), "train_loss": ("loss",), "val_metric": ("acc",), "lr": ("lr", "lr2")}
)
EPOCHS = Columns({"epoch": ("epoch",), "train_loss": ("loss",)})


def taken(columns: Columns = COLUMNS, epoch_updates: int | None = None, **rows: Any) -> Log:
    return canonical(pd.DataFrame(rows).astype(float), columns, epoch_updates)


def test_a_log_that_counts_from_0_is_raised_by_one() -> None:
    loss = np.linspace(2, 1, 10)
    log = taken(step=range(10), loss=loss, lr=[0.1] * 10)
    assert log.rows["step"].tolist() == list(range(1, 11))
    # a metric at step 0 is of the untrained network: nothing is shifted
    first = taken(step=range(10), loss=[math.nan, *loss[1:]], acc=[0.1, *[0.5] * 9], lr=[0.1] * 10)
    assert first.rows["step"].tolist() == list(range(10))


def test_a_row_without_a_step_has_that_of_the_row_before() -> None:
    none = math.nan
    log = taken(
        step=[5, 10, none, 15, 20, none, 25],
        loss=[3, 2.5, none, 2, 1.5, none, 1],
        acc=[none, none, 0.4, none, none, 0.6, none],
        lr=[0.1] * 7,
    )
    metric = log.rows.loc[log.rows["val_metric"].notna(), ["step", "val_metric"]]
    assert metric.to_numpy().tolist() == [[10, 0.4], [20, 0.6]]


def test_epochs_become_updates() -> None:
    loss = np.linspace(2, 1, 6)
    assert taken(EPOCHS, 50, epoch=range(6), loss=loss).rows["step"].tolist() == [
        50,
        100,
        150,
        200,
        250,
        300,
    ]
    assert taken(EPOCHS, 50, epoch=range(1, 7), loss=loss).rows["step"].tolist()[0] == 50
    parts = taken(EPOCHS, 40, epoch=[0.25, 0.5, 0.75, 1, 1.25, 1.5], loss=loss)
    assert parts.rows["step"].tolist() == [10, 20, 30, 40, 50, 60]


def test_a_loss_that_stays_no_number_is_where_it_diverged() -> None:
    loss = [3, 2, 1, 1, 1, 1, NOT_FINITE, NOT_FINITE]
    log = taken(step=range(1, 9), loss=loss, lr=[0.1] * 8)
    assert log.diverged == 7 and log.last == 6 and log.recovered == 0


def test_a_loss_that_recovers_counts_as_not_logged() -> None:
    loss = [3, 2, NOT_FINITE, 1, 1, 1, 1, 1]
    log = taken(step=range(1, 9), loss=loss, lr=[0.1] * 8)
    assert log.diverged is None and log.recovered == 1
    assert log.series("train_loss")[0].tolist() == [1, 2, 4, 5, 6, 7, 8]


def test_the_first_groups_rate_is_taken_where_the_others_keep_their_ratio() -> None:
    rates = np.linspace(0.1, 0.01, 8)
    loss = np.linspace(3, 1, 8)
    log = taken(step=range(1, 9), loss=loss, lr=rates, lr2=rates / 10)
    assert log.series("lr")[1].tolist() == rates.tolist()
    with pytest.raises(LeftOutError, match=r"lr and lr2 do not keep their ratio; choose one"):
        taken(step=range(1, 9), loss=loss, lr=rates, lr2=[0.1] * 8)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"step": range(1, 5), "loss": [1.0] * 4, "lr": [0.1] * 4}, "fewer than 5 rows have"),
        ({"step": [math.nan] * 6, "loss": [1.0] * 6, "lr": [0.1] * 6}, "did not log step"),
        ({"step": range(1, 7), "loss": [1.0] * 6}, "did not log a learning rate"),
        ({"step": [-3, *range(5)], "loss": [1.0] * 6, "lr": [0.1] * 6}, "a step is below 0"),
        ({"step": [NOT_FINITE, *range(5)], "loss": [1.0] * 6, "lr": [0.1] * 6}, "is no number"),
        ({"step": [1e300, *range(5)], "loss": [1.0] * 6, "lr": [0.1] * 6}, "larger than 2"),
    ],
)
def test_what_cannot_be_a_history_is_left_out_with_the_reason(rows: Any, reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        taken(**rows)
