"""ImageNet: small trees in ImageFolder's layout; what is made of them; which are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.io import encode_jpeg, write_png

from components.runs.execute import execute
from components.runs.job import Job
from components.schedulers.parametric import Parametric
from components.tasks import catalog, imagenet
from components.tasks.datasets import Data
from components.tasks.errors import DataError
from components.tasks.own_data import imagenet_digest
from components.training.loop import train
from components.training.run import RunSpec

CLASSES = ("n01440764", "n01443537", "n02102040")


def picture(seed: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    """Coarse coloured squares: JPEG keeps them nearly."""
    coarse = np.random.default_rng(seed).integers(0, 256, (channels, 4, 5))
    return torch.from_numpy(np.kron(coarse, np.ones((1, height // 4, width // 5)))).byte()


def put(path: Path, image: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(image, quality=95).numpy().tobytes())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """`<data folder>/imagenet`: three classes, 7 + 2 images each of different sizes."""
    for label, name in enumerate(CLASSES):
        for part, count in (("train", 7), ("val", 2)):
            for i in range(count):
                image = picture(100 * label + i, 240 + 40 * i, 300 - 20 * i)
                put(tmp_path / "imagenet" / part / name / f"{name}_{i}.JPEG", image)
    return tmp_path / "imagenet"


def test_splits(home: Path) -> None:
    data = imagenet.load(home.parent)
    assert data.sizes == {"train": 19, "val": 2, "test": 6}
    train, val = data.train.make, data.val.make  # type: ignore[union-attr]
    files = {*train.files, *val.files}
    assert len(files) == 21 and all((home / "train" / f.decode()).exists() for f in files)
    for images in (train, val):
        assert [CLASSES[label] for label in images.labels] == [
            f.decode().split("/")[0] for f in images.files
        ]
    assert len(set(train.labels[:9])) == 3, "the first training images are from everywhere"
    assert data.test.sample(6)[1].tolist() == [0, 0, 1, 1, 2, 2]


def test_evaluation_takes_the_centre(home: Path) -> None:
    image = picture(5, 256, 320)
    for path in (home / "val" / CLASSES[0]).iterdir():
        put(path, image)
    x, _ = imagenet.load(home.parent).test.sample(1)
    assert x.shape == (1, 3, 224, 224) and x.dtype == torch.float32
    centre = image[:, 16:240, 48:272].float() / 255
    assert (x[0] - centre).abs().mean() < 0.02


def test_training_crops_follow_the_samples_seeds(home: Path) -> None:
    make = imagenet.load(home.parent).train.make  # type: ignore[union-attr]
    state = torch.random.get_rng_state()
    x, y = make([3, 4, 3], [1, 2, 1])
    assert torch.equal(torch.random.get_rng_state(), state), "dropout's generator was touched"
    assert torch.equal(x[0], x[2]) and y[0] == y[2] and x.shape == (3, 3, 224, 224)
    assert torch.equal(make([4], [2])[0][0], x[1]), "the others of a batch do not matter"
    several = make([3] * 8, list(range(8)))[0]
    assert len({several[i].float().mean().item() for i in range(8)}) > 4


def test_grey_and_png_images_are_taken(home: Path) -> None:
    folder = home / "val" / CLASSES[0]
    put(folder / f"{CLASSES[0]}_0.JPEG", picture(0, 240, 300, channels=1))
    write_png(picture(1, 240, 300), str(folder / f"{CLASSES[0]}_1.JPEG"))  # ImageNet has one
    x, _ = imagenet.load(home.parent).test.sample(2)
    assert torch.equal(x[0, 0], x[0, 2]) and not torch.equal(x[1, 0], x[1, 2])


def test_at_most_so_many_validate(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "MAX_VAL", 1)
    assert imagenet.load(home.parent).sizes == {"train": 20, "val": 1, "test": 6}


def test_digest_is_of_the_classes(home: Path) -> None:
    before = imagenet_digest(home.parent)
    shutil.copytree(home / "train" / CLASSES[0], home / "train" / "n99999999")
    assert imagenet_digest(home.parent) != before
    shutil.rmtree(home)
    with pytest.raises(DataError, match=r"imagenet.train: not there; ImageNet is expected as"):
        imagenet_digest(home.parent)


def flatten(home: Path) -> None:
    for path in list((home / "val").rglob("*.JPEG")):
        path.rename(home / "val" / path.name)
    for name in CLASSES:
        (home / "val" / name).rmdir()


def empty_class(home: Path) -> None:
    for path in (home / "train" / CLASSES[1]).iterdir():
        path.unlink()


def cut_short(home: Path) -> None:
    path = home / "val" / CLASSES[2] / f"{CLASSES[2]}_1.JPEG"
    path.write_bytes(path.read_bytes()[:600])


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (shutil.rmtree, r"imagenet/train: .*No such file.*expected as train/<class>/"),
    "no val": (lambda home: shutil.rmtree(home / "val"), r"imagenet/val: .*No such file"),
    "val not sorted": (flatten, r"imagenet/val: Couldn't find any class folder.*folder of its own"),
    "empty class": (empty_class, r"imagenet/train: Found no valid file for the classes n01443537"),
    "class missing in val": (
        lambda home: shutil.rmtree(home / "val" / CLASSES[1]),
        r"imagenet/val: no class n01443537, which .*imagenet/train has; copy it",
    ),
    "class missing in train": (
        lambda home: shutil.rmtree(home / "train" / CLASSES[1]),
        r"imagenet/train: no class n01443537, which .*imagenet/val has",
    ),
    "cut short": (cut_short, r"n02102040_1\.JPEG: does not decode \(.*truncated\); copy it again"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_folder_is_named(home: Path, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(home)
    with pytest.raises(DataError, match=message):
        imagenet.load(home.parent)


def test_more_classes_than_outputs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "CLASSES", 2)
    with pytest.raises(DataError, match=r"imagenet/train: 3 class folders, .* must be below 2"):
        imagenet.load(home.parent)


def test_a_broken_image_met_in_training_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "CHECKED", 2)
    path = home / "train" / CLASSES[1] / f"{CLASSES[1]}_3.JPEG"
    path.write_bytes(b"")
    data = imagenet.load(home.parent)
    with pytest.raises(DataError, match=r"^[^\n]*n01443537_3\.JPEG: does not decode [^\n]*$"):
        trained(data, updates=5)


def test_a_run_ends_with_test_metric_and_sharpness(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(catalog.get("imagenet-resnet34"), network=small_network, batch_size=4)
    monkeypatch.setitem(catalog.TASKS, task.name, task)
    spec = RunSpec(task.name, "constant", 0.1, 0, updates=10, points=2, train_samples=8)
    sharpness = {"method": "lanczos", "samples": 6}
    job = Job(spec, home.parent / "histories", home.parent, device="cpu", sharpness=sharpness)
    meta = execute(job).meta
    assert meta["test_metric"] is not None and meta["sharpness"]["lambda_max"] > 0
    assert meta["sharpness"]["samples"] == 6
    assert execute(replace(job, histories=home / "again")).meta["sharpness"] == meta["sharpness"]


def trained(data: Data, updates: int):  # type: ignore[no-untyped-def]
    task = replace(catalog.get("imagenet-resnet34"), network=small_network, batch_size=4)
    scheduler = Parametric("constant", peak_lr=0.1, updates=updates)
    return train(task, data, scheduler, seed=0, updates=updates, points=1)


def small_network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 1000)
    )


@pytest.mark.slow
def test_resnet34_trains_on_the_files(home: Path) -> None:
    task = replace(catalog.get("imagenet-resnet34"), batch_size=4)
    data = catalog.load_data(task, home.parent, train_samples=4)
    data = Data(data.train, data.val.first(1), data.test)
    scheduler = Parametric("constant", peak_lr=0.01, updates=4)
    outcome = train(task, data, scheduler, seed=0, updates=4, points=2)
    assert outcome.rows[1]["train_loss"] < outcome.rows[0]["train_loss"] < 9
