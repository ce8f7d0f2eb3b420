"""The small GPT of the catalog."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Causal self-attention, then an MLP, each (n, tokens, width) to the same shape.

    As in the paper (A.1): dropout and a residual connection around each, and layer normalisation
    after each residual sum.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, future: Tensor) -> Tensor:
        x = self.norm_1(x + self.dropout(self._attention(x, future)))
        return self.norm_2(x + self.dropout(self.mlp(x)))

    def _attention(self, x: Tensor, future: Tensor) -> Tensor:
        # written out: torch's fused attention has no second derivative, which sharpness needs
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class GPT(nn.Module):
    """Tokens (n, t ≤ context) int64 to the logits of each one's successor, (n, tokens, t).

    Classes lie in dimension 1, as `nn.CrossEntropyLoss` takes them.
    """

    def __init__(
        self,
        *,
        tokens: int,
        context: int,
        blocks: int,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, width)
        self.position = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(blocks))
        self.head = nn.Linear(width, tokens)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)  # GPT's

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        h = self.dropout(self.token(x) + self.position.weight[:t])
        for block in self.blocks:
            h = block(h, future)
        return self.head(h).mT


def text_minigpt() -> nn.Module:
    """Two blocks of width 64, four heads: (n, ≤ 64) to logits (n, 128, ≤ 64), 120,576 parameters.

    Otherwise the paper's miniGPT, below.
    """
    return GPT(tokens=128, context=64, blocks=2, width=64, heads=4, hidden=256, dropout=0.1)


def tinystories_minigpt() -> nn.Module:
    """The paper's miniGPT (A.1): (n, ≤ 256) to logits (n, 50257, ≤ 256), 29,013,585 parameters.

    The MLP's width is not stated; 256 gives the 28 million parameters that are, nearly.
    """
    return GPT(tokens=50_257, context=256, blocks=8, width=256, heads=8, hidden=256, dropout=0.1)
