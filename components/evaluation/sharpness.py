"""Sharpness: λ_max of the Hessian of the training loss, where a run has ended (section 5.3).

λ_max is the largest algebraic eigenvalue. The paper's power iteration finds the eigenvalue of
largest magnitude instead, which far from a minimum can be a negative one; Lanczos is the default.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Krylov vectors kept between restarts. The top of a trained network's spectrum is well apart, so
# few suffice: scipy's default of 20 makes twice the Hessian products for the same residual.
KRYLOV = 10

Array = np.ndarray[Any, np.dtype[Any]]


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
) -> dict[str, Any]:
    """λ_max of the Hessian, over all trainable parameters, of the mean loss on a fixed set.

    The model is in eval mode meanwhile (no dropout, batch statistics frozen); modes, gradients and
    global random state are left as they were.

    Args:
        model: a network in fp32 (or fp64), on the device of x and y.
        loss_fn: of (logits, y), with `reduction="mean"`, e.g. `nn.CrossEntropyLoss()`.
        x, y: the training split in its fixed order; its first `samples` samples are taken.
        method: `lanczos` (largest algebraic) or `power` (largest magnitude, sign kept).
        samples: size of the set; all of x where it has fewer.
        batch_size: samples per Hessian product, bounds memory and nothing else.
        tol: relative accuracy asked for.
        max_matvecs: about so many Hessian-vector products at most.
        seed: of the start vector.

    Returns:
        `lambda_max`; `residual`, ‖Hv − λv‖ / |λ| for ‖v‖ = 1; `method`, `samples`, `matvecs`.
        Both numbers are None where the weights or the Hessian are not finite, or where Lanczos
        found no eigenvalue to accuracy `tol`; power iteration returns its last estimate, which
        its residual judges.

    Raises:
        ValueError: unknown method, no samples, or a loss that is not a mean.
    """
    if method not in _METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(_METHODS)}")
    if getattr(loss_fn, "reduction", None) != "mean":
        raise ValueError("sharpness needs a loss module with reduction='mean'")
    x, y = x[:samples], y[:samples]
    if len(x) == 0:
        raise ValueError(f"sharpness needs at least one sample; samples = {samples}")
    with _as_evaluated(model), warnings.catch_warnings():
        # torch itself and a dependency of curvlinops still use torch.jit
        warnings.filterwarnings("ignore", r".*torch\.jit", FutureWarning)
        hessian = _Hessian(model, loss_fn, x, y, batch_size)
        try:
            found = _METHODS[method](hessian, hessian.start(seed), tol, max_matvecs)
        except FloatingPointError:
            found = None
    value, residual = found or (None, None)
    return {
        "lambda_max": value,
        "residual": residual,
        "method": method,
        "samples": len(x),
        "matvecs": hessian.matvecs,
    }


@contextmanager
def _as_evaluated(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # on by default; ten bits would be the residual's floor
    model.eval()
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        for module, mode in modes.items():
            module.training = mode


class _Hessian:
    """v -> Hv for numpy vectors, counted; FloatingPointError where Hv is not finite."""

    def __init__(self, model: nn.Module, loss: nn.Module, x: Tensor, y: Tensor, batch: int):
        from curvlinops import HessianLinearOperator  # half a second, and it warns of torch.jit

        parameters = [p for p in model.parameters() if p.requires_grad]
        batches = list(zip(x.split(batch), y.split(batch), strict=True))
        # its check of determinism costs four products; eval mode and a fixed list settle it
        self._operator = HessianLinearOperator(
            model, loss, parameters, batches, num_data=len(x), check_deterministic=False
        )
        self._like = parameters[0]
        self.size = sum(p.numel() for p in parameters)
        self.matvecs = 0

    def start(self, seed: int) -> Array:
        """A seeded random unit vector (P,)."""
        v = np.random.default_rng(seed).standard_normal(self.size)
        dtype = np.float64 if self._like.dtype == torch.float64 else np.float32
        return (v / np.linalg.norm(v)).astype(dtype)

    def __call__(self, v: Array) -> Array:
        self.matvecs += 1
        vector = torch.from_numpy(np.array(v).reshape(-1)).to(self._like)
        product = (self._operator @ vector).cpu().numpy()
        if not np.isfinite(product).all():
            raise FloatingPointError("the Hessian is not finite")
        return product


Result = tuple[float, float] | None


def _lanczos(hessian: _Hessian, start: Array, tol: float, max_matvecs: int) -> Result:
    """Implicitly restarted Lanczos (ARPACK), largest algebraic eigenvalue."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # half a second

    shape, ncv = (hessian.size, hessian.size), min(KRYLOV, hessian.size)
    operator = LinearOperator(shape, matvec=hessian, dtype=start.dtype)
    restarts = max(1, max_matvecs // ncv)
    try:
        values, vectors = eigsh(
            operator, k=1, which="LA", v0=start, ncv=ncv, tol=tol, maxiter=restarts
        )
    except ArpackError:  # not converged; or H = 0, which ARPACK refuses
        return None if hessian(start).any() else (0.0, 0.0)
    return float(values[0]), _residual(hessian(vectors[:, 0]), values[0], vectors[:, 0])


def _power(hessian: _Hessian, start: Array, tol: float, max_matvecs: int) -> Result:
    """Power iteration with the Rayleigh quotient: the eigenvalue of largest magnitude."""
    v = start
    for _ in range(max_matvecs):
        product = hessian(v)
        value = float(v @ product)
        residual = _residual(product, value, v)
        norm = np.linalg.norm(product)
        if residual <= tol or norm == 0:
            break
        v = product / norm
    return value, residual


def _residual(product: Array, value: float, v: Array) -> float:
    """‖Hv − λv‖ / |λ|, 0 where both are 0."""
    error = float(np.linalg.norm(product - value * v))
    return error / max(abs(float(value)), float(np.finfo(v.dtype).tiny))


_METHODS: dict[str, Callable[[_Hessian, Array, float, int], Result]] = {
    "lanczos": _lanczos,
    "power": _power,
}
