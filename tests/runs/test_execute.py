"""Real runs of the embedded task, a few updates long."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.runs import execute as execute_module
from components.runs.execute import DeviceError, execute, execute_and_keep, load_data, pick_device
from components.runs.job import Job
from components.runs.pool import run_all
from components.tasks import catalog
from components.tasks.errors import TaskError
from components.training.history import read_history
from components.training.run import RunSpec


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("execute")
    spec = RunSpec("mnist1d-cnn", "cosine", 0.01, 0, updates=40, points=10)
    return Job(spec, folder / "histories", folder / "data", device="cpu")


def test_a_run_is_done_once(job: Job) -> None:
    first = execute(job)
    stamp = job.path.stat().st_mtime_ns
    again = execute(job)
    assert job.path.stat().st_mtime_ns == stamp
    assert again.meta == read_history(job.path).meta == first.meta
    assert first.meta["status"] == "completed"
    assert 0 < first.meta["test_metric"] < 1
    assert first.meta["best_val_metric"] == first.points["val_metric"].max()
    assert first.meta["seconds_per_epoch"] > 0 and first.meta["device"]


def test_the_test_metric_is_of_the_best_validation_point(job: Job, tmp_path: Path) -> None:
    from components.tasks import catalog
    from components.training.loop import evaluate

    job = replace(job, histories=tmp_path)
    history = execute_and_keep(job)
    from safetensors.torch import load_file

    task = catalog.get("mnist1d-cnn")
    network = task.network()
    network.load_state_dict(load_file(job.path.with_suffix(".safetensors")))
    data = load_data(task, job.data, None, "cpu")
    assert evaluate(task, network, data.val) == history.meta["best_val_metric"]
    assert evaluate(task, network, data.test) == history.meta["test_metric"]


def test_sharpness_is_measured_when_asked(job: Job, tmp_path: Path) -> None:
    job = replace(job, histories=tmp_path, sharpness={"method": "lanczos", "samples": 256})
    found = execute(job).meta["sharpness"]
    assert found["lambda_max"] > 0 and found["residual"] < 0.05 and found["samples"] == 256


@pytest.mark.slow
def test_a_pool_gives_the_same_bits_as_one_process_and_repeats_nothing(
    job: Job, tmp_path: Path
) -> None:
    specs = [replace(job.spec, seed=seed) for seed in range(3)]
    jobs = [replace(job, spec=spec, histories=tmp_path) for spec in specs]
    here = execute(replace(job, spec=specs[2], histories=tmp_path / "here"))
    seen: list[int] = []
    histories = run_all(jobs, workers=2, on_history=lambda job, h: seen.append(job.spec.seed))
    assert [h.meta["seed"] for h in histories] == [0, 1, 2] and sorted(seen) == [0, 1, 2]
    assert here.points.drop(columns="elapsed_s").equals(
        histories[2].points.drop(columns="elapsed_s")
    )
    stamps = [one.path.stat().st_mtime_ns for one in jobs]
    jobs[1].path.unlink()
    run_all(jobs, workers=2)
    after = [one.path.stat().st_mtime_ns for one in jobs]
    assert after[0] == stamps[0] and after[2] == stamps[2] and after[1] > stamps[1]


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_no_more_workers_than_a_container_may_use_cores() -> None:
    """`docker run --cpus 0.5` writes such a file; the machine's cores are still seen."""
    asks = (
        "import sys; from pathlib import Path; from types import SimpleNamespace;"
        "from components.runs import pool;"
        "pool.processes = lambda workers, died: sys.exit(f'workers: {workers}');"
        "pool.run_all([SimpleNamespace(path=Path('none'))] * 9)"
    )
    quota = "mount -t tmpfs tmpfs /sys/fs/cgroup && echo 50000 100000 > /sys/fs/cgroup/cpu.max"
    command = ["unshare", "--mount", "sh", "-c", f'{quota} && "$0" -c "$1"', sys.executable, asks]
    found = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in found.stderr or "mount" in found.stderr:
        pytest.skip("may not mount a file system of its own here")
    assert "workers: 1\n" in found.stderr, found.stderr


def test_a_device_that_is_not_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(DeviceError, match=rf"{missing}.*use auto or cpu"):
        pick_device(missing)


# No machine has one of these and runs tests: `meta` computes nothing.
@pytest.mark.parametrize("name", ["cuda:99", "meta", "nonsense", "cpu:x", "cuda:-2", ""])
def test_an_absent_device_is_named_before_anything_starts(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(execute_module, "load_data", lambda *_: pytest.fail("data were loaded"))
    monkeypatch.setattr(ProcessPoolExecutor, "submit", lambda *_: pytest.fail("a worker started"))
    elsewhere = replace(job, device=name, histories=tmp_path)
    for do in (execute, lambda one: run_all([one], workers=1)):
        with pytest.raises(DeviceError, match=r"training\.device"):
            do(elsewhere)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has one")
def test_mps_where_there_is_none(job: Job, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"'mps', which this machine .*use auto or cpu"):
        execute(replace(job, device="mps", histories=tmp_path))


def test_a_loss_that_sharpness_cannot_take_is_named_before_training(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(catalog.get("mnist1d-cnn"), loss=torch.nn.CrossEntropyLoss(reduction="sum"))
    monkeypatch.setitem(catalog.TASKS, "mnist1d-cnn", task)
    measured = replace(job, histories=tmp_path, sharpness={"method": "lanczos", "samples": 256})
    with pytest.raises(TaskError, match=r"reduction='mean'.*sharpness to none"):
        execute(measured)
