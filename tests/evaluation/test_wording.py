"""The sentences say what the numbers say, and no more."""

from dataclasses import replace

import pytest

from components.evaluation import wording
from components.evaluation.evaluate import evaluate
from components.evaluation.results import (
    FitSummary,
    Gain,
    Quarantined,
    ValidationSummary,
)


@pytest.fixture
def evaluation(finished):
    return finished[0]


def test_pilots_that_found_nothing(evaluation):
    def last(**changes):
        return wording.pilots(replace(evaluation.pilots, **changes), 100.0)[1]

    assert "too little to be trusted, so LODE's runs begin with OneCycle 0.05." in last(
        adopted=False
    )
    assert "so LODE's runs begin with OneCycle 0.05." in last(gain=Gain())
    assert "so LODE's runs begin with the sweep's best schedule." in last(
        gain=Gain(), baseline=None
    )


def test_pilots_that_were_not_asked_for(evaluation):
    silent = wording.lode(replace(evaluation, pilots=None))
    assert len(silent) == len(wording.lode(evaluation)) - 2
    assert not any("pilot" in sentence for sentence in silent)


def test_a_fit_that_says_nothing(evaluation):
    for fit in (None, FitSummary()):
        entry = replace(evaluation.lode, fit=fit)
        sentences = wording.lode(replace(evaluation, pilots=None, lode=entry))
        assert len(sentences) == 1 and "asked 18 times" in sentences[0]


def test_what_became_of_the_sweeps_runs(evaluation):
    def said(*validation):
        return wording.sweep(replace(evaluation, validation=ValidationSummary(*validation)))[1]

    bad = [Quarantined("constant 0.1 seed 2 (bad1)", ["did not complete"])]
    assert said(36, [], 0) == "Validation accepted 36 runs for the LODE and quarantined none."
    assert said(35, bad, 1) == (
        "Validation accepted 35 runs for the LODE and quarantined 1; "
        "1 run in the folder belongs to no declared sweep."
    )
    assert "; 2 runs in the folder belong to no declared sweep." in said(35, bad, 2)
    assert len(wording.sweep(evaluation)) == 1


def test_the_finer_search_says_what_it_is(evaluation, given_finer):
    assert wording.finer_search(evaluation) == []
    (sentence,) = wording.finer_search(evaluate(**given_finer))
    assert sentence == (
        "Finer search, the honest opponent, spent 9 runs (pilots: 100) on the sweep's two best "
        "schedules at finer peaks and chose OneCycle 0.07."
    )
    as_many = {**given_finer, "pilots": replace(given_finer["pilots"], runs=9)}
    (sentence,) = wording.finer_search(evaluate(**as_many))
    assert "spent 9 runs, as many as the pilots, on" in sentence
    (sentence,) = wording.finer_search(evaluate(**{**given_finer, "pilots": None}))
    assert "spent 9 runs on" in sentence


def test_a_race_is_called_what_it_was(evaluation):
    some = evaluation.sweep.configurations
    raced = [replace(one, dropped=i > 1) for i, one in enumerate(some)]
    entry = replace(evaluation.sweep, configurations=raced)
    said = wording.sweep(replace(evaluation, sweep=entry, validation=None))[0]
    assert f"{len(some)} configurations on one seed, 2 of them on 3; " in said
    assert f"{len(some)} configurations with 3 seeds each; " in wording.sweep(evaluation)[0]


def test_the_law_says_how_far_it_is_to_be_believed_or_why_it_has_no_row() -> None:
    assert wording.law(0.284, "").endswith("the law leaves 28% unexplained.")
    said = wording.law(1.0, "none of the 8 runs of the sweep has learned")
    assert said.startswith("Multi-Power Law has no row, as it has no schedule: none of the 8 runs")


def test_remarks_come_first_among_the_notes(given) -> None:
    assert evaluate(**given, remarks=["First."]).notes == ["First.", *evaluate(**given).notes]
