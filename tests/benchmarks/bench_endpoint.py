"""How long a registered LODE under `mlflow models serve` takes to answer, and at how many a second.

    .venv/bin/python tests/benchmarks/bench_endpoint.py      (--help for its options)

Three real servers' answers, one client on this machine, milliseconds from the first byte sent to
the last one read (median, and what 99 % are under), n = 30 samples, T = 1,200 points, mu = 60:

    empty model   the same request to a model that answers a constant: MLflow's own share
    following     a run asks for its next rates after every log point, its history growing
    deciding      the same, only where a decision falls

Then `--rate` requests a second for `--seconds`, of `--runs` runs that ask in turn, several at a
time: how many failed, and how long the answers took.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket

import mlflow
import numpy as np
import pandas as pd
from bench_fit import machine, short_fit, synthetic
from mlflow.pyfunc import PythonModel

from components.evaluation.metric import Metric
from components.lode.judge import held
from components.lode.judge_fit import Runs, fit_judge
from components.lode.opening import Opening, with_start
from components.lode.settings import ControllerSettings, JudgeSettings
from components.registry.about import About
from components.registry.models import register

POINTS, MU, SAMPLES = 1200, 60, 30
COLUMNS = ("point", "train_loss", "val_metric", "lr")
TARGET = 20.0  # ms above the empty model, at the median
CLIENTS = 8  # threads that wait for answers


class Empty(PythonModel):
    """What MLflow takes for a request whose answer costs nothing."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return pd.DataFrame({"point": [1], "lr": [0.01], "decided": [False]})


def a_registered_lode(folder: Path, warm_up: int) -> str:
    """Fitted briefly on synthetic histories; where its files lie."""
    lode, series = short_fit(warm_up), synthetic(100)
    lode.config = replace(lode.config, updates=1000, task="synthetic")
    lode.save(folder / "lode")
    runs = Runs(
        held(with_start(series[..., 2])),
        series[..., 0],
        series[..., 1],
        np.arange(100) % 5,
        np.arange(100) // 5,
    )
    opening = Opening(schedule=("onecycle", 0.05))
    fit_judge(runs, JudgeSettings(updates=max(2, warm_up // 10)), opening=opening).save(
        folder / "lode"
    )
    return register(
        folder / "lode",
        task="synthetic",
        tags={},
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        artifact_root=folder / "artifacts",
        settings=ControllerSettings(mu=MU / POINTS, n=SAMPLES),
        about=About(metric=Metric()),
    ).location


@dataclass
class Client:
    """One connection, kept open."""

    port: int

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, body: bytes) -> tuple[float, int, bytes]:
        """Milliseconds, status and answer."""
        began = time.perf_counter()
        self.connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        data = answer.read()
        return 1e3 * (time.perf_counter() - began), answer.status, data


@contextmanager
def served(model: str) -> Iterator[int]:
    """The port of a server."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["models", "serve", "-m", model, "-p", str(port), "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(1200):
            assert process.poll() is None, "the server did not start"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def a_run(seed: int) -> np.ndarray:
    """(T, 4) rows of `COLUMNS`: a run that learns, with noise."""
    rng, share = np.random.default_rng(seed), np.arange(1, POINTS + 1) / POINTS
    loss = 0.1 + 2.2 * np.exp(-5 * share) + 0.02 * rng.standard_normal(POINTS)
    metric = 0.95 - 0.4 * np.exp(-5 * share) - 0.01 * rng.random(POINTS)
    lr = 0.05 * (0.5 + 0.5 * np.cos(np.pi * share)) + 1e-6
    return np.stack([np.arange(1, POINTS + 1), loss, metric, lr], 1)


def body(rows: np.ndarray) -> bytes:
    data = [[int(row[0]), *map(float, row[1:])] for row in rows]
    table = {"columns": list(COLUMNS), "data": data}
    return json.dumps({"dataframe_split": table, "params": {"points": POINTS}}).encode()


def summary(name: str, values: list[float]) -> str:
    last = statistics.quantiles(values, n=100)[-1]
    return f"{name:14} median {statistics.median(values):6.1f} ms, 99 % under {last:6.1f} ms"


def one_after_the_other(port: int, upto: int) -> list[float]:
    """A run of which every point up to `upto` is asked about, as it grows."""
    client, rows, took = Client(port), a_run(0), []
    for seen in range(upto + 1):
        ms, status, answer = client.ask(body(rows[:seen]))
        assert status == 200, answer
        took.append(ms)
    return took


def at_a_rate(port: int, rate: float, seconds: float, runs: int) -> tuple[list[float], int, float]:
    """Milliseconds from when each request was due, how many failed, and requests a second."""
    bodies = [[body(a_run(seed)[:seen]) for seen in range(1, 121)] for seed in range(runs)]
    local, took, failed = threading.local(), list[float](), 0

    def ask(index: int, due: float) -> tuple[float, bool]:
        if not hasattr(local, "client"):
            local.client = Client(port)
        run, seen = index % runs, index // runs % 120
        try:
            status = local.client.ask(bodies[run][seen])[1]
        except OSError:
            del local.client
            status = 0
        return 1e3 * (time.perf_counter() - due), status == 200

    with ThreadPoolExecutor(CLIENTS) as pool:
        began, futures = time.perf_counter(), []
        for index in range(int(rate * seconds)):
            due = began + index / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            futures.append(pool.submit(ask, index, due))
        for future in futures:
            ms, good = future.result()
            took.append(ms)
            failed += not good
        return took, failed, len(futures) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--warm-up", type=int, default=300, help="updates of a short fit")
    parser.add_argument("--points-asked", type=int, default=600, help="of the run that grows")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=20, help="that ask in turn")
    asked = parser.parse_args()
    print(f"MLflow {mlflow.__version__}; {machine()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mlflow.pyfunc.save_model(folder / "empty", python_model=Empty())
        with served(str(folder / "empty")) as port:
            empty = one_after_the_other(port, asked.points_asked)
        print(summary("empty model", empty))
        with served(a_registered_lode(folder, asked.warm_up)) as port:
            following = one_after_the_other(port, asked.points_asked)
            deciding = following[MU::MU]
            took, failed, rate = at_a_rate(port, asked.rate, asked.seconds, asked.runs)
    print(summary("following", following))
    print(summary("deciding", deciding))
    print(summary(f"at {rate:.0f} a second", took) + f", {len(took):,} requests, {failed} failed")
    above = statistics.median(following) - statistics.median(empty)
    decision = statistics.median(deciding) - statistics.median(empty)
    print(
        f"\nabove the empty model, medians: following {above:.1f} ms, deciding {decision:.1f} ms "
        f"(target {TARGET:g})"
    )


if __name__ == "__main__":
    main()
