"""The LODE beside the nearest run that was fitted."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from components.experiments import outside_lode
from components.experiments.outside_lode import nearest, relative
from components.lode.settings import FitSettings
from tests.experiments.test_llama_schedules import DATA, real


def test_the_nearest_run_is_told_by_what_was_seen_alone() -> None:
    known = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    metrics = np.array([[1.1, 2.1, 99.0], [4.9, 6.1, -99.0]])
    np.testing.assert_array_equal(nearest(known, metrics, 2), known)


def test_errors_are_shares_of_the_variance_late_ones_of_the_late_one() -> None:
    true = np.arange(20.0).reshape(2, 10) ** 2
    mean = np.full_like(true, true.mean())
    late = np.full_like(true, true[:, 2:].mean())
    assert relative(mean, true)[:, 0].mean() == pytest.approx(1.0)
    assert relative(late, true)[:, 1].mean() == pytest.approx(1.0)


@real
@pytest.mark.slow
def test_it_prints_a_row_for_each_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside_lode, "FitSettings", lambda: FitSettings(updates=20))
    said = CliRunner().invoke(outside_lode.main, [str(DATA), "--horizon", "15000"])
    assert said.exit_code == 0, said.output
    rows = [line for line in said.output.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["5%", "50%"]
