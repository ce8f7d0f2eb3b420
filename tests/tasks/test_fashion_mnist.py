"""Fashion-MNIST: where its files are found, what is made of them, which files are refused."""

from __future__ import annotations

import gzip
import io
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.schedulers.parametric import Parametric
from components.tasks import catalog, fashion_mnist
from components.tasks.datasets import Data
from components.tasks.errors import DataError
from components.tasks.fashion_mnist import FILES, RAW
from components.training.loop import train

Numbers = dict[str, np.ndarray]


def made_up(train: int = 40, test: int = 10) -> Numbers:
    """The four files' content, small: every image is filled with its own number."""
    content = {}
    for part, count in (("train", train), ("t10k", test)):
        numbers = np.arange(count, dtype=np.uint8)
        images = np.broadcast_to(numbers[:, None, None], (count, 28, 28))
        content[f"{part}-images-idx3-ubyte"] = images
        content[f"{part}-labels-idx1-ubyte"] = numbers % 10
    return content


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write(raw: Path, content: Numbers, packed: bool = False) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    for name, array in content.items():
        if packed:
            (raw / f"{name}.gz").write_bytes(gzip.compress(idx(array), 1))
        else:
            (raw / name).write_bytes(idx(array))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder's place for the files, on a machine without Debian's and the network."""

    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    return tmp_path / "fashion-mnist" / RAW


def numbers(split: torch.Tensor) -> list[int]:
    """Which made-up images are in x."""
    return (split[:, 0, 0, 0] * 255).round().int().tolist()


@pytest.mark.parametrize("packed", [False, True])
def test_split_of_files_in_the_data_folder(raw: Path, packed: bool) -> None:
    write(raw, made_up(), packed)
    data = fashion_mnist.load(raw.parents[2])
    assert data.sizes == {"train": 36, "val": 4, "test": 10}
    assert sorted(numbers(data.train.x) + numbers(data.val.x)) == list(range(40))
    assert numbers(data.test.x) == list(range(10))
    for split in (data.train, data.val, data.test):
        assert [n % 10 for n in numbers(split.x)] == split.y.tolist()
        assert split.x.dtype == torch.float32 and split.x.shape[1:] == (1, 28, 28)
    torch.testing.assert_close(data.test.x[9], torch.full((1, 28, 28), 9 / 255))


def test_data_folder_comes_before_debian(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    debian = raw.parents[2] / "debian"
    monkeypatch.setattr(fashion_mnist, "DEBIAN", debian)
    write(debian, made_up(train=20), packed=True)
    assert fashion_mnist.load(raw.parents[2]).sizes["train"] == 18
    assert not raw.exists()  # Debian's files are read where they are
    write(raw, made_up())
    assert fashion_mnist.load(raw.parents[2]).sizes["train"] == 36


def test_download_where_there_are_no_files(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import FashionMNIST

    def download(self: FashionMNIST) -> None:
        write(Path(self.raw_folder), made_up())

    monkeypatch.setattr(FashionMNIST, "download", download)
    assert fashion_mnist.load(raw.parents[2]).sizes["train"] == 36
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)
    assert [path.name for path in raw.parents[1].iterdir()] == ["FashionMNIST"]


def test_neither_files_nor_download(raw: Path) -> None:
    with pytest.raises(DataError) as caught:
        fashion_mnist.load(raw.parents[2])
    message = str(caught.value)
    assert "no network in this test" in message and str(raw) in message
    assert "train-images-idx3-ubyte" in message and "dataset-fashion-mnist" in message


def test_download_cut_short_leaves_nothing(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import FashionMNIST

    def download(self: FashionMNIST) -> None:
        Path(self.raw_folder).mkdir(parents=True)
        (Path(self.raw_folder) / FILES[0]).write_bytes(b"half")
        raise ConnectionResetError("cut short")

    monkeypatch.setattr(FashionMNIST, "download", download)
    with pytest.raises(DataError, match="cut short"):
        fashion_mnist.load(raw.parents[2])
    assert list(raw.parents[1].iterdir()) == []


def test_download_of_another_md5_is_refused(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Page(io.BytesIO):
        length = url = None

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Page(b"we are sorry"))
    with pytest.raises(DataError, match=r"the download failed \(.*corrupted"):
        fashion_mnist.load(raw.parents[2])
    assert list(raw.parents[1].iterdir()) == []


def with_header(start: bytes) -> Callable[[bytes], bytes]:
    return lambda content: start + content[len(start) :]


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "truncated": ("train-images-idx3-ubyte", lambda c: c[:-1], "31375 bytes .* promises 31376"),
    "too long": ("t10k-labels-idx1-ubyte", lambda c: c + b"\0", "19 bytes .* promises 18"),
    "empty": ("train-labels-idx1-ubyte", lambda c: b"", "not an idx file of magic number 0x0801"),
    "no images": ("train-images-idx3-ubyte", lambda c: c[:4], "magic number 0x0803"),
    "wrong magic": ("t10k-images-idx3-ubyte", with_header(b"\0\0\x0d\x03"), "magic number 0x0803"),
    "labels for images": ("train-images-idx3-ubyte", lambda c: idx(np.zeros(40)), "number 0x0803"),
    "a web page": ("t10k-labels-idx1-ubyte", lambda c: b"<!DOCTYPE html>", "magic number 0x0801"),
    "other size": ("t10k-images-idx3-ubyte", lambda c: idx(np.zeros((10, 32, 32))), "32 x 32"),
    "fewer labels": ("train-labels-idx1-ubyte", lambda c: idx(np.zeros(39)), "39 labels for 40"),
    "label 10": ("t10k-labels-idx1-ubyte", lambda c: c[:-1] + b"\x0a", "labels must be 0 to 9"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", DAMAGE)
def test_corrupt_file_is_named(raw: Path, kind: str, packed: bool) -> None:
    name, damage, message = DAMAGE[kind]
    write(raw, made_up(), packed)
    path = raw / (f"{name}.gz" if packed else name)
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    path.write_bytes(gzip.compress(damage(content)) if packed else damage(content))
    with pytest.raises(DataError, match=rf"{path.name}: .*{message}.*; replace it"):
        fashion_mnist.load(raw.parents[2])


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"not gzip", lambda c: c[:60] + b"??" + c[62:]]
)
def test_corrupt_gz_is_named(raw: Path, damage: Callable[[bytes], bytes]) -> None:
    write(raw, made_up(), packed=True)
    path = raw / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"{path.name}: truncated or not gzip.*; replace it"):
        fashion_mnist.load(raw.parents[2])


def test_nothing_is_unpickled(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision would torch.load `processed/*.pt` left by an old version of it."""
    write(raw, made_up())
    processed = raw.parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        buffer = io.BytesIO()
        torch.save((torch.zeros(1, 28, 28), torch.zeros(1)), buffer)
        (processed / name).write_bytes(buffer.getvalue())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was loaded"))
    assert fashion_mnist.load(raw.parents[2]).sizes["train"] == 36


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, needs_system) -> Data:
    """The 70,000 images of Debian's package."""
    needs_system(fashion_mnist.DEBIAN / "train-images-idx3-ubyte.gz", "dataset-fashion-mnist")
    return catalog.load_data(
        catalog.get("fashion-mnist-cnn"), tmp_path_factory.mktemp("no-files"), 6_000
    )


def test_real_images(real: Data) -> None:
    assert real.sizes == {"train": 6_000, "val": 6_000, "test": 10_000}
    for split in (real.train, real.val, real.test):
        assert split.x.min() == 0 and split.x.max() == 1
        assert 0.28 < split.x.mean() < 0.292  # 0.2860 over the 60,000
        share = torch.bincount(split.y, minlength=10) / len(split)
        assert (share - 0.1).abs().max() < 0.012
    assert torch.equal(torch.bincount(real.test.y), torch.full((10,), 1_000))
    assert real.test.y[:5].tolist() == [9, 2, 1, 1, 6]  # as published


def test_small_images_are_the_others_pooled(real: Data, tmp_path: Path) -> None:
    small = fashion_mnist.load_small(tmp_path)
    assert small.sizes == {"train": 6_000, "val": 2_000, "test": 10_000}
    for name in ("train", "val", "test"):
        pooled, whole = getattr(small, name), getattr(real, name).first(len(getattr(small, name)))
        assert pooled.x.shape == (len(pooled), 1, 14, 14) and torch.equal(pooled.y, whole.y)
        quarters = [whole.x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        torch.testing.assert_close(pooled.x, sum(quarters) / 4)  # type: ignore[arg-type]


@pytest.mark.slow
def test_small_network_learns_from_real_images(tmp_path: Path, real: Data) -> None:
    task = catalog.get("fashion-mnist-small")
    data = catalog.load_data(task, tmp_path)
    scheduler = Parametric("onecycle", peak_lr=1e-2, updates=100)
    outcome = train(task, data, scheduler, seed=0, updates=100, points=2)
    assert outcome.rows[-1]["val_metric"] > 0.65


@pytest.mark.slow
def test_network_learns_from_real_images(real: Data) -> None:
    """A few small batches bring the paper's CNN well above chance."""
    task = replace(catalog.get("fashion-mnist-cnn"), batch_size=32)
    small = Data(real.train, real.val.first(200), real.test.first(1))
    scheduler = Parametric("constant", peak_lr=1e-3, updates=20)
    outcome = train(task, small, scheduler, seed=0, updates=20, points=2)
    assert outcome.rows[-1]["train_loss"] < outcome.rows[0]["train_loss"] < 2.4
    assert outcome.rows[-1]["val_metric"] > 0.3


@pytest.mark.slow
def test_resnet_trains_on_real_images(real: Data) -> None:
    task = replace(catalog.get("fashion-mnist-resnet18"), batch_size=16)
    small = Data(real.train, real.val.first(16), real.test.first(1))
    scheduler = Parametric("constant", peak_lr=1e-3, updates=8)
    outcome = train(task, small, scheduler, seed=0, updates=8, points=2)
    assert outcome.rows[-1]["train_loss"] < outcome.rows[0]["train_loss"] < 4
