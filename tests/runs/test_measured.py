"""λ over training: measured at the right points, of the right weights, and without a trace."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.evaluation.sharpness import sharpness
from components.evaluation.stability import stability
from components.runs.comparison import evaluation_template
from components.runs.execute import execute, load_data, run
from components.runs.job import Job
from components.runs.measured import SharpnessOf
from components.schedulers.parametric import Parametric
from components.schedulers.schedule_free import ScheduleFree
from components.storage.workspace import Workspace
from components.tasks import catalog
from components.training import loop
from components.training.history import COMPLETED, DIVERGED, read_history
from components.training.loop import Outcome, train
from components.training.run import RunSpec
from components.training.scheduler import Scheduler
from tests.tiny import tiny
from tests.training.test_loop import DATA, TASK  # a network with dropout

UPDATES, POINTS = 24, 12
EVERY = {"method": "lanczos", "samples": 64, "every": 4}


def onecycle(peak: float = 0.5) -> Scheduler:
    return Parametric("onecycle", peak_lr=peak, updates=UPDATES)


def trained(scheduler: Scheduler, **look: Any) -> Outcome:
    return train(TASK, DATA, scheduler, seed=0, updates=UPDATES, points=POINTS, **look)


def bits(outcome: Outcome) -> tuple[list[dict[str, float]], list[bytes], bytes]:
    """All that a training leaves, apart from times, and the random state after it."""
    rows = [{k: v for k, v in row.items() if k != "elapsed_s"} for row in outcome.rows]
    weights = [*outcome.network.state_dict().values(), *outcome.best_weights.values()]
    state = torch.get_rng_state().numpy().tobytes()
    return rows, [tensor.numpy().tobytes() for tensor in weights], state


@pytest.mark.parametrize("make", [onecycle, lambda: ScheduleFree(0.5, updates=UPDATES)])
def test_a_training_is_the_same_to_the_bit(make) -> None:  # type: ignore[no-untyped-def]
    without = bits(trained(make()))
    measured = SharpnessOf(TASK, DATA, POINTS, EVERY)
    assert bits(trained(make(), look=measured.look)) == without
    assert [record["point"] for record in measured.series] == [1, 4, 8, 12]


def test_it_is_not_in_the_runs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only measuring moves."""
    now = 0.0
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now)

    def look(outcome: Outcome) -> None:
        nonlocal now
        now += 100

    outcome = trained(onecycle(), look=look)
    assert now == 100 * POINTS
    assert outcome.train_seconds == 0 and {row["elapsed_s"] for row in outcome.rows} == {0}


def test_what_a_record_says() -> None:
    measured, networks = SharpnessOf(TASK, DATA, POINTS, EVERY), []

    def look(outcome: Outcome) -> None:
        networks.append(copy.deepcopy(outcome.network))
        measured.look(outcome)

    outcome = trained(onecycle(), look=look)
    for record in measured.series:
        row, network = outcome.rows[record["point"] - 1], networks[record["point"] - 1]
        x, y = DATA.train.sample(64)
        found = sharpness(network, TASK.loss, x, y, lowest=True)
        assert record["lambda_max"] == found["lambda_max"]
        assert record["lambda_min"] == found["lambda_min"]
        assert record["lr"] == row["lr"] and record["threshold"] == 2, "plain SGD"
        assert "preconditioned" not in record
    last = measured.at_the_end(outcome)
    assert last and last["lambda_max"] == measured.series[-1]["lambda_max"]
    again = SharpnessOf(TASK, DATA, POINTS, EVERY).at_the_end(outcome)
    assert again and again["lambda_max"] == pytest.approx(last["lambda_max"], rel=1e-5)


def test_an_adaptive_optimizers_hessian_stands_beside_the_plain_one() -> None:
    task = replace(TASK, optimizer=lambda p: torch.optim.AdamW(p, lr=1.0))
    measured = SharpnessOf(task, DATA, POINTS, EVERY)
    train(task, DATA, onecycle(0.01), seed=0, updates=UPDATES, points=POINTS, look=measured.look)
    for record in measured.series:
        assert record["threshold"] == pytest.approx(38)
        assert record["preconditioned"] > record["lambda_max"] > 0
        assert record["residual_preconditioned"] <= 1e-3


def test_schedule_free_is_measured_at_x() -> None:
    """Where it is evaluated; its gradients are taken at y."""
    at: dict[str, float] = {}
    measured = SharpnessOf(TASK, DATA, POINTS, EVERY)

    def look(outcome: Outcome) -> None:
        if len(outcome.rows) == 8:
            at["x"] = value(outcome)
            outcome.optimizer.train()  # type: ignore[attr-defined]
            at["y"] = value(outcome)
            outcome.optimizer.eval()  # type: ignore[attr-defined]
        measured.look(outcome)

    def value(outcome: Outcome) -> float:
        x, y = DATA.train.sample(64)
        found: float = sharpness(outcome.network, TASK.loss, x, y)["lambda_max"]
        return found

    trained(ScheduleFree(0.5, updates=UPDATES), look=look)
    assert measured.series[2]["lambda_max"] == pytest.approx(at["x"], rel=1e-5)
    assert measured.series[2]["lambda_max"] != pytest.approx(at["y"], rel=1e-3)
    assert measured.series[2]["threshold"] == pytest.approx(20)


def test_a_run_that_diverges_keeps_what_was_measured() -> None:
    class Late(Parametric):
        def lr(self, step: int) -> float:
            return 1e30 if step > UPDATES // 2 else 0.1

    measured = SharpnessOf(TASK, DATA, POINTS, EVERY)
    outcome = trained(Late("constant", peak_lr=0.1, updates=UPDATES), look=measured.look)
    assert outcome.status == DIVERGED and measured.at_the_end(outcome) is None
    assert [record["point"] for record in measured.series] == [1, 4]


# ------------------------------------------------------------------------------------ of a job


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    spec = RunSpec("digits-mlp", "cosine", 0.01, 0, updates=20, points=10)
    yield Job(spec, tmp_path / "histories", tmp_path / "data", device="cpu", sharpness=EVERY)
    load_data.cache_clear()


def test_a_history_has_the_series_and_is_whole_or_not_there(job: Job) -> None:
    def killed(row: dict[str, float]) -> None:
        if row["point"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(job, killed)
    assert not job.path.exists()
    history = execute(job)
    series = history.meta["sharpness_series"]
    assert [record["point"] for record in series] == [1, 4, 8, 10]
    assert history.meta["sharpness"]["lambda_max"] == series[-1]["lambda_max"]
    assert read_history(job.path).meta == history.meta
    other, _ = run(replace(job, sharpness=None))
    assert other.meta["sharpness_series"] is None
    assert other.meta["test_metric"] == history.meta["test_metric"]
    times = ["elapsed_s"]
    assert other.points.drop(columns=times).equals(history.points.drop(columns=times))


def test_a_population_is_measured_at_its_end_only(job: Job) -> None:
    """Which member a run is, is known at the end."""
    spec = replace(job.spec, scheduler="pbt", peak_lr=None)
    population = {"lr_range": [0.01, 0.02], "members": 2}
    history, _ = run(replace(job, spec=spec, controller=population))
    assert history.meta["status"] == COMPLETED and history.meta["sharpness_series"] is None
    assert history.meta["sharpness"]["lambda_max"] > 0


def test_how_often_is_a_part_of_a_runs_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    jobs = [
        evaluation_template(tiny(evaluation__sharpness_every=every), workspace)
        for every in (None, 4, 5)
    ]
    assert [job.spec.sharpness_method for job in jobs] == [
        "lanczos 256",  # as before there was a choice: those runs keep their names
        "lanczos 256 every 4",
        "lanczos 256 every 5",
    ]
    assert jobs[1].sharpness == {"method": "lanczos", "samples": 256, "every": 4}
    nothing = tiny(evaluation__sharpness="none", evaluation__sharpness_every=4)
    assert evaluation_template(nothing, workspace).sharpness is None


def test_the_catalogs_optimizers_have_an_edge() -> None:
    for task in catalog.TASKS.values():
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = task.optimizer([weight])
        optimizer.param_groups[0]["lr"] = 0.01
        weight.sum().backward()
        optimizer.step()
        assert stability(optimizer, [weight]).threshold is not None, task.name
