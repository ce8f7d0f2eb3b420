"""What the report opens with is right in every case, and no stronger than the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from components.evaluation.decision import choose, decide
from components.evaluation.ranking import Configuration
from components.evaluation.results import Evaluation, SweptConfiguration
from components.evaluation.statistics import Summary
from tests.experiments.made import SEEDS, evaluation

NOISE = (0.001, -0.002, 0.0, 0.0015)  # what a seed does to a row; not the same to all


def around(mean: float, *, turned: int = 0, width: float = 1.0) -> list[float | None]:
    return [mean + width * NOISE[(i + turned) % len(NOISE)] for i in range(len(SEEDS))]


def words(found: Evaluation) -> str:
    return " ".join(decide(found).lines())


def test_lode_is_clearly_better() -> None:
    found = evaluation({"onecycle": around(0.90), "lode": around(0.93, turned=1)})
    decision = decide(found)
    assert (decision.choice.row, decision.choice.why) == ("lode", "lode")
    assert decision.use.startswith("Use LODE: it does better than OneCycle (peak lr 0.05)")
    assert decision.gain.startswith(
        "+3.00 points over OneCycle (peak lr 0.05): 93.01 against 90.01"
    )
    assert "95 % interval +2." in decision.sure and "over 4 seeds, p" in decision.sure
    assert "200 trainings before the first: 100 of the sweep" in decision.cost
    assert "100 pilots, which tried schedules of other shapes" in decision.cost


def test_they_cannot_be_told_apart() -> None:
    found = evaluation(
        {"onecycle": around(0.90, width=5), "lode": around(0.901, turned=2, width=5)}
    )
    decision = decide(found)
    assert (decision.choice.row, decision.choice.why) == ("onecycle", "level")
    assert "cannot be told apart" in decision.use and "Use OneCycle (peak lr 0.05)" in decision.use
    assert decision.gain.startswith("None that can be told from noise: LODE minus it +0.10 points")
    assert decision.cost.startswith("25 trainings to choose it; LODE's search took 200.")


def test_lode_is_worse() -> None:
    found = evaluation({"onecycle": around(0.93), "lode": around(0.90, turned=1)})
    decision = decide(found)
    assert (decision.choice.row, decision.choice.why) == ("onecycle", "worse")
    assert decision.use.endswith("LODE does worse.")
    assert "None by LODE, which loses: LODE minus it −3.00 points" in decision.gain


def test_lode_kept_the_best_to_the_bit() -> None:
    same = around(0.93)
    decision = decide(evaluation({"constant": around(0.9), "onecycle": same, "lode": same}))
    assert (decision.choice.row, decision.choice.why) == ("onecycle", "kept")
    assert "its runs are the same to the bit" in decision.use and "Exact" in decision.sure


def test_another_than_validations_best_leads_within_noise() -> None:
    found = evaluation(
        {
            "onecycle": around(0.90, width=8),
            "constant": around(0.912, turned=2, width=8),
            "lode": around(0.90, turned=1, width=8),
        }
    )
    decision = decide(found)
    assert decision.choice.row == "onecycle"
    (risk, *_) = decision.risks
    assert risk.startswith("Constant (peak lr 0.01), not the best on validation, leads the table")
    assert "by 1.20 points (p = " in risk and "adjusted for 2 comparisons" in risk
    assert risk.endswith("the lead may be chance.")


def test_another_than_validations_best_leads_beyond_noise() -> None:
    found = evaluation(
        {
            "onecycle": around(0.90),
            "constant": around(0.95, turned=2),
            "lode": around(0.90, turned=1),
        }
    )
    decision = decide(found)
    assert (decision.choice.row, decision.choice.why) == ("constant", "test")
    assert "validation had chosen OneCycle (peak lr 0.05)" in decision.use
    assert any("picked by these very test results" in risk for risk in decision.risks)


def test_another_beats_lode_where_lode_beats_the_best() -> None:
    found = evaluation(
        {
            "onecycle": around(0.88),
            "constant": around(0.95, turned=2),
            "lode": around(0.90, turned=1),
        }
    )
    assert choose(found).row == "constant" and choose(found).over == "lode"
    assert "validation had chosen LODE" in words(found)


def test_a_finer_search_does_as_well() -> None:
    found = evaluation(
        {
            "onecycle": around(0.88),
            "finer-search": around(0.93, turned=2),
            "lode": around(0.93, turned=1),
        }
    )
    assert choose(found).row == "lode"
    assert "Finer search's OneCycle (peak lr 0.07), found with about as many" in words(found)


@pytest.mark.parametrize("seeds, said", [(1, "Not at all: 1 seed"), (3, "Few: with 3 seeds only")])
def test_few_seeds(seeds: int, said: str) -> None:
    tests = {"onecycle": around(0.90)[:seeds], "lode": around(0.93, turned=1)[:seeds]}
    found = evaluation(tests, seeds=SEEDS[:seeds])
    assert said in decide(found).sure
    if seeds == 1:
        assert choose(found).why == "unknown"
        assert "for want of evidence: 1 seed cannot tell LODE from it." in decide(found).use
        assert "no interval and no p-value" in words(found)


def test_everything_diverged() -> None:
    lost: list[float | None] = [None] * len(SEEDS)
    decision = decide(evaluation({"onecycle": lost, "constant": lost, "lode": lost}))
    assert decision.choice.row is None and decision.risks == []
    assert decision.use.startswith("Use none of these schedules")


def test_what_validation_chose_diverged() -> None:
    lost: list[float | None] = [None] * len(SEEDS)
    found = evaluation({"onecycle": lost, "constant": around(0.9), "lode": around(0.8)})
    decision = decide(found)
    assert (decision.choice.row, decision.choice.why) == ("constant", "left")
    assert "OneCycle (peak lr 0.05), the best baseline on validation, has no result" in decision.use


def test_a_winner_with_diverged_runs_is_not_recommended() -> None:
    broken: list[float | None] = [None, *around(0.95, turned=2)[1:]]
    found = evaluation(
        {"onecycle": around(0.90), "constant": broken, "lode": around(0.9, turned=1)}
    )
    decision = decide(found)
    assert decision.choice.row == "onecycle"
    assert any("but 1 of its runs have no result" in risk for risk in decision.risks)


def test_lower_is_better() -> None:
    higher = evaluation(
        {"onecycle": [-0.51, -0.5, -0.52, -0.5], "lode": [-0.41, -0.4, -0.43, -0.4]}
    )
    found = replace(higher, metric="val_loss", percent=False, lower=True)
    decision = decide(found)
    assert decision.choice.why == "lode"
    assert decision.gain.startswith("−0.0975 over OneCycle (peak lr 0.05): 0.4100 against 0.5075")
    assert decision.gain.endswith("test val_loss, lower is better.")
    assert "95 % interval −0.10" in decision.sure


def test_without_pilots() -> None:
    found = replace(
        evaluation({"onecycle": around(0.90), "lode": around(0.93, turned=1)}), pilots=None
    )
    assert "all of the sweep (130 s); no pilots." in decide(found).cost.replace("2 min", "130 s")
    assert any("No pilot has tried" in risk for risk in decide(found).risks)


@pytest.mark.parametrize(
    "peaks, said",
    [
        ((0.01, 0.02, 0.05), "is the largest of the 3 that were tried: a larger one"),
        ((0.05, 0.1), "is the smallest of the 2 that were tried: a smaller one"),
        ((0.01, 0.05, 0.1), ""),
        ((0.05,), ""),
    ],
)
def test_a_best_peak_at_the_edge_is_said(peaks: Sequence[float], said: str) -> None:
    found = evaluation({"onecycle": around(0.93), "lode": around(0.90, turned=1)})
    swept = [
        SweptConfiguration(
            **vars(Configuration("onecycle", p, Summary(0.9, 0.01, 3), 0)), chosen=p == 0.05
        )
        for p in peaks
    ]
    edged = replace(found, sweep=replace(found.sweep, configurations=swept))
    risks = " ".join(decide(edged).risks)
    assert said in risks if said else "that were tried" not in risks


def test_lode_is_what_is_left() -> None:
    lost: list[float | None] = [None] * len(SEEDS)
    decision = decide(evaluation({"onecycle": lost, "lode": around(0.9)}))
    assert (decision.choice.row, decision.choice.why) == ("lode", "left")
    assert decision.gain == "Not known: LODE reaches 90.01 ± 0.15 % test accuracy."


def test_lode_has_no_result() -> None:
    lost: list[float | None] = [None] * len(SEEDS)
    decision = decide(evaluation({"onecycle": around(0.9), "lode": lost}))
    assert decision.use.endswith("for want of evidence: LODE has no result.")
    assert decision.gain.startswith("Not known: no seed that both completed. OneCycle (peak lr")
    assert decision.sure.startswith("Not at all: 0 seeds in common")


def test_lode_is_better_where_it_ends() -> None:
    broken: list[float | None] = [None, *around(0.95, turned=2)[1:]]
    decision = decide(evaluation({"onecycle": around(0.90), "lode": broken}))
    assert (decision.choice.row, decision.choice.why) == ("onecycle", "fragile")
    assert decision.use.endswith("but more of its runs have no result.")
    assert decision.gain.startswith("None to rely on: LODE minus it +5.")


def test_what_is_said_is_what_the_shown_p_value_says() -> None:
    """LODE's own comparisons decide, not those of the best baseline, which are others."""
    tests = {"onecycle": around(0.90, width=3), "lode": around(0.905, turned=1, width=3)}
    for others in range(4):
        rows = {f"own-{i}": around(0.902, turned=2, width=4) for i in range(others)}
        found = evaluation({**tests, **rows})
        pair = found.comparisons["lode"]["onecycle"]
        assert (choose(found).why == "lode") == pair.significant
        assert (choose(found).why == "level") == (not pair.significant)
