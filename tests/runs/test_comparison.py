"""What the comparison trains: baselines, the finer search, one configuration for every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.ranking import configurations, ranked_peaks
from components.runs.comparison import (
    FAMILIES,
    REACH,
    comparison,
    finer_configurations,
    tuning_jobs,
)
from components.storage.workspace import Workspace
from tests.lode.conftest import synthetic
from tests.tiny import tiny

SWEEP = [
    synthetic(scheduler, peak, seed)
    for scheduler in ("constant", "cosine", "onecycle")
    for peak in (0.01, 0.05)
    for seed in (0, 1)
]


@given(count=st.integers(0, 60))
def test_the_finer_search_surrounds_the_best_peaks_and_spends_no_more(count: int) -> None:
    found = finer_configurations(SWEEP, count)
    assert len(found) == FAMILIES * (count // FAMILIES)
    best = dict(ranked_peaks(SWEEP))
    for name, peak in found:
        assert best[name] / REACH * 0.99 <= peak <= best[name] * REACH * 1.01
        assert peak != best[name], "the sweep has that one"
    assert len(set(found)) == len(found)


def test_the_default_is_that_of_the_published_tables() -> None:
    """Ten peaks from 0.4 to 2.5 times the best one, of two schedulers."""
    found = finer_configurations(SWEEP, 20)
    name, best = ranked_peaks(SWEEP)[0]
    peaks = [peak for one, peak in found if one == name]
    assert peaks == [float(f"{best * f:.3g}") for f in np.geomspace(0.4, 2.5, 10)]


PEAKS = [0.001 * k for k in range(1, 11)]


@pytest.mark.slow
def test_every_row_has_one_configuration_and_every_run_is_trained_once(finished: Path) -> None:
    settings, workspace = tiny(), Workspace(finished)
    found = comparison(settings, workspace)
    chosen, finer = found.chosen, found.finer
    assert list(chosen) == ["constant", "linear", "onecycle", "pbt", "finer-search", "lode"]
    assert chosen["pbt"] == ("pbt", None) and chosen["lode"] == ("lode", None)
    assert len(finer) == 20, "as many runs as pilots"
    both = configurations([*found.sweep, *finer])
    best = max(both, key=lambda one: one.validation.mean or 0.0)
    assert chosen["finer-search"] == (best.scheduler, best.peak_lr)
    jobs = found.jobs
    configured = {(job.spec.scheduler, job.spec.peak_lr) for job in jobs}
    assert configured == set(chosen.values())
    assert len(jobs) == len({job.spec.run_id for job in jobs}) == 2 * len(configured)
    assert len(tuning_jobs(settings, workspace)) == 4 + 20  # linear's grid, the finer search


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, 20),
        ({"pilots__runs": 0}, 4),
        ({"lode__controller": "paper"}, 4),
        ({"sweep__seeds": [0]}, 20),
        ({"pilots__runs": 20, "sweep__seeds": list(range(11))}, 22),
        ({"pilots__runs": 0, "sweep__seeds": list(range(8)), "sweep__peak_lrs": PEAKS}, 40),
    ],
)
def test_what_a_finer_search_costs_with_and_without_pilots(
    changes: dict[str, Any], runs: int
) -> None:
    """Without them as many as they would be; every sweep seed at one new peak of two schedulers at
    least."""
    settings = tiny(lode__fit__held_out_seeds=0, **changes)
    assert settings.finer_runs == runs
    count = settings.finer_runs // len(settings.sweep.seeds)
    assert len(finer_configurations(SWEEP, count)) >= 2
