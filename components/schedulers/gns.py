"""Graph network scheduler (Xiong et al., ICLR 2022): a policy that reads the network's layers.

Every k updates (`controlled.py`) a graph convolution over the layers sees means of their weights
and gradients, the train loss and the rate, and multiplies the rate by 1 + a, the mean of a within
±0.1. Learned by PPO, one update per child training.

Deviations: the layer graph of networks that are not transformers is ours (`layer_graph.py`); the
bonus beyond a threshold of the score is dropped; a frozen policy takes its mean action without
dropout, where the original reports scores reached while learning; decisions every k updates instead
of 10; initial rates are log-uniform on the sweep's range; the score is taken on at most 1,000
validation samples. The untrained network's score is what the first reward is measured from, and a
diverged training has score 0: the source says neither.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from components.schedulers.controlled import Controlled, Exploring
from components.schedulers.layer_graph import KINDS, LayerGraph, layer_graph, unit_features
from components.schedulers.policy import Policy, signature
from components.schedulers.ppo import PPO
from components.training.loop import evaluate
from components.training.scheduler import Training

FEATURES, EMBEDDING, HIDDEN, HEAD = 6, 12, 64, 32
DROPOUT = 0.5
REACH, STD = 0.1, 0.05  # of the mean action; of the action about it
LOOK = 0.2  # probability of a score at a decision
REWARD = 10.0
# The action's std is fixed, so the original's entropy bonus would have no gradient.
SETTINGS = PPO(epochs=20, minibatches=1, discount=0.99)
EPISODES, EPISODES_PER_UPDATE = 30, 1


def propagation(nodes: int, edges: list[tuple[int, int]]) -> Tensor:
    """D^-1/2 (A + I) D^-1/2, (V, V): row = receiver, D = in-degree with the self-loop."""
    links = torch.eye(nodes)
    for source, target in edges:
        links[target, source] = 1.0
    scale = links.sum(1).rsqrt()
    return scale[:, None] * links * scale


class GraphConvolution(nn.Module):
    """X' = P X W + b (Kipf & Welling 2017); x (…, V, in) and P (V, V) to (…, V, out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, propagate: Tensor) -> Tensor:
        return propagate @ (x @ self.weight) + self.bias


class GNSPolicy(Policy):
    """Two graph convolutions and a mean over the nodes, then actor and critic.

    Args:
        network: `policy.signature` of the child.
        kinds, edges: the child's `LayerGraph`.
    """

    propagate: Tensor
    kind_of: Tensor

    def __init__(self, network: str, kinds: list[str], edges: list[tuple[int, int]]) -> None:
        super().__init__()
        self.network, self.kinds = network, list(kinds)
        self.edges = [(source, target) for source, target in edges]
        self.register_buffer("propagate", propagation(len(kinds), self.edges), persistent=False)
        kind_of = torch.tensor([KINDS.index(kind) for kind in kinds])
        self.register_buffer("kind_of", kind_of, persistent=False)
        self.embedding = nn.Embedding(len(KINDS), EMBEDDING)
        self.first = GraphConvolution(FEATURES + EMBEDDING, HIDDEN)
        self.second = GraphConvolution(HIDDEN, HIDDEN)
        self.actor = nn.Sequential(nn.Linear(HIDDEN, HEAD), nn.Tanh(), nn.Linear(HEAD, 1))
        self.critic = nn.Sequential(nn.Linear(HIDDEN, HEAD), nn.LeakyReLU(), nn.Linear(HEAD, 1))
        # Dropout while learning must not take from the draws of the child's own.
        self.dropped = torch.Generator()

    @classmethod
    def create(cls, network: nn.Module, lr_range: tuple[float, float]) -> GNSPolicy:
        graph = layer_graph(network)
        return cls(signature(network), graph.kinds, graph.edges)

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "kinds": self.kinds,
            "edges": [list(edge) for edge in self.edges],
        }

    def reseed(self, seed: int) -> None:
        self.dropped.manual_seed(seed)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, V, 6) to mean, std and value of the action, each (B,)."""
        kinds = self.embedding(self.kind_of).expand(len(features), -1, -1)
        h = F.relu(self.first(torch.cat((features, kinds), -1), self.propagate))
        if self.training:
            h = h * (torch.rand(h.shape, generator=self.dropped) >= DROPOUT) / (1 - DROPOUT)
        pooled = self.second(h, self.propagate).mean(-2)
        mean = REACH * torch.tanh(self.actor(pooled)).squeeze(-1)
        return mean, torch.full_like(mean, STD), self.critic(pooled).squeeze(-1)

    def optimizer(self) -> Optimizer:
        encoder = [
            p for part in (self.embedding, self.first, self.second) for p in part.parameters()
        ]
        return Adam(
            [
                {"params": encoder, "lr": 1e-3},
                {"params": self.actor.parameters(), "lr": 1e-3},
                {"params": self.critic.parameters(), "lr": 5e-3},
            ]
        )


class GNS(Controlled):
    """The rate under a frozen policy; decisions come after updates 1, 1 + k, … (counted from 1)."""

    policy: GNSPolicy
    graph: LayerGraph

    def attach(self, training: Training) -> Optimizer:
        self.graph = layer_graph(training.network)
        return super().attach(training)

    def observation(self, train_loss: float, lr: float) -> Tensor:
        """(V, 6): the four features of every node, then train loss and lr, the same for all."""
        units = unit_features(self.network, self.graph)
        return torch.cat((units, torch.tensor([train_loss, lr]).expand(len(units), 2)), 1)

    def scaled(self, lr: float, action: float) -> float:
        return lr * (1 + action)


class ExploringGNS(Exploring, GNS):
    """While learning: R = 10 (c² - p²) for scores c now and p before, in equal parts to the
    decisions in between; scores are taken at a fifth of the decisions, drawn, and at the end."""

    _rewarded = 0
    _complete = False

    def attach(self, training: Training) -> Optimizer:
        optimizer = super().attach(training)
        self._score = self._look()
        return optimizer

    def act(self, observation: Tensor) -> float:
        if torch.rand((), generator=self.generator) < LOOK:
            self._reward(self._look())
        return self.record.draw(observation)

    def ended(self) -> None:
        self._reward(self._look())
        self._complete = True

    def finish(self, diverged: bool) -> None:
        if diverged:
            self._rewarded = min(self._rewarded, len(self.record.rewards) - 1)
            self._reward(0.0)

    def _look(self) -> float:
        score = evaluate(self.training.task, self.network, self.validation)
        self.network.train()
        return score

    def _reward(self, score: float) -> None:
        rewards = self.record.rewards
        since = len(rewards) - self._rewarded
        for i in range(self._rewarded, len(rewards)):
            rewards[i] += REWARD * (score**2 - self._score**2) / since
        self._score, self._rewarded = score, len(rewards)
