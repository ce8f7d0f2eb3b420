"""Replications: the differences, the pooled intervals, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from components.evaluation.results import Decisions, Evaluation, Gain, Setup
from components.experiments.command import ExperimentError
from components.experiments.replications import (
    NOT_RUN,
    decisions,
    heading,
    over_replications,
    over_seeds,
    replications_table,
)
from tests.experiments import made

ONECYCLE = [0.90, 0.91, 0.92, 0.93]
FIRST, SECOND = [0.01, 0.02, 0.03, 0.04], [0.00, -0.012, 0.033, 0.014]  # LODE minus it, two sweeps
BEST, FINER = "minus the sweep's best", "minus the finer search's"


def ahead_by(difference: list[float], sweep: str, **options: object) -> Evaluation:
    """LODE is ahead of OneCycle by so much, and of the finer search by half a point less."""
    tests = {
        "onecycle": ONECYCLE,
        "finer-search": [v + 0.005 for v in ONECYCLE],
        "lode": [v + d for v, d in zip(ONECYCLE, difference, strict=True)],
    }
    return made.evaluation(tests, sweep=sweep, **options)  # type: ignore[arg-type]


def points(values: list[float]) -> str:
    """Mean and Student's interval of differences, by scipy."""
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    shown = [f"{100 * v:+.2f}".replace("-", "−") for v in (np.mean(values), low, high)]
    text = f"{shown[0]} ({shown[1]} to {shown[2]})"
    return f"**{text}**" if low > 0 or high < 0 else text


def test_a_row_per_sweep() -> None:
    table = replications_table({"R1": ahead_by(FIRST, "a")})
    assert table.records() == [
        {
            "sweep seeds": "0–2",
            "the sweep's best": "OneCycle 0.05",
            "pilots' gain": "+0.72 ± 0.22",
            "plan": "adopted",
            BEST: points(FIRST),
            FINER: points([d - 0.005 for d in FIRST]),
            "n": "4",
        }
    ]
    assert points(FIRST).startswith("**+2.50 (+0.45")


def test_pooled_over_seeds_and_over_replications() -> None:
    found = {"R1": ahead_by(FIRST, "a"), "R2": ahead_by(SECOND, "b")}
    *_, seeds, replications, scatter = replications_table(found).records()
    by_seed = [(a + b) / 2 for a, b in zip(FIRST, SECOND, strict=True)]
    means = [float(np.mean(FIRST)), float(np.mean(SECOND))]
    assert (seeds["sweep seeds"], seeds[BEST], seeds["n"]) == (
        "**all 2, over seeds**",
        points(by_seed),
        "4",
    )
    assert seeds[FINER] == points([d - 0.005 for d in by_seed])
    assert (replications[BEST], replications["n"]) == (points(means), "2")
    assert replications[FINER] == points([m - 0.005 for m in means])
    assert scatter[BEST] == scatter[FINER] == f"{100 * np.std(means, ddof=1):.2f}"


def test_seeds_that_not_all_have_are_left_out_of_the_mean_over_seeds_alone() -> None:
    replications = [{"100": 0.01, "101": 0.03}, {"101": 0.05}, {}]
    assert over_seeds(replications[:2]) == {"101": pytest.approx(0.04)}
    assert over_replications(replications) == {"0": 0.02, "1": 0.05}


def test_a_diverged_run_takes_its_seed_out() -> None:
    one = made.evaluation({"onecycle": ONECYCLE, "lode": [None, *(v + 0.01 for v in ONECYCLE[1:])]})
    two = ahead_by(FIRST, "b")
    first, _, seeds, *_ = replications_table({"R1": one, "R2": two}).records()
    assert (first["n"], seeds["n"]) == ("3", "3, 4")  # 4: of the finer search, which R2 alone has


def test_without_a_finer_search_it_says_so() -> None:
    none = made.evaluation({"onecycle": ONECYCLE, "lode": ONECYCLE}, sweep="b")
    assert replications_table({"R2": none}).records()[0][FINER] == NOT_RUN
    mixed = replications_table({"R1": ahead_by(FIRST, "a"), "R2": none}).records()
    assert [row[FINER] for row in mixed[1:]] == [
        NOT_RUN,
        points([d - 0.005 for d in FIRST]),  # of R1 alone
        "+2.00",
        "–",
    ]
    assert [row["n"] for row in mixed[2:]] == ["4", "2, 1", "2, 1"]
    both = {"R2": none, "R3": replace(none, provenance=replace(none.provenance, runs_digest="c"))}
    assert [row[FINER] for row in replications_table(both).records()[2:]] == [NOT_RUN, NOT_RUN, "–"]


def test_an_exact_tie_and_a_finer_search_that_chose_the_sweeps_best() -> None:
    tests = {"onecycle": ONECYCLE, "finer-search": ONECYCLE, "lode": ONECYCLE}
    tie = made.evaluation(tests, finer=("onecycle", 0.05))
    tie = replace(tie, pilots=made.pilots(Gain(-0.0017, 0.0021, 20), adopted=False))
    row = replications_table({"R1": tie}).records()[0]
    assert (row["pilots' gain"], row["plan"]) == ("−0.17 ± 0.21", "refused")
    assert row[BEST] == "exact tie"
    assert row[FINER] == "exact tie: it chose the sweep's best"


def test_what_the_pilots_said_where_they_said_nothing() -> None:
    one = replace(ahead_by(FIRST, "a"), pilots=made.pilots(Gain(n=1), adopted=False))
    row = replications_table({"R1": one}).records()[0]
    assert (row["pilots' gain"], row["plan"]) == ("–", "refused")
    row = replications_table({"R1": replace(one, pilots=None)}).records()[0]
    assert (row["pilots' gain"], row["plan"]) == ("–", "no pilots")


def test_a_baseline_tuned_beside_the_sweep_is_not_the_sweeps_best() -> None:
    tests = {"onecycle": ONECYCLE, "linear": [0.95] * 4, "lode": [v + 0.01 for v in ONECYCLE]}
    one = made.evaluation(tests, best="linear")
    assert replications_table({"R1": one}).records()[0]["the sweep's best"] == "OneCycle 0.05"
    with pytest.raises(ExperimentError, match=r"R1: its best baseline, linear, .*lode evaluate"):
        replications_table({"R1": replace(one, pilots=None)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"setup": Setup(300, 100, None, [200, 201, 202, 203])},
            "fresh seeds 200–203, but 100–103",
        ),
        ({"setup": Setup(500, 100, None, list(made.SEEDS))}, "updates 500, but 300 in R1"),
        ({"setup": Setup(300, 50, None, list(made.SEEDS))}, "log points 50, but 100 in R1"),
        ({"task": "mnist1d-cnn"}, "task mnist1d-cnn, but digits-mlp in R1"),
    ],
)
def test_replications_are_of_one_setting(changes: dict[str, object], said: str) -> None:
    found = {"R1": ahead_by(FIRST, "a"), "R2": replace(ahead_by(SECOND, "b"), **changes)}  # type: ignore[arg-type]
    with pytest.raises(ExperimentError, match=f"R2: {said}.*lode evaluate --params R2/params.yaml"):
        replications_table(found)


def test_one_controller_and_every_sweep_once() -> None:
    first, paper = ahead_by(FIRST, "a"), ahead_by(FIRST, "a", controller="paper")
    with pytest.raises(ExperimentError, match="R2: controller paper, but default in R1"):
        replications_table({"R1": first, "R2": paper})
    with pytest.raises(ExperimentError, match="R2: the same runs as in R1; name it once"):
        replications_table({"R1": first, "R2": first})


def test_what_stands_around_the_table() -> None:
    one = ahead_by(FIRST, "a")
    other = replace(one, lode=replace(one.lode, decisions=Decisions(1200, {"no gain": 1200})))
    assert decisions({"R1": one, "R2": other}) == "LODE left its plan at 2 of 1,240 decisions."
    assert heading({"R1": one}).startswith("digits-mlp, 300 updates: LODE minus another")
