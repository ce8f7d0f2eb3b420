"""CIFAR-100 (Krizhevsky 2009): 60,000 colour images of 100 classes, from the binary version.

`<folder>/cifar100/cifar-100-binary/train.bin` and `test.bin`: records of two label bytes (coarse,
fine) and 3,072 pixels (red, green, blue; rows). Where they are not, they are unpacked from the
archive in `<folder>/cifar100`, or from one that is downloaded. The python version, which
torchvision's class reads and downloads, is pickled, and no pickle is loaded here.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import torch
from torch import Tensor

from components.tasks.datasets import Data, Split
from components.tasks.downloads import download_folder, last_line
from components.tasks.errors import DataError

FOLDER = Path("cifar100", "cifar-100-binary")
IMAGES = {"train.bin": 50_000, "test.bin": 10_000}
RECORD = 2 + 3 * 32 * 32
COARSE, FINE = 20, 100  # classes; only the fine ones are learned
ARCHIVE = "cifar-100-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
MD5 = "03b5dce01913d631647c71ecec9e9cb8"
REMEDY = f"get {URL} (md5 {MD5}) and put it in {{folder}}"
AGAIN = "remove it to have it unpacked or downloaded again"


def load(folder: Path) -> Data:
    """45,000 / 5,000 / 10,000 images, x (n, 3, 32, 32) in [0, 1], y 0 … 99.

    The first 90 % of the training file train and the rest validates, as in the authors' code; the
    file's order is random already.

    Raises:
        DataError: a file is missing and not to be had, of another size, or has labels out of range.
    """
    home = folder / FOLDER
    if any(not (home / name).is_file() for name in IMAGES):
        _obtain(home)
    _check(home)
    (x, y), (test_x, test_y) = (_read(home / name) for name in IMAGES)
    train = len(y) * 9 // 10
    return Data(Split(x[:train], y[:train]), Split(x[train:], y[train:]), Split(test_x, test_y))


def _obtain(home: Path) -> None:
    """Both files from the archive, which is downloaded unless it lies there."""
    from torchvision.datasets.utils import check_integrity, download_url, extract_archive

    archive = home.with_name(ARCHIVE)
    if archive.is_file() and not check_integrity(archive, MD5):
        raise DataError(
            f"{archive}: its md5 is not {MD5}, so it is damaged or not CIFAR-100's binary version; "
            "remove it to have it downloaded again"
        )
    try:
        with download_folder(home.parent) as temporary:
            if not archive.is_file():
                download_url(URL, temporary, md5=MD5)
                archive = temporary / ARCHIVE
            extract_archive(archive, temporary)
            home.mkdir(exist_ok=True)
            for name in IMAGES:
                (temporary / FOLDER.name / name).replace(home / name)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        missing = " and no ".join(name for name in IMAGES if not (home / name).is_file())
        pickled = home.with_name("cifar-100-python")
        found = f"; {pickled} is pickled, and no pickle is loaded here" if pickled.exists() else ""
        raise DataError(
            f"{home}: no {missing}{found}, and getting it failed ({last_line(error)}); "
            + REMEDY.format(folder=home.parent)
        ) from None


def _check(home: Path) -> None:
    """Both files, before the first is read: they are as long as they must be."""
    for name, images in IMAGES.items():
        size, expected = (home / name).stat().st_size, images * RECORD
        if size != expected:
            raise DataError(f"{home / name}: {size:,} bytes instead of {expected:,}; {AGAIN}")


def _read(path: Path) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) float32 in [0, 1] and fine labels (n,) int64."""
    records = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    records = records.view(-1, RECORD)
    wrong = ((records[:, 0] >= COARSE) | (records[:, 1] >= FINE)).nonzero()
    if len(wrong):
        coarse, fine = records[wrong[0, 0], :2].tolist()
        raise DataError(
            f"{path}: image {int(wrong[0, 0])} has labels {coarse} and {fine}, which must be 0 to "
            f"{COARSE - 1} and 0 to {FINE - 1}; {AGAIN}"
        )
    x = records[:, 2:].reshape(-1, 3, 32, 32).float().div_(255)
    return x, records[:, 1].long()
