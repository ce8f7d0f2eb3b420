import math
import random

import numpy as np
import pytest

from components.evaluation.accuracy import scheduler_entry
from components.evaluation.errors import EvaluationError
from components.evaluation.ranking import (
    best_configuration,
    best_configurations,
    configurations,
    ranked_peaks,
)
from components.evaluation.results import Price
from components.evaluation.rows import distinct, group_runs
from components.evaluation.walltime import decision_shares, seconds_per_epoch, total_seconds


def test_the_best_mean_over_seeds_is_chosen_per_scheduler(synthetic):
    chosen = best_configurations(synthetic.sweep())
    assert chosen == {"constant": 0.01, "cosine": 0.01, "exp-decay": 0.01, "onecycle": 0.05}
    ranked = ranked_peaks(synthetic.sweep())
    best = best_configuration(synthetic.sweep())
    assert ranked[0] == (best.scheduler, best.peak_lr) == ("onecycle", 0.05)
    assert dict(ranked) == chosen
    merit = {(c.scheduler, c.peak_lr): c.validation.mean for c in configurations(synthetic.sweep())}
    assert [merit[one] for one in ranked] == sorted((merit[one] for one in ranked), reverse=True)


def test_one_lucky_seed_does_not_win(synthetic):
    steady = [synthetic.history("cosine", 0.01, seed, level=0.90) for seed in range(3)]
    lucky = [synthetic.history("cosine", 0.05, s, level=v) for s, v in enumerate((0.99, 0.8, 0.8))]
    assert best_configurations(steady + lucky) == {"cosine": 0.01}


def runs_of(synthetic, peak, levels):
    return [synthetic.history("cosine", peak, s, level=v) for s, v in enumerate(levels)]


def test_what_a_race_dropped_does_not_win_by_the_ease_of_its_seed(synthetic):
    """Seed 0 is an easy one: what was dropped has a better mean, and was worse on it."""
    survived = runs_of(synthetic, 0.01, (0.95, 0.85, 0.84, 0.86, 0.85))
    dropped = runs_of(synthetic, 0.05, (0.94,))
    found = configurations(survived + dropped)
    assert [one.dropped for one in found] == [False, True]
    assert found[1].validation.mean > found[0].validation.mean
    assert best_configurations(dropped + survived) == {"cosine": 0.01}
    assert best_configuration(survived + dropped).peak_lr == 0.01


def test_fewer_runs_may_win_where_they_beat_the_others_on_the_same_seeds(synthetic):
    """Others' runs: one configuration was repeated, which does not make it the best."""
    repeated = runs_of(synthetic, 0.01, (0.85, 0.85, 0.84, 0.86, 0.85))
    once = [synthetic.history("cosine", 0.05, seed, level=0.94) for seed in (0,)]
    elsewhere = [synthetic.history("cosine", 0.1, seed, level=0.96) for seed in (77,)]
    assert best_configurations(repeated + once) == {"cosine": 0.05}
    assert best_configurations(repeated + once + elsewhere) == {"cosine": 0.1}
    two_of_four = runs_of(synthetic, 0.05, (0.9, 0.9))
    assert not configurations(repeated[:4] + two_of_four)[1].dropped, "half of the runs is enough"


def test_test_metrics_play_no_part(synthetic):
    sweep = synthetic.sweep()
    before = (best_configurations(sweep), best_configuration(sweep))
    for run in sweep:  # the validation's losers get the best test metrics
        run.meta["test_metric"] = 1.0 - run.meta["test_metric"]
    assert (best_configurations(sweep), best_configuration(sweep)) == before


def test_the_best_validation_point_counts_not_the_last(synthetic):
    early = synthetic.history("cosine", 0.01, 0, level=0.90)
    early.points.loc[early.points["point"] == 20, "val_metric"] = 0.97
    late = synthetic.history("cosine", 0.05, 0, level=0.93)
    assert best_configurations([early, late]) == {"cosine": 0.01}


def test_a_diverged_seed_counts_as_the_worst_of_the_sweep(synthetic):
    runs = [synthetic.history("cosine", 0.01, seed, level=0.90) for seed in range(4)]
    runs += [
        synthetic.history("cosine", 0.05, seed, level=0.95, diverged=seed == 0) for seed in range(4)
    ]
    worst = min(run.points["val_metric"].min() for run in runs)
    assert best_configurations(runs) == {"cosine": 0.01}
    broken = next(c for c in configurations(runs) if c.peak_lr == 0.05)
    good = [run.points["val_metric"].max() for run in runs[5:]]
    assert broken.validation.mean == pytest.approx((sum(good) + worst) / 4)
    assert broken.diverged == 1 and broken.validation.n == 4


def test_a_scheduler_that_always_diverges_is_shown_not_dropped(synthetic):
    runs = [synthetic.history("cosine", 0.01, 0)]
    runs += [synthetic.history("constant", p, 0, diverged=True) for p in (0.05, 0.01)]
    assert best_configurations(runs) == {"constant": 0.01, "cosine": 0.01}


def test_ties_and_the_order_of_files_do_not_matter(synthetic):
    runs = synthetic.sweep()
    for run in runs:
        run.points["val_metric"] = 0.5
    shuffled = list(runs)
    random.Random(1).shuffle(shuffled)
    assert best_configurations(runs) == best_configurations(shuffled)
    assert set(best_configurations(runs).values()) == {min(synthetic.PEAKS)}
    best = best_configuration(shuffled)
    assert (best.scheduler, best.peak_lr) == ("constant", min(synthetic.PEAKS))


def test_a_sweep_without_validation_values_says_so(synthetic):
    run = synthetic.history("cosine", 0.01, 0)
    run.points = run.points.iloc[:0]
    with pytest.raises(EvaluationError, match=r"logged a validation metric.*lode sweep"):
        best_configurations([run])


def test_an_entry_is_of_the_completed_seeds(synthetic):
    runs = [synthetic.history("cosine", 0.01, s, sharpness=True) for s in (105, 100, 101, 104)]
    runs.append(synthetic.history("cosine", 0.01, 103, diverged=True))
    price = Price(search=9, learning=0.0, factor=1.0, note="")
    cosine = scheduler_entry(runs, price)
    assert (cosine.scheduler, cosine.peak_lr, cosine.price) == ("cosine", 0.01, price)
    assert (cosine.diverged, cosine.test.n, cosine.test_by_seed["103"]) == (1, 4, None)
    assert list(cosine.test_by_seed) == ["100", "101", "103", "104", "105"]
    values = [v for v in cosine.test_by_seed.values() if v is not None]
    assert cosine.test.mean == pytest.approx(sum(values) / 4)
    assert cosine.sharpness.n == 4 and cosine.sharpness_residual == 1e-4


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_run_whose_test_metric_is_no_number_has_no_result(synthetic, value):
    runs = [synthetic.history("cosine", 0.01, seed) for seed in range(3)]
    runs[1].meta["test_metric"] = value
    found = scheduler_entry(runs, Price(9, 0.0, 1.0, ""))
    assert (found.test_by_seed["1"], found.test.n, found.diverged) == (None, 2, 1)


def test_each_row_has_the_runs_of_its_configuration(synthetic):
    rows = group_runs(synthetic.scheduled(), synthetic.chosen(), range(100, 106))
    assert list(rows) == ["constant", "cosine", "exp-decay", "onecycle", "lode"]
    for row, runs in rows.items():
        assert {h.configuration for h in runs} == {synthetic.chosen()[row]}
        assert [h.meta["seed"] for h in runs] == list(range(100, 106))
    both = {"onecycle": ("onecycle", 0.05), "finer-search": ("onecycle", 0.05)}
    shared = group_runs(synthetic.scheduled(), both, [100])
    assert shared["onecycle"] == shared["finer-search"] and len(distinct(shared)) == 1


def test_walltime(synthetic):
    runs = [synthetic.history("cosine", 0.01, seed) for seed in range(3)]
    runs.append(synthetic.history("cosine", 0.01, 3, diverged=True))
    runs[3].meta["seconds_per_epoch"] = 100.0
    found = seconds_per_epoch(runs)
    assert found.n == 3 and found.mean < 1
    assert total_seconds(runs) == pytest.approx(3 * 2.0 + 0.5)
    assert decision_shares(runs).n == 0, "earlier runs do not say"
    for run in runs[:2]:  # of 2 epochs' 2 seconds each
        run.points["epoch"] = np.linspace(0, 2, len(run.points))
        run.meta |= {"seconds_per_epoch": 2.0, "decision_seconds": 0.04 + run.meta["seed"] * 0.08}
    shares = decision_shares(runs)
    assert (shares.mean, shares.n) == (pytest.approx(0.02), 2)
