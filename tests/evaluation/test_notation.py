import pytest

from components.evaluation import notation
from components.evaluation.statistics import PairedDifference, Summary


@pytest.mark.parametrize(
    "mean, std, text",
    [
        (1.2204, 0.4449, "1.22 ± 0.44"),
        (123.4, 5.6, "123 ± 6"),
        (0.06249, 0.00281, "0.0625 ± 0.0028"),
        (-0.5, 0.1, "-0.500 ± 0.100"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (2.0, None, "2.00"),
        (None, None, "–"),
    ],
)
def test_measured_values_have_three_digits(mean, std, text):
    assert notation.measured(Summary(mean, std, 2)) == text


def test_ordinals():
    names = [notation.place(rank) for rank in (1, 2, 3, 4, 11, 12, 21, 112, 103)]
    assert names == [
        "the best",
        "the 2nd best",
        "the 3rd best",
        "the 4th best",
        "the 11th best",
        "the 12th best",
        "the 21st best",
        "the 112th best",
        "the 103rd best",
    ]


def test_configurations():
    assert notation.configuration("onecycle", 0.0245) == "OneCycle 0.0245"
    assert notation.configuration("pbt", None) == notation.with_peak("pbt", None) == "PBT"
    assert notation.with_peak("onecycle", 0.05) == "OneCycle (peak lr 0.05)"


@pytest.mark.parametrize(
    "p, text", [(0.0004, "< 0.001"), (0.0371, "0.037"), (0.5, "0.50"), (None, "–")]
)
def test_p_values(p, text):
    assert notation.p_value(p) == text


def test_differences_are_points_with_a_minus_sign():
    assert notation.signed(-0.0042) == "−0.42" and notation.signed(0.0) == "+0.00"
    assert notation.interval(PairedDifference(0.0, -0.001, 0.002, 0.5, 5)) == "−0.10 to +0.20"
    assert notation.interval(PairedDifference(0.0, None, None, None, 1)) == "–"


def test_counts_times_and_seeds():
    assert notation.count(1, "run") == "1 run" and notation.count(0, "run") == "0 runs"
    assert [notation.duration(s) for s in (7, 240, 7200)] == ["7 s", "4 min", "2.0 h"]
    assert notation.seeds([3, 1, 2]) == "1–3" and notation.seeds([1, 3]) == "1, 3"


def test_numbers_stay_with_their_signs():
    text = "94 % (p = 0.1), n < 2 ± 1 of 5 runs"
    broken = "94_% (p_=_0.1), n_<_2 ±_1 of 5 runs".replace("_", "\N{NO-BREAK SPACE}")
    assert notation.unbroken(text) == broken
