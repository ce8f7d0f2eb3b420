"""Integrate dz/dt = f(z) from t = 0 and read z at any times.

The unit of time is one training length, so t = 1 is the end of a run. `rk4` takes the same
number of steps per unit whatever the output times are, and interpolates between its grid nodes
with the cubic Hermite polynomial that has z and f(z) at both ends: its cost does not depend on
how many points are logged. `dopri5` (torchdiffeq) is adaptive and the oracle of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from components.lode.errors import LODEError

Field = Callable[[torch.Tensor], torch.Tensor]


def rk4(field: Field, z0: torch.Tensor, times: np.ndarray, steps: int) -> torch.Tensor:
    """Classical fourth-order Runge-Kutta on a fixed grid, cubic Hermite between its nodes.

    Args:
        field: f, (B, D) -> (B, D).
        z0: (B, D), the state at t = 0.
        times: (K,), output times >= 0 in any order; the grid reaches to the largest.
        steps: RK4 steps per unit of time; the step is exactly 1 / steps.

    Returns:
        (B, K, D): global error O(steps⁻⁴); exact RK4 values at grid nodes.

    Raises:
        LODEError: a time is negative or not finite.
    """
    nodes, slopes = rk4_nodes(field, z0, grid_steps(times, steps), 1.0 / steps)
    return dense_output(nodes, slopes, times, steps)


def rk4_nodes(
    field: Field, z0: torch.Tensor, n: int, h: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """z and f(z) at t = 0, h, …, nh, both (n + 1, B, D). `kernels.rk4_mlp` is the same,
    faster."""
    z, nodes, slopes = z0, [z0], []
    for _ in range(n):
        k1 = field(z)
        k2 = field(z + h / 2 * k1)
        k3 = field(z + h / 2 * k2)
        k4 = field(z + h * k3)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        nodes.append(z)
        slopes.append(k1)
    slopes.append(field(z))
    return torch.stack(nodes), torch.stack(slopes)


def local_error(nodes: torch.Tensor, slopes: torch.Tensor, h: float) -> torch.Tensor:
    """How far two steps are from what Simpson's rule makes of their slopes, (n - 1, B, D).

    Both are of fourth order, so the difference is O(h⁵), as the steps' own error: where it is
    small, the grid resolves the path. Costs no evaluation of the field.

    Args:
        nodes, slopes: (n + 1, B, D), of a grid with steps of h; n at least 2.
    """
    simpson = h / 3 * (slopes[:-2] + 4 * slopes[1:-1] + slopes[2:])
    return nodes[2:] - nodes[:-2] - simpson


def dopri5(
    field: Field, z0: torch.Tensor, times: np.ndarray, tolerance: float = 1e-5
) -> torch.Tensor:
    """The same through torchdiffeq's adaptive Dormand-Prince; `tolerance` is rtol and atol."""
    from torchdiffeq import odeint  # brings SciPy, which nobody else here needs: half a second

    times = _checked(times)
    ordered, where = np.unique(np.concatenate([[0.0], times]), return_inverse=True)
    if len(ordered) == 1:
        return z0[:, None].expand(-1, len(times), -1)
    grid = torch.as_tensor(ordered, dtype=z0.dtype, device=z0.device)
    path = odeint(lambda _, z: field(z), z0, grid, rtol=tolerance, atol=tolerance, method="dopri5")
    return path[torch.as_tensor(where.reshape(-1)[1:], device=z0.device)].transpose(0, 1)


def grid_steps(times: np.ndarray, steps: int) -> int:
    """How many steps of 1 / steps reach the largest time; at least 1."""
    return max(1, math.ceil(float(_checked(times).max()) * steps - 1e-9))


def dense_output(
    nodes: torch.Tensor, slopes: torch.Tensor, times: np.ndarray, steps: int
) -> torch.Tensor:
    """A solution between its nodes, by cubic Hermite polynomials: (n + 1, B, D) values and slopes
    at t = 0, 1 / steps, … -> (B, K, D) at `times` (K,)."""
    n, batch, width = nodes.shape
    key = np.ascontiguousarray(times, dtype=np.float64).tobytes()
    weights = _hermite_matrix(key, n, steps, nodes.dtype, nodes.device)
    stacked = torch.cat((nodes, slopes)).reshape(2 * n, batch * width)
    return (weights @ stacked).reshape(-1, batch, width).transpose(0, 1)


@lru_cache(maxsize=32)
def _hermite_matrix(
    times: bytes, nodes: int, steps: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """The interpolation as one matrix (K, 2 · nodes): it is linear in values and slopes."""
    position = np.frombuffer(times) * steps
    left = np.clip(np.floor(position).astype(int), 0, nodes - 2)
    s = position - left
    weights, row = np.zeros((len(s), 2 * nodes)), np.arange(len(s))
    weights[row, left] = (1 + 2 * s) * (1 - s) ** 2
    weights[row, left + 1] = s**2 * (3 - 2 * s)
    weights[row, nodes + left] = s * (1 - s) ** 2 / steps
    weights[row, nodes + left + 1] = s**2 * (s - 1) / steps
    return torch.as_tensor(weights, dtype=dtype, device=device)


def _checked(times: np.ndarray) -> np.ndarray:
    times = np.asarray(times, dtype=np.float64)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or times.min() < 0:
        raise LODEError("output times must be a non-empty list of finite numbers >= 0")
    return times
