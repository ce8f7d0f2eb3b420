"""The law of a sweep: which runs it is fitted on, whether it fits, what it calls best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.schedulers.multi_power_law import Curves, LawError, MultiPowerLaw, optimal_schedule
from components.schedulers.plan import parametric_table
from components.schedulers.swept_law import (
    LEARNED,
    NODES,
    UNEXPLAINED,
    law_schedule,
    learned,
    nodes,
    unexplained,
)
from components.training.history import COMPLETED, DIVERGED, History
from components.training.run import RunSpec, log_steps

UPDATES, POINTS = 300, 30
STEPS = np.array([0.0, *log_steps(UPDATES, POINTS)])
# With what is left at the end small, so that runs fall below LEARNED of their first loss.
LAW = MultiPowerLaw(0.3, 0.3, 0.5, 0.2, 30.0, 0.8, 0.5, rate=0.1, total=30.0)
Losses = Callable[[str, float, int], np.ndarray]


def lawful(scheduler: str, peak: float, seed: int) -> np.ndarray:
    """(T,) what the law says, and a little noise."""
    table = parametric_table(scheduler, peak, UPDATES, POINTS)
    noise = np.random.default_rng([seed, len(scheduler), int(1e4 * peak)])
    exact = LAW.losses(STEPS, table[None])[0, 1:]
    found: np.ndarray = exact * np.exp(0.005 * noise.normal(size=POINTS))
    return found


def history(
    scheduler: str, peak: float, seed: int, losses: Losses = lawful, status: str = COMPLETED
) -> History:
    spec = RunSpec("digits-mlp", scheduler, peak, seed, UPDATES, POINTS)
    meta = vars(spec) | {"run_id": spec.run_id, "status": status}
    return History(pd.DataFrame({"train_loss": losses(scheduler, peak, seed)}), meta)


def sweep(
    *peaks: float,
    schedulers: tuple[str, ...] = ("constant", "cosine", "onecycle"),
    losses: Losses = lawful,
) -> list[History]:
    return [history(s, p, seed, losses) for s in schedulers for p in peaks for seed in (0, 1)]


@given(points=st.integers(1, 2000))
def test_nodes_are_few_and_have_both_ends(points: int) -> None:
    found = nodes(points)
    assert found[0] == 0 and found[-1] == points
    assert (np.diff(found) > 0).all() and len(found) <= NODES + 1


def test_a_run_that_falls_from_a_leap_to_chance_has_not_learned() -> None:
    losses = np.array([[2.3, 1.0, 0.5], [5.6, 3.0, 2.3], [2.3, 2.3, 2.31 * LEARNED], [2.2, 1, 1.6]])
    assert learned(losses).tolist() == [True, False, False, True]


def test_of_a_lawful_sweep_the_schedule_is_the_true_laws() -> None:
    """Of its largest peak, as nothing speaks against it; better than all that was swept."""
    found = law_schedule(sweep(0.02, 0.05, 0.1))
    table = np.array(found.table)
    assert len(table) == POINTS + 1 and table.min() > 0
    assert table.max() == pytest.approx(0.1)
    assert found.unexplained < 0.01 and found.curves == 3
    swept = [parametric_table(s, 0.1, UPDATES, POINTS) for s in ("constant", "cosine", "onecycle")]
    true = LAW.losses(STEPS, np.array([table, *swept]))[:, -1]
    assert true[0] < true[1:].min()
    best = LAW.losses(STEPS, optimal_schedule(LAW, STEPS, (0.1, 0.1))[None])[0, -1]
    assert true[0] < best + 0.2 * (true[1:].min() - best)
    assert law_schedule(sweep(0.02, 0.05, 0.1)) == found


def test_a_peak_whose_runs_end_worse_is_not_taken() -> None:
    """One law of all peaks would take the largest."""

    def too_high(scheduler: str, peak: float, seed: int) -> np.ndarray:
        return lawful(scheduler, peak, seed) * (1.5 if peak == 0.1 else 1.0)

    assert max(law_schedule(sweep(0.02, 0.05, 0.1, losses=too_high)).table) == pytest.approx(0.05)


def test_a_law_that_does_not_fit_is_not_used_though_it_promises_more() -> None:
    def erratic(scheduler: str, peak: float, seed: int) -> np.ndarray:
        if peak < 0.1:
            return lawful(scheduler, peak, seed)
        jumps = np.random.default_rng([seed, len(scheduler)]).normal(size=POINTS)
        jumps[-1] = -2.0
        return 0.1 * np.exp(jumps)

    assert max(law_schedule(sweep(0.02, 0.1, losses=erratic)).table) == pytest.approx(0.02)
    with pytest.raises(
        LawError,
        match=r"of the runs at peak lr 0.1: the law leaves \d+% of the variance of the log losses "
        r"unexplained, more than 50%",
    ):
        law_schedule(sweep(0.1, losses=erratic))


def test_runs_that_diverged_or_did_not_learn_teach_nothing() -> None:
    good = sweep(0.05)
    bad = [
        history("constant", 0.05, 2, lambda *_: np.full(POINTS, 9.0)),
        history("cosine", 0.05, 3, lambda *_: np.full(3, 1e9), DIVERGED),
        history("cosine", 0.5, 3, lambda *_: np.full(POINTS, 8.0)),
    ]
    assert law_schedule([*good, *bad]).table == law_schedule(good).table
    with pytest.raises(LawError, match="none of the 3 runs of the sweep has learned"):
        law_schedule(bad)


def test_where_every_schedule_has_peaks_of_its_own_there_is_one_law() -> None:
    """As of TPE."""
    drawn = [("constant", 0.03), ("cosine", 0.05), ("onecycle", 0.1), ("linear", 0.08)]
    found = law_schedule([history(name, peak, seed) for name, peak in drawn for seed in (0, 1)])
    assert found.curves == 4
    assert 0.03 <= max(found.table) <= 0.1 + 1e-9


def test_what_has_no_law_is_named() -> None:
    """Losses below 0, as of a density; and losses that round to nothing."""
    with pytest.raises(LawError, match="positive losses; the smallest of the sweep is -0"):
        law_schedule(sweep(0.05, losses=lambda *of: lawful(*of) - 1.0))

    def to_nothing(scheduler: str, peak: float, seed: int) -> np.ndarray:
        return np.append(lawful(scheduler, peak, seed)[:2], np.zeros(POINTS - 2))

    with pytest.raises(LawError, match=r"peak lr 0.05: .* at least 8 losses; there are 6"):
        law_schedule(sweep(0.05, losses=to_nothing))


def test_the_mean_alone_leaves_all_unexplained() -> None:
    rates = np.array([parametric_table("cosine", 0.1, UPDATES, POINTS)])
    losses = np.concatenate([[[np.nan]], lawful("cosine", 0.1, 0)[None]], 1)
    assert unexplained(LAW, Curves(STEPS, rates, losses)) < 0.01
    mean = MultiPowerLaw(float(np.exp(np.log(losses[0, 1:]).mean())), 1e-12, 1.0, 1e-12, 1, 1, 1)
    assert unexplained(mean, Curves(STEPS, rates, losses)) == pytest.approx(1.0, abs=1e-6)
    assert 0 < UNEXPLAINED < 1
