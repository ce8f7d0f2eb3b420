"""The two yardsticks of Table A1."""

from __future__ import annotations

import numpy as np
import pytest

from components.experiments.yardsticks import mean_errors, ridge, ridge_errors
from tests.experiments import made


def test_the_mean_of_the_configurations_fitted_runs() -> None:
    fitted = [
        made.run([0.1, 0.2, 0.3], seed=0),
        made.run([0.3, 0.4, 0.5], seed=1),  # mean 0.2, 0.3, 0.4
        made.run([0.9, 0.9, 0.9], seed=0, peak=0.01),
    ]
    tested = [
        made.run([0.2, 0.3, 0.7], seed=2),
        made.run([0.9, 0.8, 0.7], seed=2, peak=0.01),
    ]
    expected = [0.3**2 / 3, (0.1**2 + 0.2**2) / 3]
    assert mean_errors(fitted, tested) == pytest.approx(expected)


def test_the_ridge_foretells_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(60, 2))
    whole = windows @ rng.normal(size=(2, 5)) + 3
    assert np.abs(ridge(windows, whole) - whole).max() < 0.1 * whole.std()


def test_a_run_is_foretold_by_others_alone() -> None:
    rng = np.random.default_rng(1)
    windows, whole = rng.normal(size=(30, 2)), rng.normal(size=(30, 4))
    before = ridge(windows, whole)
    whole[7] += 100.0
    changed = np.abs(ridge(windows, whole) - before).max(1) > 1e-9
    assert not changed[7]
    assert changed.sum() >= 24, "those of the other folds learned from it"


def test_the_ridge_is_fitted_by_configuration() -> None:
    """Of one configuration the end is the opposite of the other's: together nothing is foretold."""
    rng = np.random.default_rng(2)
    starts = rng.uniform(0.3, 0.7, 40)
    runs = [made.run([a, a, a], seed=i) for i, a in enumerate(starts)]
    runs += [made.run([a, a, 1 - a], seed=i, peak=0.01) for i, a in enumerate(starts)]
    errors = ridge_errors(runs, seen=2)
    assert errors.shape == (80,)
    assert errors.mean() < 0.01 * starts.var()


def test_of_a_configuration_with_two_runs_it_says_nothing() -> None:
    runs = [made.run([0.1 * seed, 0.2, 0.3], seed=seed) for seed in range(4)]
    runs += [made.run([0.1, 0.2, 0.3], seed=seed, peak=0.01) for seed in range(2)]
    errors = ridge_errors(runs, seen=2)
    assert np.isfinite(errors[:4]).all()
    assert np.isnan(errors[4:]).all()
