"""Table A1 by scheduler."""

from dataclasses import replace
from typing import Any

import pytest

from components.evaluation.evaluate import evaluate
from components.evaluation.quality_table import scheduler_errors
from components.evaluation.results import ErrorEntry, Evaluation, FitSummary, TableA1


def errors(mean: float, *parts: str) -> TableA1:
    channels = dict.fromkeys(("train_loss", "val_metric", "log_lr"), ErrorEntry(mean, 0.01, 5))
    return {share: dict.fromkeys(parts, channels) for share in ("5%", "50%")}


@pytest.fixture
def evaluation(given: dict[str, Any]) -> Evaluation:
    return evaluate(**given)


def of(evaluation: Evaluation, fit: FitSummary | None) -> Evaluation:
    return replace(evaluation, lode=replace(evaluation.lode, fit=fit))


def test_a_row_for_each_scheduler_and_part_that_was_measured(evaluation: Evaluation) -> None:
    fit = FitSummary(
        by_scheduler={
            "onecycle": errors(0.1, "held_out", "fitted"),
            "plan": errors(0.2, "fitted"),
        }
    )
    table = scheduler_errors(of(evaluation, fit))
    assert [row[0] for row in table.rows] == [
        "OneCycle, held out",
        "OneCycle, fitted",
        "Pilots, fitted",
    ]
    assert table.columns[1:3] == ("metric, 5 % seen", "metric, 50 % seen")
    assert set(table.rows[0][1:]) == {"0.100 ± 0.010"} and len(table.columns) == 7


def test_a_fit_of_before_has_none(evaluation: Evaluation) -> None:
    assert all(not scheduler_errors(of(evaluation, fit)).rows for fit in (FitSummary(), None))
