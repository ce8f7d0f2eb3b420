"""Table A1 on held-out runs: who is shown to whom, and the arithmetic of a row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.experiments.command import ExperimentError
from components.experiments.held_out import (
    Part,
    cells,
    check_alike,
    errors_of,
    held_out_table,
    in_folds,
    to_show,
    windows,
)
from components.experiments.yardsticks import series_of
from components.lode.channels import Channels
from tests.experiments import made

POINTS = 20
NO_CHANGE = Channels(0.0, 1e-3, (1e-3, 0.1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def runs(seeds: range, peak: float = 0.05) -> list[Any]:
    rng = np.random.default_rng(seeds.start)
    return [made.run(rng.uniform(0.1, 0.9, POINTS), seed=seed, peak=peak) for seed in seeds]


class Foreteller:
    """In place of a LODE: the truth, its metric off by `off` after the points that it was shown."""

    def __init__(self, truth: np.ndarray, off: float) -> None:
        self.truth, self.off = truth, off
        self.config = SimpleNamespace(channels=NO_CHANGE)

    def predict(self, times: np.ndarray, window: np.ndarray, asked: np.ndarray) -> np.ndarray:
        shown = window.shape[1]
        rows = [
            next(one for one in self.truth if np.array_equal(one[:shown], own)) for own in window
        ]
        found = np.stack(rows)
        found[:, shown:, 1] += self.off
        return found


def parts(offs: tuple[float, ...]) -> list[Part]:
    """One for each, each shown four seeds of its own."""
    tested = [runs(range(10 * k, 10 * k + 4)) for k in range(1, len(offs) + 1)]
    truth = series_of([run for some in tested for run in some])
    fitted = runs(range(3))
    return [
        Part(Foreteller(truth, off), fitted, own)  # type: ignore[arg-type]
        for off, own in zip(offs, tested, strict=True)
    ]


def test_windows_are_both_neighbours_where_a_share_is_no_whole_point() -> None:
    assert windows(100) == [(0.05, 5), (0.5, 50)]
    assert windows(60) == [(0.05, 3), (0.5, 30)]
    assert windows(50) == [(0.05, 2), (0.05, 3), (0.5, 25)]
    assert windows(20) == [(0.05, 2), (0.5, 10)], "at least two points"


def test_every_seed_is_held_out_once() -> None:
    all_ = [*runs(range(7)), *runs(range(7), peak=0.01)]
    splits = in_folds(all_, 3)
    shown = [sorted({run.meta["seed"] for run in tested}) for _, tested in splits]
    assert shown == [[0, 3, 6], [1, 4], [2, 5]]
    for fitted, tested in splits:
        assert len(fitted) + len(tested) == len(all_)
        assert not {run.run_id for run in fitted} & {run.run_id for run in tested}


@pytest.mark.parametrize("folds", [1, 8])
def test_folds_are_no_more_than_seeds(folds: int) -> None:
    with pytest.raises(ExperimentError, match=f"--folds {folds}: must lie between 2 and the 7"):
        in_folds(runs(range(7)), folds)


def test_runs_that_were_fitted_are_not_shown() -> None:
    fitted, tested = to_show(runs(range(3)), runs(range(5)))
    assert [run.meta["seed"] for run in fitted] == [0, 1, 2]
    assert [run.meta["seed"] for run in tested] == [3, 4]


def test_runs_of_several_settings_or_grids_are_refused() -> None:
    short = [made.run([0.1, 0.2, 0.3], seed=9)]
    with pytest.raises(ExperimentError, match=r"differ in updates \(200, 30\)"):
        check_alike([(runs(range(3)), short)])
    with pytest.raises(ExperimentError, match="3 runs to fit and 3 to show are not of the same"):
        check_alike([(runs(range(3)), runs(range(3, 6), peak=0.01))])
    with pytest.raises(ExperimentError, match="3 runs to fit and 0 to show"):
        check_alike([to_show(runs(range(3)), runs(range(3)))])
    check_alike([(runs(range(3)), runs(range(3, 6)))])


def test_errors_are_relative_to_the_variance_over_all_parts() -> None:
    found = parts((0.1, 0.2))
    variance = series_of([run for part in found for run in part.tested])[..., 1].var()
    error, unseen = errors_of(found, seen=5)
    off = np.repeat([0.1, 0.2], 4) ** 2 / variance
    assert unseen == pytest.approx(off)
    assert error[:, 1] == pytest.approx(off * 15 / 20), "nothing is off over the first five points"
    assert np.abs(error[:, [0, 2]]).max() < 1e-12


def test_a_row_of_the_table() -> None:
    error = np.zeros((100, 3))
    error[:, 1] = [*[0.01] * 98, 0.51, 0.51]  # mean 0.02, and half of it in the worst two
    nothing = np.full(100, np.nan)
    row = cells(error, error[:, 1] * 2, np.full(100, 0.161), nothing)
    assert row == [
        "0.020 ± 0.007",  # 0.5 · √(0.02 · 0.98) / √100
        "0.010",
        "51%",
        "0.040",
        "0.161",
        "–",
        "0.000 ± 0.000",
        "0.000 ± 0.000",
    ]


def test_the_table_has_a_row_per_window() -> None:
    rows = held_out_table(parts((0.1, 0.2))).records()
    assert [(row["share seen"], row["points"]) for row in rows] == [
        ("5%", "2 of 20"),
        ("50%", "10 of 20"),
    ]
    assert rows[0]["mean"] == rows[1]["mean"], "that yardstick sees nothing of a run"
    assert rows[0]["train loss"] == "0.000 ± 0.000"
