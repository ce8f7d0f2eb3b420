"""ImageNet (Russakovsky et al. 2015), or other images in the same folders, decoded as they are met.

`<folder>/imagenet/train/<class>/*.JPEG` and `<folder>/imagenet/val/<class>/*.JPEG`: the layout of
torchvision's ImageFolder.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.tasks.datasets import Batch, Data, Stream, shuffled
from components.tasks.errors import DataError
from components.tasks.own_data import IMAGENET

CLASSES = 1000  # of the network; fewer folders are allowed
SIDE, SHORTER_SIDE = 224, 256  # pixels: of the crop; what an image is scaled to for evaluation
MAX_VAL = 10_000  # images validated at every log point; ImageNet's own 50,000 are for the test
CHECKED = 16  # images of each folder decoded before anything is trained


def load(folder: Path) -> Data:
    """Streams of x (n, 3, 224, 224), in [0, 1], and y 0 … 999, the class folders in sorted order.

    One in ten of the images in `train`, at most 10,000, validates, the others train; `val` is the
    test. Training crops and flips at random; evaluation takes the centre.

    Raises:
        DataError: a folder is missing, empty or has other classes than the other; more than 1,000
            classes; an image does not decode (a few are tried; others are named when met).
    """
    home = folder / "imagenet"
    (train, classes), (test, test_classes) = _listed(home / "train"), _listed(home / "val")
    if classes != test_classes:
        name = min(set(classes) ^ set(test_classes))
        there, lacking = ("train", "val") if name in classes else ("val", "train")
        raise DataError(
            f"{home / lacking}: no class {name}, which {home / there} has; copy it, or remove it "
            "from both"
        )
    order = shuffled(len(train.labels)).numpy()
    val, rest = np.split(order, [max(1, min(MAX_VAL, len(order) // 10))])
    return Data(train.part(rest).stream(), train.part(val).stream(), test.stream())


@dataclass(frozen=True)
class Images:
    """Image files and their classes: makes the batches of a stream.

    Attributes:
        root: the folder that `files` are relative to.
        files: (n,) bytes. An array, since Python strings, over a million of them, would be copied
            page by page into every worker by the mere counting of references.
        labels: (n,) int64.
    """

    root: Path
    files: np.ndarray[Any, np.dtype[np.bytes_]]
    labels: np.ndarray[Any, np.dtype[np.int64]]

    def __call__(self, indices: list[int], seeds: list[int] | None) -> Batch:
        """x (n, 3, 224, 224) uint8 and y (n,).

        Raises:
            DataError: an image does not decode.
        """
        train, evaluate = _transforms()
        images = [self.decode(index) for index in indices]
        if seeds is None:
            x = [evaluate(image) for image in images]
        else:
            with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
                x = []
                for image, seed in zip(images, seeds, strict=True):
                    torch.random.default_generator.manual_seed(seed)
                    x.append(train(image))
        return torch.stack(x), torch.from_numpy(self.labels[indices])

    def decode(self, index: int) -> Tensor:
        """(3, height, width) uint8, whatever the file's own channels."""
        from torchvision.io import ImageReadMode, decode_image
        from torchvision.transforms.v2.functional import to_dtype

        path = self.root / os.fsdecode(self.files[index])
        try:
            return to_dtype(decode_image(str(path), ImageReadMode.RGB), torch.uint8, scale=True)
        except RuntimeError as error:
            reason = str(error).rsplit(", ", 1)[-1]
            raise DataError(
                f"{path}: does not decode ({reason}); copy it again or remove it"
            ) from None

    def part(self, indices: np.ndarray[Any, np.dtype[np.int64]]) -> Images:
        return Images(self.root, self.files[indices], self.labels[indices])

    def stream(self) -> Stream:
        return Stream(self, len(self.labels), workers=True)


def _listed(root: Path) -> tuple[Images, list[str]]:
    """The images below a folder, of which a few are tried, and the names of its classes."""
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(root)
    except FileNotFoundError as error:
        raise DataError(
            f"{root}: {str(error).splitlines()[0]}; ImageNet is expected as {IMAGENET} in "
            f"{root.parent}. Unpack every class into a folder of its own"
        ) from None
    if len(found.classes) > CLASSES:
        raise DataError(
            f"{root}: {len(found.classes):,} class folders, and labels must be below {CLASSES}, "
            "the network's outputs; remove the others"
        )
    files = np.array([os.fsencode(os.path.relpath(path, root)) for path, _ in found.samples])
    images = Images(root, files, np.array([label for _, label in found.samples], dtype=np.int64))
    for index in np.linspace(0, len(files) - 1, min(CHECKED, len(files))).astype(int):
        images.decode(index)
    return images, found.classes


@functools.cache
def _transforms() -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    from torchvision.transforms import v2

    train = v2.Compose([v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip()])
    return train, v2.Compose([v2.Resize(SHORTER_SIDE), v2.CenterCrop(SIDE)])
