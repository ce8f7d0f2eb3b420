"""CIFAR-100: small files in the binary version's format; which are refused; a few steps on them."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from components.schedulers.parametric import Parametric
from components.tasks import catalog, cifar100
from components.tasks.cifar100 import ARCHIVE, FOLDER, IMAGES, RECORD
from components.tasks.errors import DataError
from components.training.loop import train

COUNTS = {"train.bin": 200, "test.bin": 50}


def records(count: int, seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).integers(0, 256, (count, RECORD), dtype=np.uint8)
    made[:, 0], made[:, 1] = np.arange(count) % 20, np.arange(count) % 100
    return made


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server answers at the address, whatever network the machine has."""
    monkeypatch.setattr(cifar100, "URL", f"http://127.0.0.1:9/{ARCHIVE}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the two files, which hold few images and may."""
    for name, count in COUNTS.items():
        monkeypatch.setitem(IMAGES, name, count)
        (tmp_path / FOLDER).mkdir(parents=True, exist_ok=True)
        records(count, seed=count).tofile(tmp_path / FOLDER / name)
    return tmp_path


def test_images_labels_and_split(folder: Path) -> None:
    data = cifar100.load(folder)
    assert data.sizes == {"train": 180, "val": 20, "test": 50}
    raw = records(200, seed=200)
    pixels = torch.from_numpy(raw[:, 2:].reshape(-1, 3, 32, 32)).float() / 255
    for split, part in ((data.train, slice(180)), (data.val, slice(180, 200))):
        x, y = split.sample(200)
        torch.testing.assert_close(x, pixels[part])
        assert y.tolist() == raw[part, 1].tolist() and y.dtype == torch.int64
    # red, green, blue planes one after the other, rows first
    assert data.test.sample(50)[0][7, 1, 2, 3] == records(50, 50)[7, 2 + 1024 + 2 * 32 + 3] / 255


def test_real_files_have_the_published_sizes() -> None:
    assert {n: c * RECORD for n, c in IMAGES.items()} == {
        "train.bin": 153_700_000,
        "test.bin": 30_740_000,
    }


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_between_records(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-RECORD])


def label(column: int, value: int) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[3 * RECORD + column] = value
        path.write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            Path.unlink,
            r"-binary: no test\.bin, and getting it failed .*; get http.*put it in .*100",
        ),
        (cut, r"test\.bin: 153,699 bytes instead of 153,700; remove it to have it unpacked"),
        (cut_between_records, r"test\.bin: 150,626 bytes instead of 153,700; remove it"),
        (label(1, 100), r"test\.bin: image 3 has labels 3 and 100, which must .* 0 to 99; remove"),
        (label(0, 20), r"test\.bin: image 3 has labels 20 and 3, which must be 0 to 19"),
    ],
)
def test_bad_file_is_named(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder / FOLDER / "test.bin")
    with pytest.raises(DataError, match=message):
        cifar100.load(folder)


def packed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive of the folder's files, which are gone then; its md5 is taken for the real one."""
    archive = folder / "cifar100" / ARCHIVE
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder / FOLDER, FOLDER.name)
    shutil.rmtree(folder / FOLDER)
    monkeypatch.setattr(cifar100, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    return archive


def test_an_archive_put_there_is_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cifar100.load(folder)
    archive = packed(folder, monkeypatch)
    assert torch.equal(cifar100.load(folder).train.x, before.train.x)
    assert sorted(p.name for p in archive.parent.iterdir()) == [FOLDER.name, ARCHIVE]


def test_a_damaged_archive_is_named_and_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(folder, monkeypatch)
    damaged = archive.read_bytes()[:-100]
    archive.write_bytes(damaged)
    with pytest.raises(DataError, match=rf"{ARCHIVE}: its md5 is not .*remove it to have it down"):
        cifar100.load(folder)
    assert archive.read_bytes() == damaged


@pytest.mark.parametrize("right", [True, False])
def test_download(folder: Path, monkeypatch: pytest.MonkeyPatch, right: bool) -> None:
    archive = packed(folder, monkeypatch)
    content = archive.read_bytes() if right else b"a page that says sorry"
    archive.unlink()
    home = archive.parent

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(cifar100, "URL", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
        try:
            if right:
                assert cifar100.load(folder).sizes == {"train": 180, "val": 20, "test": 50}
                assert [p.name for p in home.iterdir()] == [FOLDER.name]
            else:
                with pytest.raises(DataError, match=r"getting it failed \(.*corrupted.*; get http"):
                    cifar100.load(folder)
                assert list(home.iterdir()) == []
        finally:
            server.shutdown()


def test_the_pickled_version_is_not_touched(tmp_path: Path) -> None:
    pickled = tmp_path / FOLDER.parent / "cifar-100-python"
    pickled.mkdir(parents=True)
    (pickled / "train").write_bytes(b"a pickle")
    with pytest.raises(
        DataError,
        match=r"no train\.bin and no test\.bin; .*python is pickled, and .*getting it failed",
    ):
        cifar100.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar100-resnet18", "cifar100-resnet18-authors"])
def test_networks_train_on_the_files(folder: Path, name: str) -> None:
    """Sixteen images learned by heart in a few augmented steps, which a broken path could not."""
    task = replace(catalog.get(name), batch_size=16)
    data = catalog.load_data(task, folder, train_samples=16)
    scheduler = Parametric("constant", peak_lr=1e-3, updates=6)
    data = replace(data, val=data.val.first(4))
    outcome = train(task, data, scheduler, seed=0, updates=6, points=2)
    assert outcome.rows[1]["train_loss"] < outcome.rows[0]["train_loss"] < 7
