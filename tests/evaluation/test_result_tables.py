"""The rows that page, terminal and Prefect show."""

from dataclasses import replace

import pytest

from components.evaluation.decision import decide
from components.evaluation.evaluate import evaluate
from components.evaluation.order import ranked
from components.evaluation.result_tables import (
    behind,
    comparison_table,
    error_table,
    result_table,
    text_table,
)
from components.evaluation.results import FitSummary
from components.evaluation.statistics import Summary


@pytest.fixture
def evaluation(finished):
    return finished[0]


def with_entries(evaluation, change):
    entries = {row: change(row, entry) for row, entry in evaluation.schedulers.items()}
    return replace(evaluation, schedulers=entries)


def with_p(evaluation, **values):
    """Other adjusted p-values of LODE against these rows."""
    pairs = evaluation.comparisons["lode"]
    other = {row: replace(pairs[row], p_adjusted=p) for row, p in values.items()}
    return replace(evaluation, comparisons={**evaluation.comparisons, "lode": {**pairs, **other}})


def test_what_cannot_be_told_from_the_best_is_marked(evaluation):
    def column(found):
        return {row: behind(found, row) for row in found.schedulers}

    found = column(evaluation)
    assert found["lode"] == "–" and not any(text.startswith("≈") for text in found.values())
    level = column(with_p(evaluation, onecycle=0.3, constant=None))
    assert level["onecycle"].startswith("≈ −0.") and level["cosine"].startswith("−")
    assert not level["constant"].startswith("≈"), "nothing is known of it"


def test_tables_show_every_scheduler_best_first(evaluation):
    rows = result_table(evaluation).records()
    assert [row["Scheduler"] for row in rows] == [
        "LODE",
        "OneCycle",
        "Cosine",
        "Exp. decay",
        "Constant",
    ]
    assert rows[0]["Peak lr"] == "–" and rows[1]["Peak lr"] == "0.05"
    assert rows[1]["Cost (trainings)"] == "9" and rows[0]["Cost (trainings)"] == "136"
    assert rows[0]["Behind the best"] == "–" and rows[1]["Behind the best"].startswith("−")
    comparisons = comparison_table(evaluation).records()
    assert comparisons[0]["LODE minus"] == "OneCycle (best on validation)"
    assert len(comparisons) == 4


def test_a_finer_search_is_labelled_and_says_what_it_chose(given_finer):
    found = evaluate(**given_finer)
    rows = {row["Scheduler"]: row for row in result_table(found).records()}
    assert rows["Finer search"]["Peak lr"] == "OneCycle 0.07"
    assert rows["Finer search"]["Cost (trainings)"] == "45"
    assert rows["OneCycle"]["Peak lr"] == "0.05"
    first, second, *_ = comparison_table(found).records()
    assert first["LODE minus"] == "OneCycle (best on validation)"
    assert second["LODE minus"] == "Finer search"


def test_all_that_diverged_come_last_with_dashes(evaluation):
    nothing = Summary(None, None, 0)

    def lost(row, entry):
        if row != "onecycle":
            return entry
        return replace(entry, test=nothing, validation=nothing, diverged=6)

    found = with_entries(evaluation, lost)
    assert ranked(found)[-1] == "onecycle"
    row = result_table(found).records()[-1]
    assert row["Test accuracy (%)"] == row["Validation (%)"] == "–"
    assert row["Runs"] == "0 (+ 6 diverged)"


def test_no_sharpness_no_column(evaluation):
    nothing = Summary(None, None, 0)
    found = with_entries(evaluation, lambda _, entry: replace(entry, sharpness=nothing))
    assert "Sharpness λₘₐₓ" in result_table(evaluation).columns
    assert "Sharpness λₘₐₓ" not in result_table(found).columns
    assert "λₘₐₓ" not in text_table(found)


def test_errors_of_prediction_as_far_as_they_were_measured(evaluation):
    table = error_table(evaluation)
    assert table.columns == (
        "Channel (share seen)",
        "Runs held out of the fit",
        "Runs of the fit",
    )
    assert table.rows[0] == ("Training loss (5 %)", "0.222 ± 0.010", "0.111 ± 0.010")
    assert len(table.rows) == 6
    for fit in (None, FitSummary()):
        assert error_table(replace(evaluation, lode=replace(evaluation.lode, fit=fit))).rows == ()


def test_text_table_fits_a_terminal(evaluation):
    text = text_table(evaluation)
    assert max(map(len, text.splitlines())) <= 80
    header, rule, *rows = text.split("\n\n")[1].splitlines()
    assert header.startswith("Scheduler") and len(rows) == 5
    assert {len(line) for line in (header, rule, *rows)} == {len(header)}
    said = " ".join(text.split("\n\n")[0].split())
    assert said.startswith(decide(evaluation).use) and "How sure: 95 % interval" in said


def test_text_table_with_a_finer_search_fits_a_terminal(given_finer):
    text = text_table(evaluate(**given_finer))
    sentences, table = text.split("\n\n")
    assert max(map(len, text.splitlines())) <= 80
    assert "λₘₐₓ" in table and "OneCycle 0.07" in table and "Behind" in table
    assert "Finer search, the honest opponent" in sentences


def test_long_rows_lose_what_is_least_needed(given_finer):
    def long(row, entry):
        if row == "finer-search":
            return replace(entry, scheduler="warmup-stable-decay", peak_lr=1.23456e-05, diverged=3)
        return replace(entry, sharpness=Summary(0.0625, 0.0028, 6))

    found = with_entries(evaluate(**given_finer), long)
    header, *_ = table = text_table(found).split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 80
    assert header.split("  ")[0] == "Scheduler" and "Test (%)" in header
    assert "s/epoch" not in header and "λₘₐₓ" not in header
