"""Products with the Hessian against the dense one, for every kind of network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.func import hessian as dense_hessian

from components.evaluation import hessian as module
from components.evaluation.hessian import Hessian, as_evaluated, trained

LOSS = nn.CrossEntropyLoss()


def dense(model: nn.Module, x: Tensor, y: Tensor, loss: nn.Module = LOSS) -> Tensor:
    """The Hessian (P, P) over the trained parameters, in eval mode."""
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in own.values()]

    def of(flat: Tensor) -> Tensor:
        parts = zip(own.items(), flat.split(sizes), strict=True)
        return loss(functional_call(model, {n: f.view_as(p) for (n, p), f in parts}, (x,)), y)

    flat = torch.cat([p.detach().flatten() for p in own.values()])
    with as_evaluated(model, x.device):
        found: Tensor = dense_hessian(of)(flat)
    return found


def products(model: nn.Module, x: Tensor, y: Tensor, batch_size: int, loss=LOSS) -> Tensor:  # type: ignore[no-untyped-def]
    """The same by as many products as there are parameters."""
    with as_evaluated(model, x.device):
        product = Hessian(model, loss, x, y, batch_size)
        size = sum(p.numel() for p in trained(model))
        return torch.stack([product(column) for column in torch.eye(size, dtype=x_type(model))])


def x_type(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


class Tied(nn.Module):
    """Its output layer is its embedding; integers in, classes per position out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.tanh(self.embedding(x))).transpose(1, 2)


class Attention(nn.Module):
    """Through torch's own attention, whose fused kernels have no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        words = x.view(len(x), 2, 4)
        mixed = F.scaled_dot_product_attention(self.query(words), words, words)
        return self.head(mixed.mean(1))


class Unused(nn.Module):
    """One parameter that the loss does not depend on, one on which it depends linearly."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.ones(2))
        self.slope = nn.Parameter(torch.ones(()))
        self.curve = nn.Parameter(torch.tensor([2.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.curve.pow(3).sum() + self.slope).expand(len(x), 1)


class Mean(nn.Module):
    reduction = "mean"

    def forward(self, prediction: Tensor, y: Tensor) -> Tensor:
        return prediction.mean()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))


def convolved() -> nn.Module:
    layers = nn.Conv2d(1, 2, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6, 3)
    return nn.Sequential(nn.Unflatten(1, (1, 2, 4)), *layers)


def frozen() -> nn.Module:
    network = mlp()
    network[0].requires_grad_(False)
    return network


NETWORKS = [mlp, normed, convolved, frozen, Attention]


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(10, 8), torch.randint(3, (10,))


@pytest.mark.parametrize("graphs", [module.GRAPHS, 0])  # kept, and made anew for every product
@pytest.mark.parametrize("batch_size", [10, 4])  # 4: the last batch is smaller
@pytest.mark.parametrize("network", NETWORKS)
def test_equals_the_dense_hessian(network, batch_size, graphs, data, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "GRAPHS", graphs)
    x, y = data
    torch.manual_seed(1)
    model = network()
    torch.testing.assert_close(
        products(model, x, y, batch_size), dense(model, x, y), rtol=1e-4, atol=1e-6
    )


def test_integers_in_and_tied_weights_counted_once() -> None:
    torch.manual_seed(0)
    model, x = Tied(), torch.randint(5, (6, 4))
    y = x.roll(1, 1)
    found = products(model, x, y, 4)
    assert found.shape == (15, 15)
    torch.testing.assert_close(found, dense(model, x, y), rtol=1e-4, atol=1e-6)


def test_parameters_without_curvature() -> None:
    x = torch.zeros(4, 1)
    found = products(Unused(), x, x, 3, Mean())
    expected = torch.diag(torch.tensor([0.0, 0.0, 0.0, 12.0, 18.0]))
    torch.testing.assert_close(found, expected)


def test_nothing_that_is_trained(data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="no parameters that are trained"):
        Hessian(mlp().requires_grad_(False), LOSS, *data, 4)


def test_a_loss_without_a_gradient_is_flat(data) -> None:  # type: ignore[no-untyped-def]
    class Constant(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :3]

    assert not products(Constant(1, 1), *data, 4).any()


def test_so_many_graphs_are_kept_as_fit(data, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    model = mlp().eval()
    whole = Hessian(model, LOSS, *data, 2)
    assert len(whole._kept) == 5
    monkeypatch.setattr(module, "GRAPHS", 0)
    assert Hessian(model, LOSS, *data, 2)._kept == []
    sizes = []
    for graphs in range(0, 20_000, 100):
        monkeypatch.setattr(module, "GRAPHS", graphs)
        sizes.append(len(Hessian(model, LOSS, *data, 2)._kept))
    assert sizes == sorted(sizes) and set(sizes) == set(range(6))
