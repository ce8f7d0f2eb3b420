"""What keeps the fitted latent paths short, and smooth enough for the solver's grid."""

from __future__ import annotations

import torch


def spread(latents: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each latent dimension over batch and time, (B, K, D) -> (D,); a
    constant to the gradient, else shrinking everything would be the cheapest way to be small."""
    values = latents.detach()
    # Not `std`, which takes several times as long over leading dimensions.
    return (values - values.mean((0, 1))).square().mean((0, 1)).sqrt().clamp(min=1e-6)


def path_length(latents: torch.Tensor) -> torch.Tensor:
    """Length of each latent path, (B, K, D) -> (B,), in units of the batch's spread.

    The intended form of the path penalty: the sum of sqrt(dz' diag(q)⁻¹ dz) over the segments,
    q the variance of each latent dimension.
    """
    steps = latents.diff(dim=1) / spread(latents)
    return (steps.square().sum(-1) + 1e-12).sqrt().sum(-1)


def error_penalty(errors: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Mean square of the solver's local errors (n, B, D), in units of the latents' (B, K, D)
    spread, summed over dimensions; 0 where there are none."""
    return (errors / spread(latents)).square().sum() / max(1, errors[..., 0].numel())
