"""MNIST-1D: the package's generator, split for good, cached without pickle."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from components.tasks import mnist1d
from components.tasks.datasets import Data
from components.tasks.errors import DataError

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def data(datasets: Path) -> Data:
    return mnist1d.load(datasets)


@pytest.fixture
def cache(data: Data, datasets: Path, tmp_path: Path) -> Path:
    """A copy of the cache, to be damaged."""
    shutil.copytree(datasets / "mnist1d", tmp_path / "mnist1d")
    (path,) = (tmp_path / "mnist1d").iterdir()
    return path


def x_and_y(data: Data) -> list[torch.Tensor]:
    return [part for name in SPLITS for part in (getattr(data, name).x, getattr(data, name).y)]


def same(a: Data, b: Data) -> bool:
    return all(torch.equal(p, q) for p, q in zip(x_and_y(a), x_and_y(b), strict=True))


def test_shapes(data: Data) -> None:
    assert data.sizes == {"train": 4_000, "val": 1_000, "test": 10_000}
    for name in SPLITS:
        split = getattr(data, name)
        assert split.x.shape == (len(split), 1, 40) and split.x.dtype == torch.float32
        assert split.y.shape == (len(split),) and split.y.dtype == torch.int64


def test_splits_are_disjoint_and_cover_the_generators_signals(data: Data) -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    arguments = get_dataset_args()
    arguments.num_samples = 15_000
    made = make_dataset(arguments)
    x = np.concatenate([made["x"], made["x_test"]]).astype(np.float32)
    y = np.concatenate([made["y"], made["y_test"]])
    expected = sorted((row.tobytes(), label) for row, label in zip(x, y.tolist(), strict=True))
    splits = [(getattr(data, name).x[:, 0].numpy(), getattr(data, name).y) for name in SPLITS]
    found = sorted(
        (row.tobytes(), label)
        for rows, labels in splits
        for row, label in zip(rows, labels.tolist(), strict=True)
    )
    assert found == expected
    assert len({signal for signal, _ in found}) == 15_000  # no signal twice: disjoint


def test_classes_are_balanced(data: Data) -> None:
    for name in SPLITS:
        share = torch.bincount(getattr(data, name).y, minlength=10) / data.sizes[name]
        assert share.shape == (10,)
        assert (share - 0.1).abs().max() < 0.02


def test_to_moves_every_split(data: Data) -> None:
    moved = data.to("meta")
    assert all(part.is_meta for part in x_and_y(moved))
    assert moved.sizes == data.sizes


def test_second_load_reads_the_cache(
    data: Data, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist1d, "_generate", lambda: pytest.fail("generated again"))
    assert same(mnist1d.load(datasets), data)


def test_another_process_generates_the_same(data: Data, tmp_path: Path) -> None:
    code = "from components.tasks import mnist1d; import pathlib; mnist1d.load(pathlib.Path())"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert same(mnist1d.load(tmp_path), data)


def test_two_processes_may_write_the_cache_at_once(
    data: Data, datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(datasets / "mnist1d" / "signals-15000.npz") as file:
        signals = file["x"], file["y"]
    fork = multiprocessing.get_context("fork")
    both_found_nothing, results = fork.Barrier(2), fork.Queue()

    def generate() -> tuple[np.ndarray, np.ndarray]:
        both_found_nothing.wait(timeout=60)
        return signals

    monkeypatch.setattr(mnist1d, "_generate", generate)
    workers = [
        fork.Process(target=lambda: results.put(same(mnist1d.load(tmp_path), data)))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [True, True]
    for worker in workers:
        worker.join()
    assert [path.name for path in (tmp_path / "mnist1d").iterdir()] == ["signals-15000.npz"]


def test_generating_leaves_the_callers_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(()).item()

    def seed() -> None:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)

    monkeypatch.setattr(mnist1d, "SAMPLES", 50)
    seed()
    expected = draw()
    seed()
    mnist1d._generate()
    assert draw() == expected


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_signals(path: Path) -> None:
    with np.load(path) as file:
        x, y, digest = file["x"], file["y"], file["digest"]
    np.savez(path, x=-x, y=y, digest=digest)


def no_signals(path: Path) -> None:
    np.savez(path, x=np.zeros(3))


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([{}], dtype=object), y=np.zeros(3), digest=np.array(""))


@pytest.mark.parametrize("damage", [truncate, empty, other_signals, no_signals, pickled])
def test_damaged_cache_is_replaced_with_a_warning(
    data: Data, cache: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(cache) as file:
        signals = file["x"], file["y"]
    monkeypatch.setattr(mnist1d, "_generate", lambda: signals)  # the same, without the seconds
    damage(cache)
    with pytest.warns(
        UserWarning, match=r"signals-15000\.npz: .*; the signals are generated again"
    ):
        assert same(mnist1d.load(cache.parents[1]), data)
    assert same(mnist1d.load(cache.parents[1]), data)  # without a warning: replaced


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist1d, "_generate", lambda: (np.zeros((1, 40)), np.zeros(1)))
    (tmp_path / "mnist1d").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"mnist1d: cannot keep the generated signals.*writable"):
        mnist1d.load(tmp_path)
