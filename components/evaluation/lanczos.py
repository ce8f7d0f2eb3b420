"""Extreme eigenvalues of a symmetric matrix that is known by its products only.

Both methods return eigenvalues with residuals: for ‖v‖ = 1 some eigenvalue lies within ‖Av − λv‖ of
λ (Parlett, *The Symmetric Eigenvalue Problem*, theorem 4.5.1). Residuals are relative to the
spectral radius, the largest |λ| that was met, not to λ itself: a λ of 0 has a neighbourhood, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]  # v -> Av, both (P,)

# Basis vectors of length P that are held at a time: enough for both ends of a trained network's
# spectrum without a restart in most cases, and 1.4 GB of a ResNet18's.
BASIS = 32
# Ritz vectors that a restart keeps of each end: the wanted one and those that crowd it.
KEPT = 5
# Before so many products an eigenvector that the start happens to be near would pass for extreme.
LEAST = 10
TOP, BOTTOM = -1, 0  # places among ascending eigenvalues


class Eigenvalue(NamedTuple):
    """An eigenvalue, and its residual as a share of the spectral radius."""

    value: float
    residual: float


def lanczos(
    product: Product, start: Tensor, *, tol: float, most: int, ends: tuple[int, ...]
) -> list[Eigenvalue | None]:
    """Largest and smallest algebraic eigenvalue by Lanczos' method.

    With thick restarts (Wu & Simon, *Thick-restart Lanczos method*, SIAM J. Matrix Anal. 2000) and
    full reorthogonalisation, so that no copy of an eigenvalue found before is taken for another.

    Args:
        start: (P,), ‖start‖ = 1; eigenvectors orthogonal to it are not found, so a random one.
        tol: residual asked for. most: products at most.
        ends: which are wanted, of `TOP` and `BOTTOM`.

    Returns:
        In the order of `ends`; None where it did not come to `tol`.

    Raises:
        FloatingPointError: a product is not finite.
    """
    size = min(BASIS, len(start))
    basis, projected = start.new_empty(size, len(start)), np.zeros((size, size))
    basis[0], held = start, 1
    for done in range(1, most + 1):
        column, rest = _orthogonalized(product(basis[held - 1]), basis[:held])
        projected[:held, held - 1] = projected[held - 1, :held] = column
        beta = float(torch.linalg.vector_norm(rest))
        if not math.isfinite(beta):
            raise FloatingPointError("a product is not finite")
        values, vectors = np.linalg.eigh(projected[:held, :held])
        radius = max(abs(values[TOP]), abs(values[BOTTOM]))
        bounds = beta * abs(vectors[-1])  # ‖Av − λv‖ of each Ritz pair
        found = [bool(bounds[end] <= tol * radius) for end in ends]
        invariant = held == len(start) or beta <= torch.finfo(start.dtype).eps * radius
        if invariant or (all(found) and done >= LEAST):
            break
        if held == size:
            held = _restart(basis, projected, values, vectors)
        basis[held], held = rest / beta, held + 1
    scale = radius or 1.0  # of a matrix that is 0 the residuals are, too
    return [
        Eigenvalue(float(values[end]), float(bounds[end] / scale)) if converged else None
        for end, converged in zip(ends, found, strict=True)
    ]


def power(product: Product, start: Tensor, *, tol: float, most: int) -> Eigenvalue:
    """The eigenvalue of largest magnitude by power iteration, its sign kept.

    Arguments and errors as of `lanczos`; returns its last estimate, which its residual judges.
    """
    v = start
    for _ in range(most):
        image = product(v)
        value = float(v @ image)
        error, norm = float((image - value * v).norm()), float(image.norm())
        if not math.isfinite(norm):
            raise FloatingPointError("a product is not finite")
        if norm == 0 or error <= tol * abs(value):
            break
        v = image / norm
    return Eigenvalue(value, error / (abs(value) or 1.0))


def _orthogonalized(vector: Tensor, basis: Tensor) -> tuple[np.ndarray, Tensor]:
    """The vector's coefficients (m,) in an orthonormal basis (m, P), and what is left of it.

    Twice, which is enough to be orthogonal to rounding (Giraud et al. 2005).
    """
    first = basis @ vector
    rest = vector - first @ basis
    second = basis @ rest
    return (first + second).cpu().double().numpy(), rest - second @ basis


def _restart(basis: Tensor, projected: np.ndarray, values: np.ndarray, vectors: np.ndarray) -> int:
    """Put the Ritz vectors of both ends in place of the basis; returns how many these are."""
    kept = [*range(KEPT), *range(len(values) - KEPT, len(values))]
    chosen = torch.from_numpy(vectors[:, kept].T.copy()).to(basis.dtype).to(basis.device)
    basis[: len(kept)] = chosen @ basis
    projected[:] = 0
    projected[range(len(kept)), range(len(kept))] = values[kept]
    return len(kept)
