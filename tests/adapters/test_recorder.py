"""`lode.Run`: what a script logs by it, and that a LODE decides in it as in our own loop."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import lode
from components.adapters.recorder import Run, RunError
from components.runs.contract import Files, read_log, write_request
from components.runs.execute import execute
from components.runs.job import Job
from components.tasks.own import Command, OwnMetric
from components.training.run import RunSpec, log_steps
from tests.registry.conftest import POINTS
from tests.runs.scripts import ACCURACY, job

CONTROLLER = {"controller": "default", "mu": 0.25, "n": 20, "sigma": 0.15, "caution": 0.0}


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A run of 40 updates and 20 points, named by LODE_RUN."""
    one = job(tmp_path)
    files = Files.of(tmp_path, one.spec.run_id)
    write_request(one, ACCURACY, files)
    monkeypatch.setenv("LODE_RUN", str(files.request))
    return files


def test_what_is_logged_is_written_at_log_points(asked: Files) -> None:
    with lode.Run.from_env() as run:
        assert (run.seed, run.updates, run.points, run.log_steps) == (3, 40, 20, log_steps(40, 20))
        scheduler = run.scheduler(optimizer())
        for step in range(run.updates):
            scheduler.step()
            run.log(step, train_loss=torch.tensor(float(step)))
            if run.at_log_point(step):
                run.log(step, val_metric=step / 100, epoch=step / 4)
        run.finish(test_metric=0.25)
    log = read_log(asked.log)
    assert list(log["step"].dropna()) == run.log_steps
    # the mean of the two updates since the point before
    assert list(log["train_loss"]) == [(2 * step - 3) / 2 for step in run.log_steps]
    assert set(log["lr"]) == {0.05}
    assert log["test_metric"].dropna().tolist() == [0.25]


def test_between_log_points_a_metric_has_a_row_and_a_loss_has_none(asked: Files) -> None:
    run = lode.Run.from_env()
    for step in range(40):
        run.log(step, train_loss=1.0, lr=0.05)
        if step == 4:
            run.log(step, val_metric=0.5)
    run.finish()
    assert list(read_log(asked.log)["step"]) == sorted([5, *run.log_steps])


def test_a_script_that_just_ends_has_logged_all(asked: Files) -> None:
    code = (
        "import lode\nrun = lode.Run.from_env()\n"
        "for step in range(40): run.log(step, train_loss=1.0, val_metric=0.5)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(read_log(asked.log)["step"])[-1] == 40


def test_of_many_processes_the_first_writes(asked: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with lode.Run.from_env() as run:
        run.log(39, train_loss=1.0, val_metric=0.5)
    assert not asked.log.exists()


def test_by_hand_it_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LODE_RUN", raising=False)
    monkeypatch.chdir(tmp_path)
    run = lode.Run.from_env(task="mine", updates=4, points=2, seed=7, schedule=[0.1, 0.2, 0.3, 0.4])
    scheduler = run.scheduler(made := optimizer())
    rates = []
    for step in range(4):
        rates.append(made.param_groups[0]["lr"])
        scheduler.step()
        run.log(step, train_loss=1.0, val_metric=0.5)
    run.finish()
    assert rates == run.lr == [0.1, 0.2, 0.3, 0.4]
    (folder,) = (tmp_path / "lode-runs" / "mine").iterdir()
    assert folder.name.endswith("-seed-7")
    assert json.loads((folder / "run.json").read_text())["seed"] == 7
    assert list(read_log(folder / "history.csv")["lr"].dropna()) == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("run.log(40, train_loss=1.0)", "step 40 of a run of 40 updates: the indices are 0 to 39"),
        ("run.log(-1, train_loss=1.0)", "step -1 of a run"),
        ("run.log(3, val_metric=1); run.log(1, val_metric=1)", "step 1 is logged after step 3"),
        (
            "run.scheduler(optimizer()); run.log(1, train_loss=1.0)",
            "step 1 is logged when the scheduler has done 0 steps: call scheduler.step()",
        ),
    ],
)
def test_what_cannot_be_logged(lines: str, said: str, asked: Files) -> None:
    run = lode.Run.from_env()
    with pytest.raises(RunError, match=said):
        exec(lines, {"run": run, "optimizer": optimizer})


def test_a_run_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LODE_RUN", raising=False)
    with pytest.raises(RunError, match="LODE_RUN is not set: start the script by `lode check`"):
        Run.from_env()
    monkeypatch.setenv("LODE_RUN", str(tmp_path / "none.json"))
    with pytest.raises(RunError, match=r"none.json: no run can be read"):
        Run.from_env()
    (tmp_path / "none.json").write_text('{"format": 99}')
    with pytest.raises(RunError, match="not a run of this version"):
        Run.from_env()
    for wrong in ({"updates": 0}, {"updates": 5, "seed": -1}, {"updates": 5, "metric_goal": "up"}):
        with pytest.raises(RunError, match="at least one update and point"):
            Run("mine", **wrong)


# The catalog's digits-mlp once more, in a loop that knows nothing of ours but `lode.Run`.
DIGITS = """
import torch, lode
from components.tasks.catalog import TASKS, load_data
from components.training.loop import evaluate, shuffled_batches
from pathlib import Path
torch.set_num_threads(1)
run = lode.Run.from_env()
task = TASKS["digits-mlp"]
data = load_data(task, Path("."))
torch.manual_seed(run.seed)
network = task.network()
optimizer = task.optimizer(network.parameters())
scheduler = run.scheduler(optimizer)
batches = shuffled_batches(data.train, task.batch_size, run.seed)
for step in range(run.updates):
    network.train()
    x, y = next(batches)
    loss = task.loss(network(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    run.log(step, train_loss=loss)
    if run.at_log_point(step):
        run.log(step, val_metric=evaluate(task, network, data.val))
"""


def test_a_lode_decides_in_a_script_as_in_our_own_loop(lode_dir: Path, tmp_path: Path) -> None:
    """Rates, losses and metrics, to the bit, and every decision."""
    (tmp_path / "train.py").write_text(DIGITS)
    spec = RunSpec("digits-mlp", "lode", None, 5, updates=60, points=POINTS, scheduler_digest="a")
    ours = Job(spec, tmp_path / "ours", tmp_path, "cpu", lode=lode_dir, controller=CONTROLLER)
    line = f"{sys.executable} train.py"
    command = Command(line, str(tmp_path), ".", OwnMetric("accuracy", "maximize", percent=True))
    theirs = replace(ours, histories=tmp_path / "theirs", own=command)
    expected, found = execute(ours), execute(theirs)
    for column in ("step", "train_loss", "val_metric", "lr"):
        assert found.points[column].tolist() == expected.points[column].tolist(), column
    assert found.meta["decisions"] == expected.meta["decisions"]
    assert any(decision["kept"] is None for decision in expected.meta["decisions"])
