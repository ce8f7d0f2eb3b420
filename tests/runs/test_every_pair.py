"""`lode train --task … --scheduler …` of every pair: the real networks, small files, few updates.

Data that cannot be had here are small files in their exact format, batches hold 4 samples,
TinyStories' network is smaller (a run would take minutes), and what has to be learned first is
hardly learned: it is about what fits together.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.cli.main import cli
from components.runs import plan
from components.runs.execute import load_data
from components.schedulers import schedule_free
from components.schedulers.learning import METHODS
from components.schedulers.names import (
    LEARNED_SCHEDULERS,
    MULTI_POWER_LAW,
    PARAMETRIC_SCHEDULERS,
    SCHEDULERS,
)
from components.schedulers.policy import save_policy
from components.settings import load
from components.steps.fit import fit_models
from components.storage.workspace import Workspace
from components.tasks import catalog, cifar100, fashion_mnist, imagenet
from components.tasks.datasets import Data, Stream
from components.tasks.models.gpt import GPT
from components.tasks.task import Task
from components.training.history import read_histories
from tests.lode.conftest import synthetic
from tests.tasks import (
    test_cifar100,
    test_fashion_mnist,
    test_imagenet,
    test_text,
    test_tinystories,
)

ROOT = Path(__file__).parents[2]
POINTS = 10  # the fewest there may be
# Of the tasks that differ in nothing a scheduler looks at (a plain network; convolutions and
# dropout; batch norm and residuals; attention; a stream instead of a tensor) one each has every
# scheduler, the others those that read the network (gns) or know nothing of it. Functions of the
# update alone are all alike; tests/schedulers/test_every_scheduler.py trains the others of them,
# and tests/steps/test_multi_power_law.py the law's, which is a table of rates.
DIFFERENT = (
    "digits-mlp",
    "fashion-mnist-cnn",
    "fashion-mnist-resnet18",
    "text-minigpt",
    "imagenet-resnet34",
)
ALIKE = {*PARAMETRIC_SCHEDULERS, MULTI_POWER_LAW} - {"onecycle"}
PAIRS = [
    (task, name)
    for task in catalog.TASKS
    for name in SCHEDULERS
    if (name not in ALIKE if task in DIFFERENT else name in ("onecycle", "gns", "lode"))
]
WITHOUT_RATE = ("pbt", "lode")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, datasets: Path) -> Path:
    """A data folder with files of every task that reads any."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copytree(datasets, folder, dirs_exist_ok=True)
    test_fashion_mnist.write(
        folder / "fashion-mnist" / fashion_mnist.RAW, test_fashion_mnist.made_up()
    )
    (folder / cifar100.FOLDER).mkdir(parents=True)
    for name, count in test_cifar100.COUNTS.items():
        test_cifar100.records(count, seed=0).tofile(folder / cifar100.FOLDER / name)
    for label, name in enumerate(test_imagenet.CLASSES):
        for part, count in (("train", 5), ("val", 1)):
            for i in range(count):
                path = folder / "imagenet" / part / name / f"{i}.JPEG"
                test_imagenet.put(path, test_imagenet.picture(10 * label + i, 240, 300))
    test_text.put(folder, test_text.made(12_000))
    some = [test_tinystories.as_published(test_tinystories.stories(n, n)) for n in (60, 40)]
    test_tinystories.put(folder, *some)
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LODE and a judge after one update each."""
    folder = tmp_path_factory.mktemp("fitted")
    settings = load(ROOT / "params.yaml", {"lode.fit.updates": 1, "lode.judge.updates": 1})
    sweep = [
        synthetic(scheduler, peak, seed, points=POINTS)
        for scheduler in ("constant", "cosine")
        for peak in (0.01, 0.03)
        for seed in (0, 1, 2)
    ]
    fit_models(settings, sweep, [], [], folder=folder / "lode", checkpoint=folder / "checkpoint")
    return folder / "lode"


def decoded_here(load: Callable[[Path], Data]) -> Callable[[Path], Data]:
    """Without the worker processes whose start takes longer than a run of ours."""

    def loaded(folder: Path) -> Data:
        data = load(folder)
        parts = (data.train, data.val, data.test)
        return Data(*(replace(p, workers=False) if isinstance(p, Stream) else p for p in parts))

    return loaded


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Batches of 4, populations of 2, smaller crops, few looks by
    schedule-free, and files that may hold few images."""
    for name, task in catalog.TASKS.items():
        few = replace(task, batch_size=4, load=decoded_here(task.load))
        if name == "tinystories-minigpt":
            few = replace(few, network=smaller_gpt)
        monkeypatch.setitem(catalog.TASKS, name, few)
    for name, count in test_cifar100.COUNTS.items():
        monkeypatch.setitem(cifar100.IMAGES, name, count)
    monkeypatch.setattr(plan, "POPULATION", 2)
    monkeypatch.setattr(imagenet, "SIDE", 64)
    monkeypatch.setattr(schedule_free, "RECALIBRATION", 2)
    caches = (load_data, imagenet._transforms)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def smaller_gpt() -> GPT:
    return GPT(tokens=1_000, context=256, blocks=2, width=64, heads=8, hidden=64, dropout=0.1)


def put_policy(task: Task, scheduler: str) -> None:
    """A policy that knows nothing, where `lode learn` would leave its own."""
    policy = METHODS[scheduler].policy.create(task.network(), (1e-3, 1e-1)).eval()
    folder = Workspace(Path()).policy(scheduler, task.name)
    save_policy(
        policy, folder, scheduler=scheduler, task=task.name, learning={"learning_updates": 0}
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this LODE was fitted on runs of")
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "scheduler"), PAIRS)
def test_it_trains(workspace: Path, files: Path, fitted: Path, name: str, scheduler: str) -> None:
    (workspace / "data").mkdir()
    (workspace / "data" / "datasets").symlink_to(files)
    if scheduler in LEARNED_SCHEDULERS:
        put_policy(catalog.get(name), scheduler)
    if scheduler == "lode":
        shutil.copytree(fitted, Workspace(Path()).lode(name))
    rate = [] if scheduler in WITHOUT_RATE else ["--peak-lr", "0.001"]
    sizes = [f"training.updates={POINTS}", f"training.points={POINTS}", "training.train_samples=8"]
    done = CliRunner().invoke(
        cli,
        ["train", "--task", name, "--scheduler", scheduler, "--seed", "0", *rate]
        + [word for size in sizes for word in ("--set", size)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    (history,) = read_histories(workspace / "runs" / name)
    assert history.completed and 0 <= history.meta["test_metric"] <= 1
    assert history.meta["scheduler"] == scheduler
    assert len(history.points) == POINTS and (history.points["lr"] > 0).all()
