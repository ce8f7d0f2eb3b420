"""Several settings side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.experiments.command import ExperimentError
from components.experiments.settings_table import Setting, settings_table, with_paper
from tests.experiments import made

LODE = [0.93, 0.94, 0.95, 0.96]  # 94.50 ± 1.29
M500 = Setting(
    made.evaluation(
        {"onecycle": [0.92] * 4, "constant": [0.9, None, 0.9, 0.9], "lode": LODE}
        | {"finer-search": [0.91] * 4}
    ),
    finer_seconds=121.3,
)
F600 = Setting(
    replace(made.evaluation({"onecycle": [0.8] * 4, "lode": LODE}, sharpness=None), pilots=None)
)


def column(name: str, **settings: Setting) -> dict[str, str]:
    return {row[""]: row[name] for row in settings_table(settings).records()}


def test_accuracy_with_sharpness_in_brackets() -> None:
    assert column("M500", M500=M500) == {
        "fresh seeds": "4",
        "LODE, default": "94.50 ± 1.29 (6.48)",
        "Finer search": "91.00 ± 0.00 (6.48)",
        "Constant": "90.00 ± 0.00 (6.48), 1 diverged",
        "OneCycle": "92.00 ± 0.00 (6.48)",
        "runs of search, their seconds: the sweep": "100, 130",
        "LODE (sweep and pilots)": "200, 244",  # 130.4 + 113.7
        "finer search (with the sweep)": "200, 252",  # 130.4 + 121.3
    }


def test_what_a_setting_has_not_is_a_dash() -> None:
    shown = column("F600", M500=M500, F600=F600)
    assert list(shown) == list(column("M500", M500=M500, F600=F600))
    assert shown["LODE, default"] == "94.50 ± 1.29"
    for row in ("Finer search", "Constant", "LODE (sweep and pilots)"):
        assert shown[row] == "–"


def test_the_papers_controller_is_a_row_of_the_folder_with_its_sweep() -> None:
    paper = Setting(
        made.evaluation({"onecycle": [0.92] * 4, "lode": [0.8] * 4}, controller="paper")
    )
    other = Setting(made.evaluation({"onecycle": [0.7] * 4, "lode": LODE}, sweep="b"))
    found = with_paper({"P": paper, "M500": M500, "other": other})
    assert list(found) == ["M500", "other"]
    table = settings_table(found).records()
    row = next(one for one in table if one[""] == "LODE, paper")
    assert (row["M500"], row["other"]) == ("80.00 ± 0.00 (6.48)", "–")


@pytest.mark.parametrize("changes", [{"sweep": "b"}, {"seeds": [200, 201, 202, 203]}])
def test_a_paper_run_of_no_other_folder_is_refused(changes: dict[str, object]) -> None:
    tests = {"onecycle": [0.92] * 4, "lode": [0.8] * 4}
    paper = Setting(made.evaluation(tests, controller="paper", **changes))  # type: ignore[arg-type]
    with pytest.raises(ExperimentError, match=r"P: .* is paper, and no other folder"):
        with_paper({"M500": M500, "P": paper})


def test_folders_of_one_name_are_named_in_full() -> None:
    assert settings_table({"a/m": M500, "b/m": F600}).columns == ("", "a/m", "b/m")
    assert settings_table({"a/m": M500, "b/n": F600}).columns == ("", "m", "n")
