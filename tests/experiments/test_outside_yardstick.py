"""The commands on the public runs: what they ask of made-up parts, and print of the real ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner

from components.experiments import outside_splits, outside_yardstick
from components.experiments.outside_splits import (
    PREDICTORS,
    Part,
    other_peaks,
    other_shapes,
    questions,
    score,
)
from tests.experiments.test_llama_schedules import DATA, real
from tests.experiments.test_peak_law import STEPS, law, schedules

T = 100


def part(updates: int = 15_000) -> Part:
    """A law's losses: three peaks, three cooldowns."""
    at = np.arange(T + 1.0)
    tables = np.array([np.interp(at, STEPS, own) for own in schedules()])
    losses = law(0.1).losses(at, tables)[:, 1:]
    return Part(updates, tables, losses, -losses, np.array(["a", "b", "c"] * 3))


def test_every_shape_and_every_peak_is_asked_about_once_and_was_not_fitted() -> None:
    whole = part()
    shapes, peaks = list(other_shapes(whole)), list(other_peaks(whole))
    assert [len(split) for split in (shapes, peaks)] == [3, 3]
    for fitted, asked in shapes:
        assert not set(fitted.shapes) & set(asked.shapes)
    for fitted, asked in peaks:
        assert not set(fitted.tables.max(1)) & set(asked.tables.max(1))
    for splits in (shapes, peaks):
        assert sum(len(asked.tables) for _, asked in splits) == 9
        assert all(len(fitted.tables) + len(asked.tables) == 9 for fitted, asked in splits)


def test_a_longer_horizon_is_asked_about_from_the_shorter_alone() -> None:
    parts = [part(15_000), part(25_000), part(35_000)]
    found = questions(parts)
    assert found["35,000 from 25,000"] == [(parts[1], parts[2])]
    assert len(found) == 8


def test_a_perfect_predictor_has_no_error_and_the_contrary_one_the_worst_pick() -> None:
    whole = part()
    assert score(lambda fitted, asked: asked.metrics[:, -1], whole, whole) == (0.0, 1.0, 0.0)
    _, rank, lost = score(lambda fitted, asked: -asked.metrics[:, -1], whole, whole)
    assert rank == pytest.approx(-1.0)
    assert lost == pytest.approx(np.ptp(whole.metrics[:, -1]))


@pytest.mark.parametrize("name", ["peak-law", "process-on-law"])
def test_a_law_of_these_runs_foretells_the_shapes_that_it_was_not_shown(name: str) -> None:
    fitted, asked = next(other_shapes(part()))
    rms, _, _ = score(PREDICTORS[name], fitted, asked)
    assert rms < 0.1 * np.ptp(asked.metrics[:, -1])


@real
@pytest.mark.slow
def test_the_replay_prints_a_table_for_each_horizon() -> None:
    asked = [str(DATA), "--only", "random", "--games", "3"]
    said = CliRunner().invoke(outside_yardstick.main, asked)
    assert said.exit_code == 0, said.output
    assert said.output.count("| random | 3 |") == 3
    assert "25,000 updates: 36 schedules, the best 3.0234 nats" in said.output


@real
@pytest.mark.slow
def test_the_splits_print_a_row_for_each_question(monkeypatch: pytest.MonkeyPatch) -> None:
    only = {"peak-law": PREDICTORS["peak-law"]}
    monkeypatch.setattr(outside_splits, "PREDICTORS", only)
    said = CliRunner().invoke(outside_splits.main, [str(DATA)])
    assert said.exit_code == 0, said.output
    head, _, *rows = [line for line in said.output.splitlines() if line.startswith("|")]
    assert head == "| asked about | peak-law |"
    assert len(rows) == 8
    assert all(re.fullmatch(r"\| .* \| 0\.\d{4} · 0\.\d\d · 0\.\d{4} \|", row) for row in rows)
