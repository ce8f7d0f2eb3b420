"""Ask and tell: a whole study whose runs somebody else does, and what he may do wrong."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import load
from components.steps.pipeline import up_to_date
from components.steps.study import Study, StudyError
from components.storage.workspace import Workspace
from tests.tiny import ROOT, TINY, dotted

OWN = {"command": "nobody starts this", "metric": {"name": "val_loss", "goal": "minimize"}}
SIZE = {"task": "mine", "training.updates": 40, "training.points": 20}
SIZE["baselines.schedulers"] = ["multi-power-law"]  # found by whoever asks, told as rates


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make(tmp_path)


def make(folder: Path, **changes: Any) -> Study:
    path = folder / "params.yaml"
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    path.write_text(yaml.safe_dump(params | {"tasks": {"mine": OWN}}))
    return Study(load(path, TINY | SIZE | dotted(changes)), Workspace(folder))


def train(request: Path, rows: int | None = None) -> None:
    """What a cluster would: a loss that falls the faster the nearer the rate is to 0.03."""
    run = json.loads(request.read_text())
    rng, loss, lines = random.Random(run["seed"]), 2.3, ["step,train_loss,val_loss,elapsed_s"]
    for step, lr in enumerate(run["lr"], 1):
        loss -= 3 / run["updates"] * loss * math.exp(-abs(math.log(max(lr, 1e-9) / 0.03)))
        loss = abs(loss + 0.002 * rng.gauss(0, 1))
        if step in run["log_steps"]:
            lines.append(f"{step},{loss},{loss + 0.1},{step / 100}")
    request.with_suffix(".csv").write_text("\n".join(lines[:rows]) + "\n")


def test_asking_twice_gives_the_same_runs_and_telling_goes_on(study: Study, tmp_path: Path) -> None:
    first, again = study.ask(3, tmp_path / "jobs"), study.ask(3, tmp_path / "jobs")
    assert first == again and len(first) == 3
    assert study.status().step == "sweep" and study.status().waiting == 8
    for path in first:
        train(path)
    told = study.tell([tmp_path / "jobs"])
    assert len(told.taken) == 3 and not told.refused
    more = study.ask(100, tmp_path / "jobs")
    assert len(more) == 5 and not set(more) & set(first)
    assert study.status().done == 3 and study.status().seconds == pytest.approx(0.4)


def test_a_race_asks_for_its_second_round_when_it_was_told_the_first(tmp_path: Path) -> None:
    peaks, jobs = [0.001, 0.01, 0.02, 0.05], tmp_path / "jobs"
    study = make(tmp_path, sweep__sampler="racing", sweep__peak_lrs=peaks)
    first = study.ask(100, jobs)
    assert [json.loads(path.read_text())["seed"] for path in first] == [0] * 8
    for path in first[1:]:
        train(path)
    study.tell([jobs])
    assert study.ask(100, jobs) == first[:1], "who survives is not known before all have run"
    train(first[0])
    study.tell([jobs])
    second = study.ask(100, jobs)
    assert [json.loads(path.read_text())["seed"] for path in second] == [1, 1]
    assert study.status().step == "sweep" and study.status().waiting == 2


def test_what_is_told_wrongly_is_named_and_spoils_nothing(study: Study, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    good, half, waiting, told_before = study.ask(4, jobs)
    train(told_before)
    study.tell([told_before])
    train(good)
    train(half, rows=8)
    (jobs / "0123456789abcdef.csv").write_text(good.with_suffix(".csv").read_text())
    (jobs / "notes.csv").write_text("a")
    told = study.tell([jobs, jobs / "notes.csv", jobs / "nothing.json"])
    assert len(told.taken) == 1
    assert {name: why.partition(";")[0] for name, why in told.refused.items()} == {
        half.with_suffix(".csv").name: (
            f"{_described(half)}: train_loss is last logged at step 14 of 40, and at most 2 steps "
            "(5% of a run) are filled in"
        ),
        waiting.name: "has no log yet",
        told_before.with_suffix(".csv").name: "was told before, its history is there",
        "0123456789abcdef.csv": "nobody asks for this run: other settings, or another task?",
        "notes.csv": "is not named after a run: <run_id>.json or <run_id>.csv",
        "nothing.json": "is not named after a run: <run_id>.json or <run_id>.csv",
    }
    train(half)
    assert len(study.tell([half]).taken) == 1


def _described(request: Path) -> str:
    run = json.loads(request.read_text())
    return f"{run['scheduler']} {run['peak_lr']:g} seed {run['seed']}"


def test_a_whole_study(study: Study, tmp_path: Path) -> None:
    """Every process knows nothing but the files: each round is another object's."""
    steps, runs = list[str](), 0
    while asked := make(tmp_path).ask(50, tmp_path / "jobs"):
        standing = study.status()
        assert standing.waiting >= len(asked) or standing.step == "pilot"
        steps.append(standing.step)
        for path in asked:
            train(path)
        assert not make(tmp_path).tell(asked).refused
        runs += len(asked)
    assert steps[0] == "sweep" and steps[-1] == "train"
    assert up_to_date(study.settings, study.workspace)
    assert str(study.status()) == f"done: {runs} runs; `lode table` shows the result"
    page = study.workspace.page("mine").read_text()
    assert "val_loss" in page
    assert "8 of 8 runs logged no test metric: in its place stands their last" in page


def test_only_commands_are_handed_out(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="digits-mlp is no task whose runs can be handed out"):
        Study(load(ROOT / "params.yaml", TINY), Workspace(tmp_path))
