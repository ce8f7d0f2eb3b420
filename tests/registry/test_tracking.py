"""The sweep in MLflow: everything there once, also after a kill, and errors within seconds."""

from __future__ import annotations

import copy
import math
import os
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

from components.lode.model import LODE
from components.lode.settings import ControllerSettings
from components.registry.challenger import register_challenger
from components.registry.connection import RegistryError, connect
from components.registry.models import champion, fetch
from components.registry.promotion import rollback
from components.registry.tracking import log_sweep
from components.training.history import History
from tests.registry.made import register_champion

from .conftest import POINTS


def log(histories: list[History], uri: str, root: Path) -> int:
    return log_sweep(histories, tracking_uri=uri, experiment="sweep-x", artifact_root=root)


def test_every_run_is_logged_once_with_params_and_curves(
    histories: list[History], tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    diverged = copy.deepcopy(histories[0])
    diverged.meta |= {"run_id": "d" * 16, "status": "diverged", "test_metric": None}
    diverged.points = diverged.points.iloc[:3].assign(train_loss=[2.0, 9.0, math.nan])
    runs = [*histories, diverged]
    assert log(runs, tracking_uri, tmp_path / "artifacts") == len(runs)
    assert log(runs, tracking_uri, tmp_path / "artifacts") == 0
    assert list((tmp_path / "cwd").iterdir()) == []

    with connect(tracking_uri) as client:
        experiment = client.get_experiment_by_name("sweep-x")
        assert experiment.artifact_location == (tmp_path / "artifacts" / "sweep-x").as_uri()
        found = client.search_runs([experiment.experiment_id])
        by_id = {run.data.tags["lode.run_id"]: run for run in found}
        assert by_id.keys() == {run.run_id for run in runs}
        run = by_id[histories[-1].run_id]
        assert run.info.status == "FINISHED" and run.info.run_name == "cosine 0.05 seed 1"
        assert run.info.end_time - run.info.start_time == 1000, "as long as the training took"
        assert run.data.params == {
            "task": "mnist1d-cnn",
            "scheduler": "cosine",
            "peak_lr": "0.05",
            "seed": "1",
            "updates": "200",
            "points": "20",
            "device": "cpu",
        }
        assert run.data.metrics["test_metric"] == 0.7
        for name in ("train_loss", "val_metric", "lr"):
            logged = client.get_metric_history(run.info.run_id, name)
            logged.sort(key=lambda metric: metric.step)
            assert [metric.step for metric in logged] == list(histories[-1].points["step"])
            assert [metric.value for metric in logged] == list(histories[-1].points[name])
        assert by_id[diverged.run_id].info.status == "FAILED"


def test_a_run_that_a_kill_left_half_logged_is_completed_not_repeated(
    histories: list[History], tracking_uri: str, tmp_path: Path
) -> None:
    log(histories[:2], tracking_uri, tmp_path)
    with connect(tracking_uri) as client:
        experiment = client.get_experiment_by_name("sweep-x").experiment_id
        half = client.search_runs([experiment])[0].info.run_id
        client.update_run(half, status="RUNNING")  # as it is until the very end
        client.create_run(experiment, tags={"lode.run_id": histories[2].run_id})
    assert log(histories[:3], tracking_uri, tmp_path) == 2
    with connect(tracking_uri) as client:
        runs = client.search_runs([experiment])
        assert len(runs) == 3
        for run in runs:
            assert run.info.status == "FINISHED"
            assert len(client.get_metric_history(run.info.run_id, "lr")) == POINTS


def test_long_histories_are_split_into_calls_mlflow_takes(
    tracking_uri: str, tmp_path: Path, histories: list[History]
) -> None:
    rows = 700
    long = copy.deepcopy(histories[0])
    values = {name: np.linspace(0.1, 1, rows) for name in ("train_loss", "val_metric", "lr")}
    counts = {"point": np.arange(1, rows + 1), "step": np.arange(1, rows + 1)}
    long.points = pd.DataFrame(counts | values | {"epoch": 0.0, "elapsed_s": 0.0, "run_id": "x"})
    log([long], tracking_uri, tmp_path)
    with connect(tracking_uri) as client:
        (run,) = client.search_runs([client.get_experiment_by_name("sweep-x").experiment_id])
        assert len(client.get_metric_history(run.info.run_id, "lr")) == rows


# ------------------------------------------------------------- unreachable


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_down_is_named_within_seconds(histories: list[History]) -> None:
    uri, began = f"http://127.0.0.1:{free_port()}", time.monotonic()
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+ is not reachable .*make serve"):
        log_sweep(histories, tracking_uri=uri, experiment="x")
    with pytest.raises(RegistryError, match="not reachable"):
        champion("mnist1d-cnn", tracking_uri=uri)
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up_within_seconds() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(RegistryError, match="not reachable"):
            champion("x", tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - began < 10


def test_a_database_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "mlflow.db", Path("/proc/mlflow.db")):
        with pytest.raises(RegistryError, match=r"cannot be written .*registry\.tracking_uri"):
            champion("x", tracking_uri=f"sqlite:///{path}")
    (tmp_path / "no.db").write_text("this is no database, " * 100)
    with pytest.raises(RegistryError, match="not a database"):
        champion("x", tracking_uri=f"sqlite:///{tmp_path / 'no.db'}")
    assert (tmp_path / "no.db").read_text().startswith("this is no database")


@pytest.mark.slow
def test_the_first_use_of_a_database_is_quiet_and_imports_are_lazy(tmp_path: Path) -> None:
    code = (
        "import sys, components.registry.models as r\n"
        "assert 'mlflow' not in sys.modules\n"
        "try: r.champion('x', tracking_uri=sys.argv[1])\n"
        "except r.RegistryError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'mlflow.db'}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert "models:/lode-x@champion does not exist; the registry is empty" in done.stdout
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


# ------------------------------------------------------------- a real server


@pytest.fixture
def server(tracking_uri: str, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        tracking_uri,
        "--artifacts-destination",
        str(tmp_path / "server-artifacts"),
    ]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.mark.slow
def test_the_same_through_a_server(
    histories: list[History], lode_dir: Path, server: str, tmp_path: Path
) -> None:
    assert log(histories[:2], server, tmp_path / "unused") == 2
    assert log(histories[:2], server, tmp_path / "unused") == 0
    made = register_champion(
        lode_dir,
        task="mnist1d-cnn",
        tags={"settings_digest": "s"},
        settings=ControllerSettings(mu=0.2),
        tracking_uri=server,
        artifact_root=tmp_path / "unused",
    )
    assert champion("mnist1d-cnn", tracking_uri=server) == made
    folder = fetch("models:/lode-mnist1d-cnn@champion", tracking_uri=server)
    assert (folder / "lode.safetensors").read_bytes() == (
        lode_dir / "lode.safetensors"
    ).read_bytes()
    better = LODE.load(lode_dir)
    better.readout.bias.data += 0.1
    better.save(tmp_path / "better")
    two = register_challenger(
        tmp_path / "better",
        task="mnist1d-cnn",
        tags={},
        decision={"decision": "promoted"},
        promote=True,
        champion=1,
        tracking_uri=server,
        controller="paper",
    )
    assert champion("mnist1d-cnn", tracking_uri=server) == two
    assert rollback("mnist1d-cnn", tracking_uri=server, who="ann", why="test") == (2, 1)
    assert champion("mnist1d-cnn", tracking_uri=server).version == 1
    assert (tmp_path / "server-artifacts").is_dir() and not (tmp_path / "unused").exists()
