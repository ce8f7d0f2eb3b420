"""All schedulers of one setting."""

from __future__ import annotations

from dataclasses import replace

from components.experiments.schedulers_table import schedulers_table
from tests.experiments import made

DIFFERENCE = "LODE minus it (points)"
TESTS = {
    "onecycle": [0.93, 0.94, 0.95, 0.96],
    "constant": [0.90, 0.92, 0.91, 0.93],
    "schedule-free": [0.94, 0.93, 0.96, 0.96],
    "lode": [0.93, 0.94, 0.95, 0.96],
}


def test_best_first_and_bold_where_the_interval_excludes_zero() -> None:
    rows = schedulers_table(made.evaluation(TESTS)).records()
    assert [row["scheduler"] for row in rows] == ["Schedule-free", "OneCycle", "LODE", "Constant"]
    differences = {row["scheduler"]: row[DIFFERENCE] for row in rows}
    assert differences["LODE"] == ""
    assert differences["OneCycle"] == "exact tie"
    assert differences["Constant"] == "**+3.00 (+1.70 to +4.30)**"  # sd 0.816, n = 4, t = 3.182
    assert differences["Schedule-free"] == "−0.25 (−1.77 to +1.27)"
    assert rows[1] == {
        "scheduler": "OneCycle",
        "peak lr": "0.05",
        "test (%)": "94.50 ± 1.29",
        "λ_max": "6.48 ± 1.00",
        "search (runs)": "25",
        DIFFERENCE: "exact tie",
    }


def test_sharpness_that_was_not_measured_has_no_column() -> None:
    assert "λ_max" not in schedulers_table(made.evaluation(TESTS, sharpness=None)).columns


def test_another_metric_has_its_own_name_and_unit() -> None:
    evaluation = replace(made.evaluation(TESTS), metric="R²", percent=False)
    row = schedulers_table(evaluation).records()[-1]
    assert row["test R²"] == "0.915 ± 0.013"
    assert row["LODE minus it"] == "**+0.03 (+0.017 to +0.043)**"
