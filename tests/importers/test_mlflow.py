"""A real MLflow server with a stranger's runs; one that is not there, or goes away."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.importers import kept
from components.importers.errors import RunsError
from components.importers.importing import write_runs
from components.importers.mlflow import MlflowSource, mlflow_source
from components.importers.source import Listed
from components.registry.foreign import filter_string
from components.tasks.own import OwnMetric
from components.training.history import read_histories

from .made import lode_import, read, workspace

STRANGER = Path(__file__).parent / "strangers" / "with_mlflow.py"
EXPERIMENT = "résnet süß"
ACC = OwnMetric("val_acc", "maximize", True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", params=[20, pytest.param(100, marks=pytest.mark.acceptance)])
def runs(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def database(runs: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What so many runs of the stranger's script have left."""
    folder = tmp_path_factory.mktemp("tracker with spaces")
    uri = f"sqlite:///{folder}/mlflow.db"
    subprocess.run([sys.executable, STRANGER, uri, EXPERIMENT, str(runs)], check=True, timeout=280)
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{database}",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, cwd=database.parent, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=1):
                    break
            except OSError:
                assert process.poll() is None, "the server has ended"
                time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)  # of a hundred runs on a busy machine
def test_a_strangers_runs_come_in_from_a_server(server: str, runs: int, tmp_path: Path) -> None:
    root = workspace(tmp_path)
    asked = ("--task", "shares", "--updates", "500", "--points", "50")
    done = lode_import("mlflow", server, *asked, root=root)
    assert done.exit_code == 0, (done.output, done.exception)
    assert f"{runs} runs came in of {runs} listed: 20 configurations" in done.output
    assert f"{runs // 20} of them diverged" in done.output
    assert "train_loss = loss (guessed), val_metric = val_acc (guessed)" in done.output
    found = read_histories(root / "data/histories/shares")
    best = max(found, key=lambda one: one.meta.get("best_val_metric", 0.0))
    for one in found:
        assert one.meta["imported"]["name"].endswith(f"#{one.meta['seed']}")
        assert one.meta["peak_lr"] in (0.001, 0.01, 0.05, 0.1, 0.5)
        assert len(one.points) == (50 if one.completed else 20)
    # logged at 0, 10, …: that of the first update is at step 1
    assert best.points["lr"].max() == pytest.approx(best.meta["peak_lr"], rel=0.11)
    assert best.points["elapsed_s"].iloc[-1] == pytest.approx(4.95, abs=0.06)


@pytest.mark.slow
def test_of_a_trackers_many_runs_the_server_sends_those_that_match(
    server: str, runs: int, tmp_path: Path
) -> None:
    root = workspace(tmp_path)
    asked = ("--task", "shares", "--points", "50", "--dry-run", "--match", "schedule=co*", "lr=0.1")
    done = lode_import("mlflow", server, "--experiment", EXPERIMENT, *asked, root=root)
    some = runs // 10
    assert f"{some} runs would come in of {some} that match ({runs // 2} listed)" in done.output
    none = lode_import("mlflow", server, "--experiment", "other", *asked, root=root)
    assert f"no experiment other (there are Default, {EXPERIMENT})" in str(none.exception)


def test_what_a_server_can_match_is_left_to_it() -> None:
    match = [("model", "res*"), ("lr", "0.1"), ("name", "x"), ("odd", "100%"), ("a`b", "x")]
    assert filter_string(match) == "params.`model` LIKE 'res%'"
    assert filter_string([("quote", "it's"), ("a", "b?")]) == "params.`a` LIKE 'b_'".replace(
        "_", "_"
    )


class Stopping(MlflowSource):
    """A tracker that answers so often, and no more."""

    def __init__(self, source: MlflowSource, answers: int) -> None:
        super().__init__(source._tracker)
        self.answers, self.asked = answers, 0

    def log(self, run: Listed, columns: list[str]) -> pd.DataFrame:  # type: ignore[override]
        self.asked += 1
        if self.asked > self.answers:
            raise RunsError("it does not answer any more")
        return super().log(run, columns)


@pytest.mark.slow
def test_an_import_that_was_stopped_goes_on_where_it_was(
    database: Path, runs: int, tmp_path: Path
) -> None:
    copy = tmp_path / "mlflow.db"
    shutil.copy(database, copy)
    with mlflow_source(f"sqlite:///{copy}", ()) as source:
        first = Stopping(source, runs // 2)
        with pytest.raises(RunsError, match="does not answer"):
            read(first, tmp_path, ACC, points=50)
        assert not (tmp_path / "histories").exists()
        second = Stopping(source, 1000)
        result = read(second, tmp_path, ACC, points=50)
    assert second.asked == runs // 2 and len(result.histories) == runs
    write_runs(result, tmp_path / "state")
    assert not list((tmp_path / "state").rglob("*.parquet"))


def test_a_log_that_was_kept_damaged_is_asked_for_again(tmp_path: Path) -> None:
    run = Listed("1", "one")
    store = kept.Kept(tmp_path, "source", ["a"])
    store.write(run, pd.DataFrame({"a": [1.0]}))
    assert store.read(run) is not None and store.read(Listed("1", "one", version="2")) is None
    (path,) = store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert store.read(run) is None


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://127.0.0.1:9", "is not reachable"),
        ("sqlite:////nowhere/at/all.db", "no such database"),
    ],
)
def test_a_tracker_that_is_not_there_is_named(uri: str, said: str, tmp_path: Path) -> None:
    done = lode_import("mlflow", uri, root=workspace(tmp_path))
    assert isinstance(done.exception, RunsError) and said in str(done.exception)
    assert re.search("look at the address of the tracker and start again", str(done.exception))


def test_what_a_metric_holds_becomes_one_row_a_moment() -> None:
    class Fake:  # of the four lines that MLflow's client is behind
        label = "here"

        def metric(self, run_id: str, name: str) -> list[tuple[int, int, float]]:
            return {
                "loss": [(1, 1000, 2.0), (2, 2000, float("nan"))],
                "lr": [(1, 1000, 0.1), (2, 2000, 1.7976931348623157e308)],
            }[name]

    log = MlflowSource(Fake()).log(Listed("1", "1", {}, ("loss", "lr")), ["loss", "lr", "_step"])  # type: ignore[arg-type]
    assert log["_step"].tolist() == [1, 2] and log["_elapsed_s"].tolist() == [0, 1]
    assert log["loss"].tolist() == [2, np.inf] and log["lr"].tolist() == [0.1, np.inf]
