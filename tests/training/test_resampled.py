"""Logs of any kind become log points, by the rule in components/training/resampled.py."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.training.resampled import HELD_AT_END, LONGEST_GAP, LogError, resampled
from components.training.run import log_steps

N, T = 1000, 100


def dense(updates: int = N) -> pd.DataFrame:
    """A log of every update: linear in the step, so that interpolation is exact."""
    step = np.arange(1, updates + 1)
    return pd.DataFrame(
        {
            "step": step,
            "train_loss": 3 - 2 * step / updates,
            "val_metric": step / updates,
            "lr": 0.1 * (1 - step / updates),
            "elapsed_s": 0.5 * step,
        }
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_log_of_the_log_points_comes_out_bit_for_bit(data):
    points = data.draw(st.integers(1, 60), "T")
    updates = data.draw(st.integers(points, 3000), "N")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    log = pd.DataFrame(
        {
            "step": log_steps(updates, points),
            "train_loss": rng.lognormal(size=points),
            "val_metric": rng.normal(size=points),
            "lr": rng.random(points),
            "elapsed_s": np.sort(rng.random(points)),
            "val_loss": rng.normal(size=points),
        }
    )
    mixed = log.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        resampled(mixed, updates=updates, points=points), log, check_exact=True
    )


def test_the_loss_is_the_mean_since_the_last_point_and_the_rest_is_of_the_point():
    log = dense()
    log["train_loss"] = np.random.default_rng(0).normal(size=N)
    found = resampled(log, updates=N, points=T)
    np.testing.assert_allclose(
        found["train_loss"], log["train_loss"].to_numpy().reshape(T, -1).mean(1), rtol=1e-12
    )
    at = log.iloc[9::10].reset_index(drop=True)
    for name in ("step", "val_metric", "lr", "elapsed_s"):
        np.testing.assert_array_equal(found[name], at[name])


def test_what_is_logged_seldom_is_interpolated_in_the_step():
    log = dense()
    log.loc[log.index % 50 != 49, ["val_metric", "lr"]] = np.nan  # every 50 updates
    log.loc[log.index % 30 != 29, "train_loss"] = np.nan
    found, exact = (resampled(one, updates=N, points=T) for one in (log, dense()))
    after = found["step"] >= 50  # before the first value it is held
    for name in ("val_metric", "lr"):
        np.testing.assert_allclose(found[name][after], exact[name][after], rtol=1e-12)
        assert (found[name][~after] == found[name][4]).all()
    nothing = found["step"] % 30 == 10  # no loss since the point before; the last one is held
    expected = 3 - 2 * found["step"] / N
    np.testing.assert_allclose(
        found["train_loss"][nothing][1:-1], expected[nothing][1:-1], rtol=1e-12
    )


def test_a_row_at_step_0_is_where_the_metric_begins():
    log = dense().iloc[49::50]
    start = pd.DataFrame({"step": [0], "val_metric": [0.0]})
    found = resampled(pd.concat([log, start]), updates=N, points=T)
    np.testing.assert_allclose(found["val_metric"], found["step"] / N, rtol=1e-12)


def test_a_warm_up_between_two_log_points_is_seen_where_the_log_has_it():
    log = dense().iloc[99::100].drop(columns="lr")
    rates = pd.DataFrame({"step": [1, 35, N], "lr": [1e-3, 3.5e-2, 3.5e-2]})
    constant = pd.DataFrame({"step": [250, 500, 750], "lr": 3.5e-2})
    found = resampled(pd.concat([log, rates, constant]), updates=N, points=T)
    np.testing.assert_allclose(found["lr"][:3], [0.01, 0.02, 0.03], rtol=1e-12)
    np.testing.assert_allclose(found["lr"][3:], 0.035, rtol=1e-12)


def test_of_a_step_logged_twice_the_last_counts_column_by_column():
    log = dense()
    first = log[log["step"] <= 500].assign(train_loss=9.0, lr=9.0)
    partial = pd.DataFrame({"step": [300], "elapsed_s": [150.0]})  # nothing of the others
    found = resampled(pd.concat([first, log, partial]), updates=N, points=T)
    exact = resampled(log, updates=N, points=T)
    pd.testing.assert_frame_equal(found[list(exact.columns)], exact)


def test_a_run_that_ended_early_has_the_points_it_reached():
    log = dense().iloc[:437]
    found = resampled(log, updates=N, points=T, until=437)
    assert found["step"].tolist() == list(range(10, 431, 10))
    assert len(resampled(log.iloc[:5], updates=N, points=T, until=5)) == 0


def test_a_clock_that_begins_anew_never_runs_backwards_and_none_is_0():
    log = dense()
    log.loc[log["step"] > 500, "elapsed_s"] -= 250.0
    found = resampled(log, updates=N, points=T)["elapsed_s"]
    assert (np.diff(found) >= 0).all()
    assert (resampled(log.drop(columns="elapsed_s"), updates=N, points=T)["elapsed_s"] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda log: log.drop(columns="step"), "no column step"),
        (lambda log: log.iloc[:0], "nothing is logged"),
        (lambda log: log.drop(columns="lr"), "lr is never logged; log the optimizer's"),
        (lambda log: log.assign(val_metric=np.nan), "val_metric is never logged; evaluate"),
        (lambda log: log.assign(train_loss="a"), "train_loss is not all numbers"),
        (lambda log: log.assign(step=log["step"] + 0.5), "step 1.5 in row 1 is no whole number"),
        (lambda log: log.assign(step=log["step"] + 1), "step 1001 lies outside 0..1000"),
        (lambda log: log.assign(step=log["step"] - 2), "step -1 lies outside 0..1000"),
        (lambda log: log.assign(lr=-1.0), "lr is below 0"),
        (
            lambda log: log.assign(train_loss=log["train_loss"].where(log["step"] != 7, np.inf)),
            "train_loss is infinite in row 7; a run that diverged",
        ),
        (
            lambda log: log.iloc[:900],
            "train_loss is last logged at step 900 of 1000, and at most 50",
        ),
        (lambda log: log.iloc[300:], "train_loss is first logged at step 301"),
        (
            lambda log: log.assign(
                val_metric=log["val_metric"].where((log["step"] <= 400) | (log["step"] > 700))
            ),
            "val_metric is not logged between steps 400 and 701 of 1000, and at most 250",
        ),
    ],
)
def test_a_log_that_lacks_something_is_refused_with_the_remedy(change, message):
    with pytest.raises(LogError, match=re.escape(message)):
        resampled(change(dense()), updates=N, points=T)


def test_the_tolerances_are_those_that_are_documented():
    log, share = dense(), int(HELD_AT_END * N)
    metric = log["val_metric"].where(log["step"] <= N - share)
    assert len(resampled(log.assign(val_metric=metric), updates=N, points=T)) == T
    with pytest.raises(LogError, match="last logged"):
        late = log["val_metric"].where(log["step"] < N - share)
        resampled(log.assign(val_metric=late), updates=N, points=T)
    every = log["val_metric"].where(log["step"] % int(LONGEST_GAP * N) == 0)
    start = pd.DataFrame({"step": [0], "val_metric": [0.0]})
    found = resampled(pd.concat([log.assign(val_metric=every), start]), updates=N, points=T)
    np.testing.assert_allclose(found["val_metric"], found["step"] / N, rtol=1e-12)


def test_more_points_than_updates_are_refused():
    with pytest.raises(ValueError, match="must be at least points"):
        resampled(dense(), updates=5, points=6)
