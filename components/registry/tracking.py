"""A sweep's runs in MLflow: one run per history, logged in batches, never twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.lode.explained import table_of
from components.registry.connection import connect, experiment_id
from components.registry.lazy import mlflow
from components.training.history import History
from components.training.run import SERIES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

RUN_ID = "lode.run_id"  # the tag that says which history an MLflow run holds
PARAMS = ("task", "scheduler", "peak_lr", "seed", "updates", "points", "device")
SUMMARY = ("test_metric", "best_val_metric", "seconds_per_epoch")
METRICS = ("val_metric", "test_metric", "best_val_metric")
DECISIONS = "decisions.json"  # MLflow's pages show it as a table
_BATCH = 1000  # MLflow's limit of metrics per call
_PAGE = 1000


def log_sweep(
    histories: Iterable[History],
    *,
    tracking_uri: str,
    experiment: str,
    artifact_root: Path | str | None = None,
) -> int:
    """Log runs that MLflow does not have yet; returns how many.

    A run that a kill left half logged is completed. Metrics carry the optimizer update as their
    step; `test_metric` and the like are logged once, at the last one. An MLflow run lasts as long
    as the training did.

    Args:
        tracking_uri: database or server.
        experiment: its name, created where missing.
        artifact_root: folder for artifacts of a database without a server.

    Raises:
        RegistryError: the registry is unreachable or not writable.
    """
    with connect(tracking_uri) as client:
        experiment = experiment_id(client, experiment, artifact_root)
        known = {run.data.tags[RUN_ID]: run for run in _runs(client, experiment)}
        logged = 0
        for history in histories:
            run = known.get(history.run_id)
            if run is None:
                run = client.create_run(
                    experiment,
                    start_time=int(1000 * time.time()) - _duration_ms(history),
                    run_name=history.describe(),
                    tags={RUN_ID: history.run_id},
                )
            elif run.info.status != "RUNNING":
                continue
            _log(client, run, history)
            logged += 1
    return logged


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        yield from (run for run in page if RUN_ID in run.data.tags)
        token = page.token
        if not token:
            return


def _log(client: MlflowClient, run: Run, history: History) -> None:
    """Everything of a history; logging it again changes nothing, as MLflow keeps one value per
    (metric, step, timestamp)."""
    run_id, meta = run.info.run_id, history.meta
    params = [
        mlflow.entities.Param(key, _text(meta[key])) for key in PARAMS if meta.get(key) is not None
    ]
    tags = [mlflow.entities.RunTag("lode.status", meta["status"])]
    if meta.get("versions"):
        versions = json.dumps(meta["versions"], sort_keys=True)
        tags.append(mlflow.entities.RunTag("lode.versions", versions))
    metrics = _metrics(history, run.info.start_time)
    client.log_batch(run_id, metrics=metrics[:_BATCH], params=params, tags=tags)
    for start in range(_BATCH, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
    _log_decisions(client, run_id, history)
    end = run.info.start_time + _duration_ms(history)
    status = "FINISHED" if history.completed else "FAILED"
    client.set_terminated(run_id, status, end_time=end)


def _log_decisions(client: MlflowClient, run_id: str, history: History) -> None:
    """Why the rate of a run under a LODE moved; once, as MLflow adds rows to a table it has."""
    table = table_of(history)
    if table.rows and DECISIONS not in {one.path for one in client.list_artifacts(run_id)}:
        columns = {name: [row[i] for row in table.rows] for i, name in enumerate(table.columns)}
        client.log_table(run_id, data=columns, artifact_file=DECISIONS)


def _duration_ms(history: History) -> int:
    """How long the training took: a history does not say when it began, so that an MLflow run ends
    when it is logged, and begins so long before."""
    seconds = history.points["elapsed_s"].to_numpy()
    return int(1000 * max((one for one in seconds if math.isfinite(one)), default=0.0))


def _metrics(history: History, started_ms: int) -> list[Metric]:
    """The timestamps follow from the MLflow run's start, so that logging again repeats them."""
    points = history.points
    steps = [int(step) for step in points["step"]]
    times = [
        started_ms + (int(1000 * seconds) if math.isfinite(seconds) else 0)
        for seconds in points["elapsed_s"]
    ]
    metric = mlflow.entities.Metric
    sign = {name: history.metric_sign for name in METRICS}  # as people know them
    metrics = [
        metric(name, sign.get(name, 1) * float(value), time, step)
        for name in SERIES
        for value, time, step in zip(points[name], times, steps, strict=True)
    ]
    last, end = (steps[-1], times[-1]) if steps else (0, started_ms)
    for name in SUMMARY:
        if history.meta.get(name) is not None:
            value = sign.get(name, 1) * float(history.meta[name])
            metrics.append(metric(name, value, end, last))
    return metrics


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
