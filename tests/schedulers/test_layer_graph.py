"""Networks as graphs, and the convolution over them against the dense formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.schedulers.gns import GNSPolicy, GraphConvolution, propagation
from components.schedulers.layer_graph import layer_graph, unit_features
from components.tasks.catalog import TASKS


class Residual(nn.Module):
    """A stem, a block with a shortcut by addition, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.one, self.bn = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.gamma = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.gamma * self.two(torch.relu(self.bn(self.one(x)))))
        return self.head(x.mean((2, 3)))


def test_a_residual_network_has_its_skip_edge() -> None:
    graph = layer_graph(Residual())
    assert graph.kinds == ["conv", "conv", "conv", "add", "linear"]
    assert graph.modules == [["stem.0", "stem.1"], ["one", "bn"], ["two"], [], ["head"]]
    assert sorted(graph.edges) == [(0, 1), (0, 3), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_network_of_the_catalog_has_a_graph(name: str) -> None:
    network = TASKS[name].network()
    graph = layer_graph(network)
    owned = {id(p) for m in graph.modules for n in m for p in network.get_submodule(n).parameters()}
    assert owned == {id(p) for p in network.parameters() if p.ndim > 0 and id(p) in owned}
    tensors = [p for p in network.parameters() if p.numel() > 1]  # not the scalars of residuals
    assert len(owned) >= 0.9 * len(tensors)
    reached = {0} | {target for _, target in graph.edges}
    assert reached == set(range(len(graph.kinds))), "a node that nothing leads to"


def test_a_network_that_cannot_be_traced_is_a_chain() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.norm(self.a(x))) if x.sum() > 0 else self.b(x)

    graph = layer_graph(Branching())
    assert graph.modules == [["a", "norm"], ["b"]] and graph.edges == [(0, 1)]


def test_features_are_means_over_a_unit_and_an_addition_sums_its_sources() -> None:
    network = Residual()
    network(torch.randn(5, 1, 6, 6)).square().sum().backward()
    features = unit_features(network, layer_graph(network))
    conv, bn = network.stem[0], network.stem[1]
    weights = torch.cat([conv.weight.flatten(), bn.weight])
    grads = torch.cat([conv.weight.grad.flatten(), bn.weight.grad])
    biases = torch.cat([conv.bias, bn.bias])
    bias_grads = torch.cat([conv.bias.grad, bn.bias.grad])
    expected = [weights.mean(), biases.mean(), grads.abs().mean(), bias_grads.abs().mean()]
    assert torch.allclose(features[0], torch.stack(expected), atol=1e-6)
    assert torch.allclose(features[3], features[0] + features[2])


def test_the_convolution_is_the_dense_formula() -> None:
    edges, rng = [(0, 1), (0, 3), (1, 2), (2, 3), (3, 4)], np.random.default_rng(0)
    a = np.zeros((5, 5))
    for source, target in edges:
        a[target, source] = 1
    a += np.eye(5)
    d = np.diag(a.sum(1) ** -0.5)
    x = rng.normal(size=(2, 5, 7)).astype(np.float32)
    layer = GraphConvolution(7, 4)
    nn.init.normal_(layer.bias)
    found = layer(torch.from_numpy(x), propagation(5, edges)).detach().numpy()
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert found == pytest.approx(d @ a @ d @ x @ w + b, abs=1e-5)


def test_the_policy_starts_within_its_reach_and_drops_out_only_while_learning() -> None:
    policy = GNSPolicy.create(Residual(), (1e-3, 0.1))
    features = torch.randn(3, 5, 6)
    mean, std, value = policy.eval()(features)
    assert mean.shape == std.shape == value.shape == (3,)
    assert mean.abs().max() <= 0.1 and (std == 0.05).all()
    assert torch.equal(policy(features)[0], mean)
    policy.train()
    state = torch.get_rng_state()
    drawn = policy(features)[0]
    assert torch.equal(state, torch.get_rng_state()) and not torch.equal(policy(features)[0], drawn)
