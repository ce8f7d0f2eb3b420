"""The registered model behind `mlflow models serve`: every input is answered right, or refused with
a reason that reaches the client; and a run that asks again is not replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from components.evaluation.metric import Metric
from components.lode.settings import ControllerSettings
from components.registry.about import About
from components.registry.connection import connect
from components.registry.lazy import mlflow
from components.registry.models import register

from .conftest import POINTS, make_history
from .test_tracking import free_port

TASK = "mnist1d-cnn"
MU = 4
COLUMNS = ["point", "train_loss", "val_metric", "lr"]
RUN = make_history("constant").points[COLUMNS].iloc[:8]


@pytest.fixture(scope="module")
def model_uri(
    lode_dir: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A version registered once; where its files lie."""
    folder = tmp_path_factory.mktemp("endpoint")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    return register(
        lode_dir,
        task=TASK,
        tags={},
        tracking_uri=uri,
        artifact_root=folder,
        settings=ControllerSettings(mu=MU / POINTS, n=6, sigma=0.3, caution=0.0),
        about=About(metric=Metric()),
    ).location


@pytest.fixture(scope="module")
def server(model_uri: str) -> Iterator[str]:
    """The address of a real server's `/invocations`."""
    port = free_port()
    command = ["models", "serve", "-m", model_uri, "-p", str(port), "--env-manager", "local"]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command],
        env=environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server did not start"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


def post(server: str, body: bytes) -> tuple[int, str]:
    request = urllib.request.Request(server, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=50) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def asked(frame: pd.DataFrame, **params: Any) -> bytes:
    table = json.loads(frame.to_json(orient="split", index=False))
    return json.dumps({"dataframe_split": table, "params": params}).encode()


def with_(name: str, value: Any, row: int = -1) -> pd.DataFrame:
    """The run with another value in one cell."""
    frame = RUN.astype(object)
    frame.iloc[row, COLUMNS.index(name)] = value
    return frame


class Refused(NamedTuple):
    what: str
    body: bytes
    why: str


REFUSED = (
    Refused("missing column", asked(RUN.drop(columns="lr")), "column 'lr' is missing; expected"),
    Refused("strings", asked(RUN.astype(str)), "has '1', which is no number"),
    Refused("true for a number", asked(with_("lr", True)), "column 'lr' has 'True', which is no"),
    Refused("bad JSON", b'{"dataframe_split": {"columns": [', "Ensure that input is a valid JSON"),
    Refused(
        "no known key", b'{"rows": []}', "The input must be a JSON dictionary with exactly one"
    ),
    Refused("gap", asked(RUN.iloc[[0, 1, 3]]), "points [1, 2, 4] are not consecutive log points"),
    Refused("duplicate", asked(RUN.iloc[[0, 1, 1]]), "points [1, 2, 2] are not consecutive"),
    Refused("point 0", asked(RUN.assign(point=RUN["point"] - 1)), "one run within 1..20"),
    Refused("beyond T", asked(RUN.assign(point=RUN["point"] + POINTS)), "one run within 1..20"),
    Refused("window too short", asked(RUN.iloc[6:]), "do not reach back to point 5"),
    Refused("point 1.5", asked(with_("point", 1.5, 0)), "'point' has 1.5; log points are whole"),
    Refused(
        "point missing", asked(with_("point", None, 0)), "'point' has nan; log points are whole"
    ),
    Refused(
        "point 1e300", asked(with_("point", 1e300)), "'point' has 1e+300; log points are whole"
    ),
    Refused("rate -1", asked(with_("lr", -1)), "'lr' has -1 at point 8; rates are positive"),
    Refused("rate 0", asked(with_("lr", 0, 2)), "'lr' has 0 at point 3; rates are positive"),
    Refused(
        "metric in per cent",
        asked(RUN.assign(val_metric=100 * RUN["val_metric"])),
        "the metric of this task is a share from 0 to 1, not in per cent",
    ),
    Refused("metric -0.1", asked(with_("val_metric", -0.1)), "'val_metric' has -0.1 at point 8"),
    Refused(
        "unknown parameter", asked(RUN, caushun=1), "unknown parameter 'caushun'; known: caution"
    ),
    Refused("points=1e9", asked(RUN, points=1e9), "points = 1e+09 must be from 10 to 10000"),
    Refused(
        "points=20.5", asked(RUN, points=20.5), "parameter points = 20.5 is not a whole number"
    ),
    Refused("points='many'", asked(RUN, points="many"), "Invalid parameters found"),
    Refused("n=1e5", asked(RUN, n=1e5), "n = 100000 must be from 1 to 10000"),
    Refused("n=0", asked(RUN, n=0), "n = 0 must be from 1 to 10000"),
    Refused("n × points", asked(RUN, n=10_000, points=10_000), "more than one request may cost"),
    Refused("mu=0", asked(RUN, mu=0), "mu = 0 must be from 0.0001 to 1: a share of the run"),
    Refused("mu=5", asked(RUN, mu=5), "what was 5 of 100 log points is 0.05"),
    Refused("horizon=2", asked(RUN, horizon=2), "horizon = 2 must be from 0.0001 to 1"),
    Refused("seed=-1", asked(RUN, seed=-1), "seed = -1 must be from 0"),
    Refused("sigma=-1", asked(RUN, sigma=-1), "sigma = -1 must be from 0"),
    Refused(
        "controller", asked(RUN, controller="papr"), "unknown controller 'papr'; known: default"
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.what)
def test_what_makes_no_sense_is_refused_with_the_reason(server: str, case: Refused) -> None:
    began = time.monotonic()
    status, text = post(server, case.body)
    assert 400 <= status < 500 and case.why in json.loads(text)["message"], (status, text[-500:])
    assert time.monotonic() - began < 10, "refused before it is computed"


def answer(server: str, body: bytes) -> list[dict[str, Any]]:
    status, text = post(server, body)
    assert status == 200, text[-500:]
    found: list[dict[str, Any]] = json.loads(text)["predictions"]
    return found


@pytest.mark.slow
def test_what_makes_sense_is_answered_the_same_however_it_is_written(server: str) -> None:
    right = answer(server, asked(RUN))
    assert [row["point"] for row in right] == [9, 10, 11, 12]
    for what, body in {
        "unsorted": asked(RUN.iloc[::-1]),
        "extra column": asked(RUN.assign(epoch=1.0, note="x")),
        "another order of columns": asked(RUN[COLUMNS[::-1]]),
        "whole floats": asked(RUN.astype(float), points=20.0, n=6.0),
        "records": json.dumps({"dataframe_records": RUN.to_dict("records")}).encode(),
        "inputs": json.dumps({"inputs": RUN.to_dict("list")}).encode(),
    }.items():
        assert answer(server, body) == right, what

    start = answer(server, asked(RUN.iloc[:0]))
    assert [row["point"] for row in start] == [1, 2, 3, 4]
    assert not any(row["decided"] for row in start)
    assert all(0 < row["expected"] < 1 and row["spread"] > 0 for row in (*start, *right))
    paper = answer(server, asked(RUN.iloc[:0], controller="paper"))
    assert {(row["expected"], row["spread"]) for row in paper} == {(None, None)}
    for empty in (
        b'{"dataframe_records": []}',
        b'{"dataframe_split": {"columns": [], "data": []}}',
    ):
        assert answer(server, empty) == start
    assert answer(server, asked(make_history("constant").points[COLUMNS])) == [], "the end"


@pytest.mark.slow
def test_what_was_not_observed_leaves_the_plan(server: str) -> None:
    for value in (None, "nan", "inf"):
        cell = json.dumps(None) if value is None else {"nan": "NaN", "inf": "Infinity"}[value]
        body = asked(with_("train_loss", -777)).replace(b"-777", cell.encode())
        assert not any(row["decided"] for row in answer(server, body)), value


# ------------------------------------------------------------- a run that asks again


@pytest.fixture(scope="module")
def model(model_uri: str, empty_database: Path) -> Any:
    with connect(f"sqlite:///{empty_database}"):
        return mlflow.pyfunc.load_model(model_uri)


def from_the_start(model: Any, frame: pd.DataFrame, **params: Any) -> list[float]:
    """The next rates by the slow reference, which knows nothing of earlier questions."""
    inner = model.unwrap_python_model()
    defaults = {one.name: one.default for one in model.metadata.signature.params}
    settings = defaults | params
    inner._check(settings)
    history = frame.sort_values("point")[COLUMNS[1:]].to_numpy(np.float64)
    scheduler = inner._replayed(settings, history)
    last = min(len(history) + scheduler.mu, settings["points"])
    return [scheduler.lr(p) for p in range(len(history), last)]


@pytest.mark.parametrize("controller", ["default", "paper"])
def test_going_on_gives_the_bits_of_a_start(model: Any, controller: str) -> None:
    params: dict[str, Any] = {"controller": controller, "seed": 3}
    run, other = (make_history("cosine", peak, 5).points[COLUMNS][:-1] for peak in (0.05, 0.02))
    changed = run.assign(train_loss=run["train_loss"].where(run["point"] != 6, 9.0))
    hidden = run.assign(val_metric=run["val_metric"].where(run["point"] != 7))
    questions = [
        one.iloc[:now] for now in range(1, POINTS) for one in (run, other, changed, hidden)
    ]
    questions += [run.iloc[:3], run.iloc[:12].sample(frac=1, random_state=0), run, run.iloc[:0]]
    decided = 0
    for frame in questions:
        got = model.predict(frame, params=params)
        assert list(got["lr"]) == from_the_start(model, frame, **params)
        decided += bool(got["decided"].any())
    assert decided > 10, "nothing is ever decided: proves little"


def test_other_parameters_are_another_run(model: Any) -> None:
    frame = make_history("cosine", 0.05, 6).points[COLUMNS][:8]
    for params in ({"seed": 1}, {"seed": 2}, {"seed": 1, "n": 9}, {"points": 40}, {"seed": 1}):
        got = model.predict(frame, params=params)
        assert list(got["lr"]) == from_the_start(model, frame, **params), params


def test_a_run_that_asks_again_is_not_replayed(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = model.unwrap_python_model()
    observed = []
    observe = inner._scheduler.observe
    monkeypatch.setattr(
        inner._scheduler, "observe", lambda self, *row: observed.append(row) or observe(self, *row)
    )
    frame = make_history("cosine", 0.03, 8).points[COLUMNS][:-1]
    for now in range(1, POINTS):
        model.predict(frame.iloc[:now])
        model.predict(frame.iloc[:now])
    assert [row[0] for row in observed] == list(range(1, POINTS)), "each point once"


def test_runs_that_were_not_heard_of_for_long_are_forgotten(model: Any) -> None:
    frame = make_history("cosine", 0.04, 9).points[COLUMNS][:5]
    for seed in range(100):
        model.predict(frame, params={"seed": seed})
    assert len(model.unwrap_python_model()._runs._kept) == 64
