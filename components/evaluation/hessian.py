"""The Hessian of a network's mean loss, by its products with vectors.

A product differentiates the gradient once more (Pearlmutter, *Fast exact multiplication by the
Hessian*, 1994). The graph of the gradient does not depend on the vector, so it is kept over all
products, as far as it fits.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

# Bytes of graphs that are kept: what a process beside others, one per core, can have to itself.
# All of the small tasks' fit; of a ResNet18 not even one batch of 256 does.
GRAPHS = 2**30
HALF = (torch.float16, torch.bfloat16)

Graph = list[tuple[int, Tensor]]  # by number of the parameter, its gradient, to be differentiated


class Hessian:
    """v -> Hv, over all parameters that are trained, of the mean loss of a fixed set.

    Made and used within `as_evaluated`. Parameters are each taken once, however many layers they
    are tied to, and in the order of `model.parameters()`.

    Args:
        model, loss_fn, x, y: in fp32 or fp64.
        batch_size: samples per graph; bounds memory where graphs are not kept.

    Attributes:
        products: how many were made.

    Raises:
        ValueError: no parameter is trained.
    """

    def __init__(self, model: nn.Module, loss_fn: nn.Module, x: Tensor, y: Tensor, batch_size: int):
        self._model, self._loss = model, loss_fn
        self._parameters = trained(model)
        if not self._parameters:
            raise ValueError("the network has no parameters that are trained")
        # an infinite weight may saturate a layer, and finite products would then mean nothing
        self._finite = all(bool(p.isfinite().all()) for p in model.parameters())
        self._sizes = [p.numel() for p in self._parameters]
        self._batches = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
        self._weights = [len(part) / len(y) for _, part in self._batches]
        count = _that_fit(self._graph, len(self._batches))
        self._kept = [self._graph(i) for i in range(count)]
        self.products = 0

    def start(self, seed: int) -> Tensor:
        """A random unit vector (P,): the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        v = torch.randn(sum(self._sizes), generator=generator, dtype=torch.float64)
        return (v / v.norm()).to(self._parameters[0].dtype).to(self._parameters[0].device)

    def __call__(self, vector: Tensor) -> Tensor:
        """Hv of v (P,).

        Raises:
            FloatingPointError: a weight is not finite.
        """
        if not self._finite:
            raise FloatingPointError("a weight is not finite")
        self.products += 1
        total = torch.zeros_like(vector)
        for i in range(len(self._batches)):
            graph = self._kept[i] if i < len(self._kept) else self._graph(i)
            total += self._differentiated(graph, vector)
        return total

    def _graph(self, i: int) -> Graph:
        """The gradient of batch i's share of the loss, as far as it depends on the parameters."""
        x, y = self._batches[i]
        loss = self._weights[i] * self._loss(self._model(x), y)
        if not loss.requires_grad:
            return []
        gradient = torch.autograd.grad(loss, self._parameters, create_graph=True, allow_unused=True)
        return [(k, g) for k, g in enumerate(gradient) if g is not None and g.requires_grad]

    def _differentiated(self, graph: Graph, vector: Tensor) -> Tensor:
        if not graph:
            return torch.zeros_like(vector)
        numbers, gradients = zip(*graph, strict=True)
        parts = vector.split(self._sizes)
        along = [parts[k].view_as(self._parameters[k]) for k in numbers]
        found = torch.autograd.grad(
            gradients, self._parameters, along, retain_graph=True, materialize_grads=True
        )
        return torch.cat([part.reshape(-1) for part in found])


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that the Hessian is of, in its order."""
    return [p for p in model.parameters() if p.requires_grad]


def in_full_precision(
    model: nn.Module, loss_fn: nn.Module, x: Tensor, y: Tensor
) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """As they are, or copies in fp32 where weights or statistics are of half precision: second
    derivatives of those are noise."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    if not any(tensor.dtype in HALF for tensor in tensors):
        return model, loss_fn, x, y
    x, y = (part.float() if part.dtype in HALF else part for part in (x, y))
    return copy.deepcopy(model).float(), copy.deepcopy(loss_fn).float(), x, y


@contextmanager
def as_evaluated(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within: the network in eval mode, fp32 of all 23 bits, attention that has a second derivative
    (fused kernels have none). Afterwards everything is as it was, random state included."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            _without_tf32(),
        ):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Convolutions have it on by default: its ten bits would be the residual's floor."""
    convolutions = torch.backends.cudnn.allow_tf32
    products = torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def _that_fit(graph: Callable[[int], Graph], count: int) -> int:
    """How many of `count` graphs of the first one's size are to be kept."""
    held: dict[int, int] = {}  # bytes by address: operations share much of what they save

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself would be a cycle that is never freed

    with saved_tensors_hooks(note, lambda tensor: tensor):
        graph(0)
    return min(count, GRAPHS // max(sum(held.values()), 1))
