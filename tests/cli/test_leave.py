"""`lode export` and `lode explain` on a finished tiny pipeline."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from components.cli.main import main
from components.lode.names import PLAN
from components.lode.plan_file import read_plan
from components.storage.workspace import Workspace
from components.training.history import History, read_histories, write_history
from tests import tiny


@pytest.fixture
def lode(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Types a command in the finished workspace; returns exit code, output and errors."""
    monkeypatch.chdir(finished)

    def typed(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lode", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return typed


def test_the_plan_leaves_as_json_csv_and_svg(lode, finished: Path, tmp_path: Path) -> None:
    path = Workspace(finished).lode(tiny.TASK) / PLAN
    plan = read_plan(path)
    assert lode("export") == (0, path.read_text(), "")
    assert lode("export", "--out", tmp_path / "p.json")[0] == 0
    assert read_plan(tmp_path / "p.json") == plan
    assert lode("export", "--out", tmp_path / "p.csv") == (0, f"{tmp_path / 'p.csv'}\n", "")
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [(float(r["share_of_training"]), float(r["learning_rate"])) for r in rows] == list(
        plan.rates
    )
    assert lode("export", "--format", "svg", "--out", tmp_path / "p.svg")[0] == 0
    drawn = (tmp_path / "p.svg").read_text()
    assert "the plan" in drawn and "the sweep's best" in drawn and "peak" in drawn


def test_the_registered_plan_is_that_of_the_folder(lode, finished: Path) -> None:
    model = f"models:/lode-{tiny.TASK}@champion"
    assert lode("export", "--model", model) == lode("export")
    code, _, said = lode("export", "--model", "models:/lode-x@champion")
    assert code == 1 and "does not exist" in said


def test_without_a_lode_it_says_what_to_run(lode, workspace: Path, tmp_path: Path) -> None:
    code, out, said = lode("export", "--params", workspace / "params.yaml")
    assert (code, out) == (1, "") and "run `lode fit` first" in said


def scheduled(root: Path) -> History:
    runs = read_histories(Workspace(root).scheduled(tiny.TASK))
    return next(run for run in runs if run.meta["scheduler"] == "lode")


def test_a_run_is_explained_by_its_decisions(lode, finished: Path, tmp_path: Path) -> None:
    run = scheduled(finished)
    code, out, _ = lode("explain", run.run_id, "--out", tmp_path / "why.svg")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{tiny.TASK} lode seed {run.meta['seed']}, {run.run_id}"
    assert len(lines) == 1 + 2 + len(run.meta["decisions"]) + 1
    assert all(("kept: " in line) or ("moved: " in line) for line in lines[3:-1])
    assert "expected gain" in (tmp_path / "why.svg").read_text()
    file = Workspace(finished).scheduled(tiny.TASK) / f"{run.run_id}.parquet"
    assert lode("explain", file, "--out", tmp_path / "why.svg")[1] == out


def test_a_decision_that_moved_the_rate_says_from_where_to_where(
    lode, finished: Path, tmp_path: Path
) -> None:
    run = scheduled(finished)
    first = {"kept": None, "lrs": [0.1, 0.2], "replaced": [0.1, 0.05], "predicted": 0.9}
    run.meta["decisions"][0] |= first | {"gain": 0.01, "gain_error": 0.004}
    path = write_history(run, tmp_path)
    code, out, _ = lode("explain", path, "--out", tmp_path / "why.svg")
    cells = out.splitlines()[3].split()
    assert code == 0 and cells[1:6] == ["0.05", "0.2", "90.00", "+1.00", "0.40"]
    assert "moved: the judge believes the gain" in out


@pytest.mark.parametrize("decisions", [[7], [{"point": 0}], [{"point": 1, "lrs": "x"}]])
def test_damaged_decisions_are_named(
    decisions: list[object], lode, finished: Path, tmp_path: Path
) -> None:
    run = scheduled(finished)
    run.meta["decisions"] = decisions
    code, _, said = lode("explain", write_history(run, tmp_path), "--out", tmp_path / "why.svg")
    assert code == 1 and f"run {run.run_id}: its decisions: " in said


def test_runs_that_cannot_be_explained_are_told_apart(lode, finished: Path, tmp_path: Path) -> None:
    swept = read_histories(Workspace(finished).histories(tiny.TASK))[0]
    for run, said in (
        (swept.run_id, "made no decision: only runs under a LODE do"),
        ("0" * 16, f"no run {'0' * 16} of {tiny.TASK} in this folder"),
        ("../secret", "is no run's id"),
        (tmp_path / "none.parquet", "no such history"),
    ):
        code, out, error = lode("explain", run, "--out", tmp_path / "why.svg")
        assert code and said in error and not out, error
    assert not (tmp_path / "why.svg").exists()


def test_mlflow_shows_the_same_table(lode, finished: Path, tmp_path: Path) -> None:
    run = scheduled(finished)
    (table,) = [
        json.loads(path.read_text())
        for path in (finished / "mlartifacts").rglob("decisions.json")
        if len(path.read_text()) and str(run.meta["seed"]) in _named(finished, path)
    ]
    assert table["columns"][:3] == ["point", "old rate", "new rate"]
    assert len(table["data"]) == len(run.meta["decisions"])
    assert np.array(table["data"]).shape[1] == len(table["columns"])


def _named(root: Path, path: Path) -> str:
    """What the MLflow run is called that an artifact belongs to."""
    from components.registry.connection import connect

    with connect(f"sqlite:///{root / 'mlflow.db'}") as client:
        return str(client.get_run(path.parents[1].name).info.run_name)
