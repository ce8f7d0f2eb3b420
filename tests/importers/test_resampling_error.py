"""Our own runs from an MLflow that logged every update: the same series, as the guide says."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Metric, Param

from components.experiments.import_error import LOGGED, Recorded, errors, recorded
from components.importers.mlflow import mlflow_source
from components.tasks.own import OwnMetric
from components.training.run import SERIES

from .made import read

UPDATES, POINTS = 120, 20
ACC = OwnMetric("val_metric", "maximize", True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    data = tmp_path_factory.mktemp("data")
    return {
        name: recorded("digits-mlp", data, name, 0.05, updates=UPDATES, points=POINTS)
        for name in ("cosine", "onecycle")
    }


@pytest.mark.slow
def test_logged_at_every_update_they_come_back(runs: dict[str, Recorded], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("ours")
    for name, run in runs.items():
        run_id = client.create_run(experiment, run_name=name).info.run_id
        metrics = [
            Metric(
                column.replace("val_metric", "val_acc"), float(value), 1000 + int(step), int(step)
            )
            for column in SERIES
            for step, value in zip(run.every["step"], run.every[column], strict=True)
            if value == value
        ]
        client.log_batch(run_id, metrics=metrics, params=[Param("scheduler", name)])
        client.set_terminated(run_id)
    with mlflow_source(uri, ()) as source:
        result = read(source, tmp_path, ACC, points=POINTS)
    found = {one.meta["imported"]["name"]: one for one in result.histories}
    for name, run in runs.items():
        back = found[name].points
        np.testing.assert_array_equal(back["step"], run.points["step"])
        np.testing.assert_array_equal(back["lr"], run.points["lr"])
        np.testing.assert_array_equal(back["val_metric"], run.points["val_metric"])
        # ours are summed in float32 on the device
        np.testing.assert_allclose(back["train_loss"], run.points["train_loss"], rtol=1e-6)
        assert found[name].configuration == (name, 0.05)  # it is ours to the last digit
        assert found[name].meta["best_val_metric"] == run.points["val_metric"].max()


def test_the_error_grows_as_a_run_is_logged_more_seldom(runs: dict[str, Recorded]) -> None:
    each = [0.0]
    for often, evaluated in ((1, 0), (6, 12), (12, 24)):
        found = errors(list(runs.values()), often, evaluated)
        each.append(found["val_metric"])
        assert found["lr"] < 0.1 and found["train_loss"] < 0.6
    assert each == sorted(each) and each[1] == 0 and LOGGED[0] == (1, 0)
