"""p-values that follow from what docs print."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from components.evaluation.statistics import holm, paired_difference
from components.experiments.adjusted import Shown, differences, main, p_of

PAGE = """Some text: +9.00 (+8.00 to +10.00)

| of | by |
|---|---|
| one | **+0.23** |
| two | **+0.21** (+0.07 to +0.34) and −0.09 (−0.22 to +0.03) |
| tie | exact tie |

| another | +1.00 (+0.50 to +1.50) |
"""


def test_differences_of_the_first_table() -> None:
    assert differences(PAGE) == [Shown("two", 0.21, 0.07, 0.34), Shown("two", -0.09, -0.22, 0.03)]
    assert differences(PAGE, "another")[0].mean == 1.0 and differences(PAGE, "nowhere") == []


def test_the_p_value_is_the_one_behind_the_interval() -> None:
    pair = paired_difference(dict(enumerate([0.3, 0.1, 0.4, 0.2])), dict.fromkeys(range(4), 0.0))
    assert pair.mean and pair.low and pair.high
    assert p_of(Shown("", pair.mean, pair.low, pair.high), 4) == pytest.approx(pair.p_value)


def test_it_prints_raw_and_adjusted(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    done = CliRunner().invoke(main, [str(page), "--seeds", "40"])
    raw = [p_of(one, 40) for one in differences(PAGE)]
    assert done.exit_code == 0 and [f"{p:.3f}" for p in holm(raw) if p and p < 0.1] == ["0.006"]
    assert "| two | +0.21 | 40 | 0.003 | 0.006 |" in done.output
    wrong = CliRunner().invoke(main, [str(page), "--seeds", "40,20,10"])
    assert wrong.exit_code != 0
