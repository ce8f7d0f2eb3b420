"""Sharpness: λ_max of the Hessian of the training loss (section 5.3), and its λ_min.

Both are algebraic: λ_max is the largest eigenvalue. The paper's power iteration finds the one of
largest magnitude instead, which far from a minimum can be negative; Lanczos is the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from components.evaluation.hessian import Hessian, as_evaluated, in_full_precision
from components.evaluation.lanczos import (
    BOTTOM,
    TOP,
    Eigenvalue,
    Product,
    lanczos,
    power,
)

METHODS = ("lanczos", "power")


def sharpness(
    model: nn.Module,
    loss_fn: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    method: str = "lanczos",
    samples: int = 1024,
    batch_size: int = 256,
    tol: float = 1e-3,
    max_matvecs: int = 300,
    seed: int = 0,
    lowest: bool = False,
    scaling: Sequence[Tensor] | None = None,
) -> dict[str, Any]:
    """λ_max of the Hessian, over all trained parameters, of the mean loss on a fixed set.

    The model is in eval mode meanwhile (no dropout, batch statistics frozen); modes, gradients and
    global random state are left as they were. Weights of half precision are computed with in fp32,
    on a copy.

    Args:
        model: a network, on the device of x and y.
        loss_fn: of (logits, y), with `reduction="mean"`, e.g. `nn.CrossEntropyLoss()`.
        x, y: the training split in its fixed order; its first `samples` samples are taken.
        method: `lanczos` (algebraic), or `power` (largest magnitude, sign kept; no λ_min).
        samples: size of the set; all of x where it has fewer.
        batch_size: samples per graph, bounds memory and nothing else.
        tol: residual asked for.
        max_matvecs: Hessian-vector products at most, for each matrix.
        seed: of the start vector.
        lowest: also λ_min. It lies close to others, and takes twice the products.
        scaling: of each trained parameter (`hessian.trained`), the diagonal of P^-½ in its shape:
            also λ_max of P^-½ H P^-½ is found, the Hessian that an adaptive optimizer sees.

    Returns:
        `lambda_max` and, where asked for, `lambda_min`, `preconditioned`; of each the residual,
        ‖Hv − λv‖ / max |λ| for ‖v‖ = 1, as `residual`, `residual_min`, `residual_preconditioned`:
        an eigenvalue lies within so much of the value. None where the weights or the Hessian are
        not finite, or where no eigenvalue was found to accuracy `tol`; power iteration returns its
        last estimate. `method`, `samples`, and `matvecs`, how many products it took.

    Raises:
        ValueError: unknown method, no samples, nothing that is trained, a loss that is not a mean.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    if getattr(loss_fn, "reduction", None) != "mean":
        raise ValueError("sharpness needs a loss module with reduction='mean'")
    x, y = x[:samples], y[:samples]
    if len(x) == 0:
        raise ValueError(f"sharpness needs at least one sample; samples = {samples}")
    with as_evaluated(model, x.device):
        hessian = Hessian(*in_full_precision(model, loss_fn, x, y), batch_size)
        start = hessian.start(seed)

        def extremes(product: Product, *ends: int) -> list[Eigenvalue | None]:
            return _extremes(method, product, start, tol, max_matvecs, ends)

        top, *bottom = extremes(hessian, TOP, BOTTOM) if lowest else extremes(hessian, TOP)
        measured = _named("lambda_max", "residual", top)
        for found in bottom:
            measured |= _named("lambda_min", "residual_min", found)
        if scaling is not None:
            (top,) = extremes(_scaled(hessian, scaling, start), TOP)
            measured |= _named("preconditioned", "residual_preconditioned", top)
    return {**measured, "method": method, "samples": len(x), "matvecs": hessian.products}


def _extremes(
    method: str, product: Product, start: Tensor, tol: float, most: int, ends: tuple[int, ...]
) -> list[Eigenvalue | None]:
    try:
        if method == "lanczos":
            return lanczos(product, start, tol=tol, most=most, ends=ends)
        found = power(product, start, tol=tol, most=most)
        return [found if end == TOP else None for end in ends]
    except FloatingPointError:
        return [None] * len(ends)


def _scaled(hessian: Hessian, scaling: Sequence[Tensor], like: Tensor) -> Product:
    """v -> P^-½ H P^-½ v."""
    root = torch.cat([part.reshape(-1) for part in scaling]).to(like)
    return lambda vector: root * hessian(root * vector)


def _named(value: str, residual: str, found: Eigenvalue | None) -> dict[str, float | None]:
    if found is None:
        return {value: None, residual: None}
    return {value: found.value, residual: found.residual}
