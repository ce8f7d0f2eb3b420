"""156 real runs of language models: cooldowns that go on from trunks, sparse validation, several
lengths, a metric of which less is better."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from components.evaluation.ranking import configurations
from components.importers.csv import CsvSource
from components.importers.importing import read_runs
from components.importers.request import Imported, Request

from .made import SHARED, target

DATA = SHARED / "llama-schedules"
GROUP = ("scheduler", "decay_type", "cooldown_fraction", "cos_final_lr")
CORE = tuple(
    {"dataset": "slimpajama", "model": "llama_norm", "n_layer": "12", "n_embd": "768"}.items()
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA} here"),
]


@pytest.fixture(scope="module")
def source() -> CsvSource:
    return CsvSource(DATA / "points.csv.gz", run="run", table=DATA / "runs.csv")


@cache
def asked(source: CsvSource, updates: int) -> Imported:
    """What would come in; nothing is written."""
    root = Path("nowhere")
    request = Request(
        100,
        match=CORE,
        group=GROUP,
        horizon="iterations",
        resumed_from="first_iter",
        updates=updates,
    )
    return read_runs(source, request, target(root), root / "state")


def test_trunks_and_cooldowns_are_joined_and_ranked(source: CsvSource) -> None:
    result = asked(source, 25_000)
    assert (result.listed, result.matched) == (156, 82)
    assert len(result.histories) == 22 and all(one.completed for one in result.histories)
    assert {run: (trunk, at) for run, trunk, at in result.joined} == {
        "14": ("214", 20_000),
        "28": ("214", 20_000),
        "44": ("214", 20_000),
        "64": ("214", 10_000),
        "78": ("214", 10_000),
    }
    reasons = list(result.left_out.values())
    assert reasons.count("resumed, and none of the runs has its beginning") == 29
    assert sum("updates long, not 25,000" in reason for reason in reasons) == 31
    ranked = sorted(configurations(result.histories), key=lambda one: -(one.validation.mean or 0))
    best = ranked[0]
    assert best.scheduler.startswith("wsd") and "cooldown_fraction=0.8" in best.scheduler
    assert best.peak_lr == 0.002 and best.validation.mean == pytest.approx(-2.988, abs=1e-3)


def test_a_joined_run_is_its_trunk_and_then_itself(source: CsvSource) -> None:
    result = asked(source, 25_000)
    joined = {one.meta["imported"]["id"]: one for one in result.histories}["44"]
    assert joined.meta["imported"]["trunk"] == "214"
    points = joined.points.set_index("step")
    np.testing.assert_allclose(points.loc[500:19_750, "lr"], 5e-4, rtol=1e-6)
    np.testing.assert_allclose(points.loc[22_500, "lr"], 2.5e-4, rtol=1e-2)
    logged = source.logs["214"].set_index("iter")["val_loss"].dropna()
    assert points.loc[10_000, "val_metric"] == -logged[10_000]
    own = source.logs["44"].set_index("iter")["val_loss"].dropna()
    assert points.loc[24_000, "val_metric"] == -own[24_000]


@pytest.mark.parametrize(("updates", "runs"), [(15_000, 18), (35_000, 11)])
def test_the_other_lengths_are_groups_of_their_own(
    source: CsvSource, updates: int, runs: int
) -> None:
    result = asked(source, updates)
    assert (result.updates, len(result.histories)) == (updates, runs)


def test_a_warm_up_shorter_than_a_log_interval_is_named(source: CsvSource) -> None:
    notes = asked(source, 35_000).notes
    assert any("a warm-up of 300 updates ends before the first log point" in one for one in notes)
    assert not any("warm-up" in note for note in asked(source, 15_000).notes)
