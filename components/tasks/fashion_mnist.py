"""Fashion-MNIST (Xiao et al. 2017): 70,000 images of ten classes, through torchvision's class.

The four idx files are taken, in this order, from `<folder>/fashion-mnist/FashionMNIST/raw`
(torchvision's layout, unpacked or .gz), from Debian's package `dataset-fashion-mnist`, or
downloaded by torchvision into the first.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from components.tasks.datasets import Data, Split, shuffled
from components.tasks.downloads import download_folder, last_line
from components.tasks.errors import DataError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
RAW = Path("FashionMNIST", "raw")
PARTS = ("train", "t10k")
# what an idx file starts with: unsigned bytes in one or three dimensions
KINDS = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}
FILES = tuple(f"{part}-{kind}" for part in PARTS for kind in KINDS)
VAL_SHARE = 10  # one training image in ten is for validation
SMALL_TRAIN, SMALL_VAL = 6_000, 2_000
REMEDY = "replace it, or remove it to have it found or downloaded again"


def load(folder: Path) -> Data:
    """54,000 / 6,000 / 10,000 images, x (n, 1, 28, 28) in [0, 1].

    Raises:
        DataError: the files are nowhere to be had, or one is corrupt.
    """
    source = _find(folder / "fashion-mnist")
    with _unpacked(source) as root:
        (images, labels), test = (_read(root, source, part) for part in PARTS)
    order = shuffled(len(labels))
    val, train = order.tensor_split([len(order) // VAL_SHARE])
    return Data(
        train=_split(images[train], labels[train]),
        val=_split(images[val], labels[val]),
        test=_split(*test),
    )


def load_small(folder: Path) -> Data:
    """6,000 / 2,000 / 10,000 of `load`'s images, each split a part of the same one there.

    x (n, 1, 14, 14) is the mean of 2 × 2 pixels.

    Raises:
        DataError: as `load`.
    """
    data = load(folder)
    wanted = ((data.train, SMALL_TRAIN), (data.val, SMALL_VAL), (data.test, len(data.test)))
    parts = (split.sample(count) for split, count in wanted)
    return Data(*(Split(avg_pool2d(x, 2), y) for x, y in parts))


def _split(images: Tensor, labels: Tensor) -> Split:
    return Split(images[:, None].float().div_(255), labels)


def _find(home: Path) -> Path:
    """The folder that holds the four files, after a download if need be."""
    for source in (home / RAW, DEBIAN):
        if all(_present(source, name) for name in FILES):
            return source
    _download(home)
    return home / RAW


def _present(source: Path, name: str) -> Path | None:
    return next((p for p in (source / name, source / f"{name}.gz") if p.is_file()), None)


def _download(home: Path) -> None:
    """Let torchvision download, beside the final place: a download cut short leaves nothing."""
    from torchvision.datasets import FashionMNIST

    try:
        with download_folder(home) as temporary:
            FashionMNIST(temporary, download=True)  # checks the md5 of what it gets
            (home / RAW).mkdir(parents=True, exist_ok=True)
            for name in FILES:
                (temporary / RAW / name).replace(home / RAW / name)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Fashion-MNIST is neither in {home / RAW} nor in {DEBIAN}, and the download failed "
            f"({last_line(error)}). Put {', '.join(FILES)} (or .gz) into "
            f"{home / RAW}, or on Debian: apt-get install dataset-fashion-mnist"
        ) from None


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """A root as torchvision wants it: the four checked files unpacked in `FashionMNIST/raw`."""
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as temporary:
        raw = Path(temporary) / RAW
        raw.mkdir(parents=True)
        for name in FILES:
            packed = _present(source, name)
            assert packed is not None
            if packed.suffix != ".gz":
                (raw / name).symlink_to(packed.resolve())
            else:
                _unpack(packed, raw / name)
            _check(raw / name, packed, dimensions=KINDS[name.split("-", 1)[1]])
        yield Path(temporary)


def _unpack(packed: Path, target: Path) -> None:
    try:
        with gzip.open(packed) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{packed}: truncated or not gzip ({error}); {REMEDY}") from None


def _check(path: Path, named: Path, dimensions: int) -> None:
    """Is `path` an idx file of bytes with so many dimensions, and whole? `named` is in messages."""
    with path.open("rb") as file:
        header = file.read(4 * (dimensions + 1))
    magic = 0x800 + dimensions
    if int.from_bytes(header[:4], "big") != magic or len(header) < 4 * (dimensions + 1):
        raise DataError(f"{named}: not an idx file of magic number {magic:#06x}; {REMEDY}")
    sizes = [int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4)]
    expected = len(header) + torch.Size(sizes).numel()
    if path.stat().st_size != expected:
        raise DataError(
            f"{named}: {path.stat().st_size} bytes (unpacked) where its header promises "
            f"{expected}; {REMEDY}"
        )
    if dimensions == 3 and sizes[1:] != [28, 28]:
        raise DataError(f"{named}: images of {sizes[1]} x {sizes[2]}, not 28 x 28; {REMEDY}")


def _read(root: Path, source: Path, part: str) -> tuple[Tensor, Tensor]:
    """Images (n, 28, 28) uint8 and labels (n,) int64 of `train` or `t10k`."""
    from torchvision.datasets import FashionMNIST

    dataset = FashionMNIST(root, train=part == "train")
    images, labels = dataset.data, dataset.targets
    file = _present(source, f"{part}-labels-idx1-ubyte")
    if len(images) != len(labels):
        raise DataError(f"{file}: {len(labels)} labels for {len(images)} images; {REMEDY}")
    if len(labels) == 0 or int(labels.max()) > 9:
        raise DataError(f"{file}: labels must be 0 to 9, and at least one; {REMEDY}")
    return images, labels
