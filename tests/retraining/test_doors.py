"""The nightly commands as a user meets them, in a clone with Git and DVC; checks of any runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from components.cli.main import cli
from components.retraining.collection import fresh_seeds
from components.training.history import digest, read_histories
from components.validation.errors import ValidationError
from components.validation.imported import check_runs
from tests.validation.conftest import N, T, make_history

from .conftest import TASK, lode


@pytest.mark.slow
def test_a_night_its_versions_the_way_back_and_its_histories(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = lode("retrain", root=clone)
    last = said.splitlines()[-1]  # after how far its fit was
    assert last.startswith(f"retrain {TASK}: lode-{TASK} version 2 ")
    assert "nothing new in 27 runs" in lode("retrain", root=clone)
    head, new, old = lode("versions", root=clone).splitlines()
    assert head.split()[:4] == ["version", "alias", "registered", "decision"]
    assert new.startswith("2 ") and "challenger" in new and old.startswith("1 ")
    assert "promoted" in new or "refused" in new
    revision = lode("histories", root=clone).splitlines()[1].split()[0]
    assert revision in new, "the registered version names the histories it learned from"

    if "champion" in new:
        back = lode("rollback", "--yes", "--why", "a test", root=clone)
        assert back.endswith(f"lode-{TASK}@champion is version 1 again, no longer version 2\n")
    else:
        back = lode("rollback", "--yes", "--to", "2", root=clone)
        assert "is version 2 again, no longer version 1" in back
    assert "rolled back" in lode("versions", root=clone)

    shutil.rmtree(clone / ".dvc" / "cache")
    params = str(clone / "params.yaml")
    command = ["histories", "--params", params, "at", revision, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.output.startswith(f"23 histories of {TASK} in {tmp_path / 'out'}")
    assert digest(read_histories(tmp_path / "out"))[:12] in new


def test_what_is_bad_is_quarantined_with_its_reason_and_too_much_stops() -> None:
    good = [make_history("constant", 0.01, seed) for seed in range(20)]
    twice, wild, short, back = (make_history("cosine", 0.05, seed) for seed in range(4))
    twice.points.loc[3, "point"] = 3
    wild.points.loc[5, "train_loss"] = np.inf
    short.points = short.points.iloc[:-1]
    back.points.loc[4, "step"] = 1
    arguments: dict[str, Any] = {"task": TASK, "updates": N, "points": T}
    checked = check_runs([*good, twice, wild, short, back], **arguments)
    assert checked.accepted == good
    reasons = {bad.run_id: bad.reasons[0]["problem"] for bad in checked.bad}
    assert reasons[short.run_id] == f"completed, but not with T = {T} points"
    assert reasons[back.run_id] == "steps do not increase strictly"
    assert reasons[wild.run_id].startswith("train_loss outside [0, 100]")
    assert reasons[twice.run_id] == "points do not increase strictly"
    with pytest.raises(ValidationError, match=r"3 of 5 histories .* bad, more than 20%: .*broken"):
        check_runs([*good[:2], wild, short], unreadable={"broken": "truncated"}, **arguments)


def test_fresh_seeds_follow_from_the_set_and_avoid_what_is_taken() -> None:
    first = [seed for seed, _ in zip(fresh_seeds("ab" * 32, set()), range(5), strict=False)]
    assert len(set(first)) == 5 and min(first) >= 10_000
    again = fresh_seeds("ab" * 32, set(first[:1]))
    assert [next(again) for _ in range(4)] == first[1:]
    assert next(fresh_seeds("cd" * 32, set())) not in first
