"""Data in a fixed train/validation/test split: tensors in memory, or a stream of samples.

Both kinds of split offer the same: `device`, `to`, `first`, `sample`, `trial`, `shuffled`,
`ordered`, `len`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from components.tasks.errors import DataError

# Of the splits: a constant, so that no run can be validated on what another was trained on.
SPLIT_SEED = 20240

Device = torch.device | str
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Split:
    """Samples in memory: `x` (n, …) as the network takes them, and classes `y` int64.

    Mostly x is float32 and y (n,). Where every sample has several classes to be predicted, as in
    text, y is (n, k); x may be int64.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    @property
    def device(self) -> torch.device:
        return self.x.device

    def to(self, device: Device) -> Split:
        return Split(self.x.to(device), self.y.to(device))

    def first(self, count: int) -> Split:
        return Split(self.x[:count], self.y[:count])

    def sample(self, count: int) -> Batch:
        """x and y of the first `count` samples (all, where there are fewer), on the device."""
        return self.x[:count], self.y[:count]

    def trial(self, count: int) -> Batch:
        """The same as a batch of training, which may be written to."""
        return self.x[:count].clone(), self.y[:count].clone()

    def shuffled(self, batch_size: int, order: torch.Generator) -> Iterator[Batch]:
        """One epoch for training, in an order drawn from `order`; the last batch may be smaller."""
        permutation = torch.randperm(len(self.y), generator=order, device=self.device)
        for indices in permutation.split(batch_size):
            yield self.x[indices], self.y[indices]

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, for evaluation."""
        return zip(self.x.split(batch_size), self.y.split(batch_size), strict=True)


@dataclass(frozen=True)
class Stream:
    """Samples that do not fit in memory, made batch by batch.

    A batch of x made as uint8 travels to the device as such and becomes float32 in [0, 1] there.

    Attributes:
        make: the batch of the samples of given indices. With a seed for each of them it is for
            training, and whatever `make` draws at random must follow from the sample's seed alone:
            so a run does not depend on how many workers made its batches.
        size: number of samples, index 0 … size-1; the first ones should be from everywhere.
        workers: whether making takes long enough (decoding images) to be done in worker processes,
            as many as torch has threads here. Then `make` must be picklable.
    """

    make: Callable[[list[int], list[int] | None], Batch]
    size: int
    workers: bool
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)

    def __len__(self) -> int:
        return self.size

    def to(self, device: Device) -> Stream:
        return replace(self, device=torch.device(device))

    def first(self, count: int) -> Stream:
        return replace(self, size=min(count, self.size))

    def sample(self, count: int) -> Batch:
        """As `Split.sample`; made as for evaluation."""
        return self._arrive(self.make(list(range(min(count, self.size))), None))

    def trial(self, count: int) -> Batch:
        """As `Split.trial`; made as for training, in this process."""
        indices = list(range(min(count, self.size)))
        return self._arrive(self.make(indices, indices))

    def shuffled(self, batch_size: int, order: torch.Generator) -> Iterator[Batch]:
        """As `Split.shuffled`."""
        # one wait for the device per epoch; what follows is drawn on the CPU on every device
        seed = torch.randint(2**62, (), generator=order, device=order.device).item()
        draw = torch.Generator().manual_seed(int(seed))
        indices = torch.randperm(self.size, generator=draw)
        seeds = torch.randint(2**62, (self.size,), generator=draw)
        parts = zip(indices.split(batch_size), seeds.split(batch_size), strict=True)
        return self._made(list(parts))

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """As `Split.ordered`."""
        return self._made([(part, None) for part in torch.arange(self.size).split(batch_size)])

    def _made(self, requests: list[tuple[Tensor, Tensor | None]]) -> Iterator[Batch]:
        batches = DataLoader(
            _Batches(self.make, requests),
            batch_size=None,
            num_workers=torch.get_num_threads() if self.workers else 0,
            multiprocessing_context=_worker_context(self.make) if self.workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the global one, as dropout does
        )
        for batch in batches:
            if isinstance(batch, DataError):
                raise batch
            yield self._arrive(batch)

    def _arrive(self, batch: Batch) -> Batch:
        x, y = (part.to(self.device, non_blocking=True) for part in batch)
        return (x.float().div_(255) if x.dtype == torch.uint8 else x), y


def _worker_context(make: Callable[[list[int], list[int] | None], Batch]) -> BaseContext:
    """Not plain fork, which copies whatever threads and handlers the process has by now.

    Workers are forked from a server that has imported once what they need, or from that of the
    process they are in, such as a sweep's.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["components.tasks.catalog", "torchvision.transforms.v2", make.__module__]
    )
    return context


class _Batches(torch.utils.data.Dataset):
    """The batches of an epoch, as DataLoader asks for them."""

    def __init__(
        self,
        make: Callable[[list[int], list[int] | None], Batch],
        requests: list[tuple[Tensor, Tensor | None]],
    ) -> None:
        self.make, self.requests = make, requests

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, number: int) -> Batch | DataError:
        indices, seeds = self.requests[number]
        try:
            return self.make(indices.tolist(), None if seeds is None else seeds.tolist())
        except DataError as error:  # handed over: raised, DataLoader would bury it in a traceback
            return error


@dataclass(frozen=True)
class Data:
    """Three disjoint splits on one device. `test` is for the very end of a run."""

    train: Split | Stream
    val: Split | Stream
    test: Split | Stream

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    @property
    def device(self) -> torch.device:
        return self.train.device

    def to(self, device: Device) -> Data:
        """The same data on `device`: resident there, or arriving there."""
        return Data(self.train.to(device), self.val.to(device), self.test.to(device))


def shuffled(count: int) -> Tensor:
    """(count,) int64: the same permutation of 0 … count-1 on every machine and version.

    Not torch's generator, whose stream may change between versions; numpy's legacy one is frozen.
    """
    return torch.from_numpy(np.random.RandomState(SPLIT_SEED).permutation(count))
