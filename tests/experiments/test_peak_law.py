"""The law whose parameters change with the peak, against the one whose do not."""

from __future__ import annotations

import numpy as np
import pytest

from components.experiments.peak_law import PeakLaw, fit_peak_law
from components.schedulers.multi_power_law import PARAMETERS, LawError, MultiPowerLaw

STEPS = np.arange(0.0, 101.0, 4.0)
TRUE = np.log([2.6, 0.4, 0.5, 0.3, 5.0, 0.5, 0.5])


def schedules(peaks: tuple[float, ...] = (0.5e-3, 1e-3, 2e-3)) -> np.ndarray:
    """Warm-up, plateau, linear cooldown over .1, .4 or .8 of the run."""
    share = STEPS / STEPS[-1]
    falls = [np.minimum(1.0, (1 - share) / cooldown) for cooldown in (0.1, 0.4, 0.8)]
    rise = np.minimum(1.0, 0.01 + share / 0.05)
    return np.array([peak * rise * fall for peak in peaks for fall in falls])


def law(slopes: float) -> PeakLaw:
    rates = schedules()
    total = float(np.trapezoid(rates, STEPS).max())
    return PeakLaw(np.stack([TRUE, slopes * np.ones(7)]), float(rates.max()), total)


def test_without_slopes_it_is_the_multi_power_law() -> None:
    own = law(0.0)
    named = dict(zip(PARAMETERS, np.exp(TRUE).tolist(), strict=True))
    other = MultiPowerLaw(**named, rate=own.rate, total=own.total)
    found, expected = (one.losses(STEPS, schedules())[:, 1:] for one in (own, other))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_slope_changes_runs_below_the_largest_peak_alone() -> None:
    flat, steep = (law(slope).losses(STEPS, schedules())[:, 1:] for slope in (0.0, 0.1))
    np.testing.assert_allclose(flat[-3:], steep[-3:])
    assert (np.abs(flat[:6] - steep[:6]) > 1e-3).all()


def test_it_foretells_a_peak_that_was_not_fitted() -> None:
    true = law(0.15).losses(STEPS, schedules())
    fitted = fit_peak_law([(STEPS, schedules()[:6], true[:6])])
    foretold = fitted.losses(STEPS, schedules())[:, -1]
    assert fitted.error < 1e-3
    assert np.abs(foretold / true[:, -1] - 1).max() < 0.01
    assert np.abs(foretold[:6] / true[:6, -1] - 1).max() < 1e-3


def test_losses_before_a_fifth_of_the_run_do_not_count() -> None:
    losses = law(0.1).losses(STEPS, schedules())
    odd = losses.copy()
    odd[:, STEPS < 20] = np.nan
    one, two = (fit_peak_law([(STEPS, schedules(), own)]) for own in (losses, odd))
    np.testing.assert_array_equal(one.parameters, two.parameters)


def test_what_no_law_can_be_fitted_on_is_said() -> None:
    with pytest.raises(LawError, match="at least one run"):
        fit_peak_law([])
    losses = law(0.0).losses(STEPS, schedules())
    losses[0, -1] = -0.5
    with pytest.raises(LawError, match=r"the smallest is -0\.5"):
        fit_peak_law([(STEPS, schedules(), losses)])
