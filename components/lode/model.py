"""The latent ODE: an encoder from a window of a history to the state at t = 0, the flow of that
state, and a readout of train loss, validation metric and learning rate at any time.

Times run in units of the training length: log point p of T is t = p / T.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import nn

from components.lode import files, kernels
from components.lode.channels import LR, Channels
from components.lode.errors import LODEError
from components.lode.names import CONFIG, WEIGHTS
from components.lode.opening import Opening
from components.lode.settings import ENCODERS, SOLVERS, Architecture
from components.lode.solver import dense_output, dopri5, grid_steps, local_error
from components.storage.typed import typed

# The encoder's, over the stretch from the window's first observation back to t = 0, where nothing
# was observed. Chosen, not tuned: the paper does not say.
EULER_STEPS = 8
# RK4 steps that are enough for proposals, whose worth the judge says, not the LODE.
COARSE_STEPS = 16


@dataclass(frozen=True)
class LODEConfig(Architecture):
    """Everything of a LODE but its weights: its architecture, and

    Attributes:
        channels: the transform to standardised channels.
        points, updates: T and N of the fitted histories; N = 0: not known.
        most_read: longer windows are averaged to so many observations first: a point of 600 says
            little that its neighbours don't, and the encoder reads one after the other.
        reads_slope: the encoder is told how fast the learning rate changes, too.
        task: the task it was fitted on.
        metric_goal: `minimize` where the histories hold the metric's negative.
        histories_digest: `training.history.digest` of what it saw.
        initial_schedule: T learning rates of the best configuration fitted, one per log interval.
        fit: settings and results of the fit, JSON-able.
    """

    channels: Channels
    points: int
    updates: int = 0
    most_read: int = 25
    reads_slope: bool = True
    task: str = ""
    metric_goal: Literal["maximize", "minimize"] = "maximize"
    histories_digest: str = ""
    initial_schedule: tuple[Annotated[float, Ge(0)], ...] = ()
    fit: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("encoder", self.encoder, ENCODERS),
            ("solver", self.solver, SOLVERS),
        ):
            if value not in known:
                raise LODEError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        for name in ("latent", "hidden", "solver_steps", "most_read", "points"):
            if getattr(self, name) < 1:
                raise LODEError(f"{name} = {getattr(self, name)} must be at least 1")

    @property
    def metric_sign(self) -> float:
        """From the metric as a user logs it to what histories hold, and back."""
        return -1.0 if self.metric_goal == "minimize" else 1.0

    @property
    def opening(self) -> Opening:
        """What a run begins with where nobody has chosen a schedule for it."""
        return Opening(held=self.initial_schedule)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "channels": self.channels.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LODEConfig:
        """Inverse of `to_dict`, also after a round trip through JSON.

        Raises:
            DamagedError, LODEError: a field is missing, of another type or beyond its range.
        """
        # Of every LODE saved before they were written down.
        unsaid = {"most_read": 50, "reads_slope": False, "metric_goal": "maximize"}
        found: LODEConfig = typed(cls, {**unsaid, **values})
        if len(found.initial_schedule) not in (0, found.points):
            raise LODEError(
                f"initial_schedule has {len(found.initial_schedule)} rates, not points = "
                f"{found.points}"
            )
        return found


class Encoder(nn.Module):
    """A window of observations to the latent at t = 0, read backwards in time.

    `ode-rnn`: between observations the hidden state follows a learned ODE, one Euler step per
    gap, and `EULER_STEPS` more from the window's first observation back to t = 0. `gru`: only
    the updates at the observations, as in the authors' code.

    Beyond the paper's three channels it reads `slope` of the learning rate: over the first 5 % of a
    run a cosine falls by half a percent, which the rate itself hardly tells from a constant.
    """

    def __init__(self, kind: str, hidden: int, latent: int, reads_slope: bool) -> None:
        super().__init__()
        self.reads_slope = reads_slope
        # A container: `kernels.scan` does the arithmetic.
        self.cell = nn.GRUCell(4 + reads_slope, hidden)
        self.drift = (
            nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, hidden))
            if kind == "ode-rnn"
            else None
        )
        self.readout = nn.Linear(hidden, latent)

    def forward(self, times: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        read = (times[..., None], x, slope(times, x)) if self.reads_slope else (times[..., None], x)
        backward = torch.cat(read, -1).flip(1).transpose(0, 1)
        drive = nn.functional.linear(backward, self.cell.weight_ih, self.cell.bias_ih)
        weights: list[Any] = [self.cell.weight_hh, self.cell.bias_hh]
        if self.drift is None:
            nothing = drive.new_empty(0)
            weights += [nothing] * 4
            return self.readout(kernels.scan(drive, None, tuple(weights)))
        for layer in (self.drift[0], self.drift[2]):
            weights += [layer.weight, layer.bias]
        return self.readout(kernels.scan(drive, self._gaps(times), tuple(weights)))

    @staticmethod
    def _gaps(times: torch.Tensor) -> torch.Tensor:
        """(L + EULER_STEPS, B, 1): the (negative) time of each Euler step of the scan."""
        between = -times.diff(dim=1).flip(1)
        to_zero = (-times[:, :1] / EULER_STEPS).expand(-1, EULER_STEPS)
        # Nothing is known before the latest observation, so no time passes before it.
        steps = torch.cat((torch.zeros_like(times[:, :1]), between, to_zero), 1)
        return steps.t()[..., None].contiguous()


def slope(times: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """How fast the learning rate's channel changed up to each observation, (B, L, 1).

    Of times (B, L) and x (B, L, 3) standardised; at the first observation the change from there to
    the second, or 0 where there is none.

    In a training length a schedule moves by 0.1 (a cosine's beginning) to hundreds (its end) of
    standard deviations: the inverse hyperbolic sine keeps their signs and orders of magnitude.
    """
    if times.shape[1] < 2:
        return torch.zeros_like(x[..., :1])
    change = x[..., LR].diff(dim=1) / times.diff(dim=1)
    return torch.asinh(5 * torch.cat((change[:, :1], change), 1))[..., None]


def thinned(times: torch.Tensor, x: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over `most` stretches of (nearly) equal length, of times (B, L) and x (B, L, 3);
    shorter windows as they are."""
    length = times.shape[1]
    if length <= most:
        return times, x
    weights = _averaging(length, most, times.dtype, times.device)
    return times @ weights.t(), weights @ x


@lru_cache(maxsize=256)
def _averaging(length: int, most: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(most, length), rows that average one stretch each."""
    stretch = np.arange(length) * most // length
    weights = np.eye(most)[stretch].T
    return torch.as_tensor(weights / weights.sum(1, keepdims=True), dtype=dtype, device=device)


class LODE(nn.Module):
    """Encoder, vector field and readout, with their channel transform.

    `encode` and `decode` work on standardised channels, `encode_series`, `decode_series` and
    `predict` on original units (NumPy, no gradient).
    """

    def __init__(self, config: LODEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder, config.hidden, config.latent, config.reads_slope)
        # Paper A.3: 2 layers of 20 units with tanh, autonomous.
        self.field = nn.Sequential(
            nn.Linear(config.latent, config.hidden),
            nn.Tanh(),
            nn.Linear(config.hidden, config.hidden),
            nn.Tanh(),
            nn.Linear(config.hidden, config.latent),
        )
        self.readout = nn.Linear(config.latent, 3)

    def encode(self, times: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Latent at t = 0 (B, latent) of windows observed at `times` (B, L), increasing, in
        units of the training length; x (B, L, 3) standardised. Equation 2."""
        return self.encoder(*thinned(times, x, self.config.most_read))

    def latents(self, z0: torch.Tensor, times: np.ndarray) -> torch.Tensor:
        """(B, K, latent) at `times` (K,) from the latent at t = 0. Equation 3."""
        if self.config.solver == "dopri5":
            try:
                return dopri5(self.field, z0, times)
            except AssertionError as error:  # torchdiffeq's: underflow in dt, or too many steps
                raise LODEError(
                    f"dopri5 cannot follow the field ({error}), whose weights have grown too "
                    "large: lower lode.fit.peak_lr, or take lode.solver rk4"
                ) from None
        return dense_output(*self._nodes(z0, times), times, self.config.solver_steps)

    def decode_along(
        self, z0: torch.Tensor, times: np.ndarray, along: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a fit needs, of one solve: `decode` at `times` (K,), `latents` at `times[along]`,
        and the solver's local error at every pair of steps, (≥ 0, B, latent): none from `dopri5`,
        which sees to its own."""
        if self.config.solver == "dopri5":
            latents = self.latents(z0, times)
            return self.readout(latents), latents[:, along], z0.new_empty(0, *z0.shape)
        steps = self.config.solver_steps
        nodes, slopes = self._nodes(z0, times)
        latents = dense_output(nodes, slopes, times[along], steps)
        decoded = self._read(nodes, slopes, times, steps)
        return decoded, latents, local_error(nodes, slopes, 1 / steps)

    def decode(self, z0: torch.Tensor, times: np.ndarray, steps: int | None = None) -> torch.Tensor:
        """(B, K, 3) standardised, at `times` (K,) from the latent at t = 0. Equation 4.

        Args:
            steps: of RK4 in a training length; None: the model's own.
        """
        if self.config.solver == "dopri5":
            return self.readout(self.latents(z0, times))
        steps = steps or self.config.solver_steps
        return self._read(*self._nodes(z0, times, steps), times, steps)

    def _nodes(
        self, z0: torch.Tensor, times: np.ndarray, steps: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        steps = steps or self.config.solver_steps
        weights = tuple(self.field.parameters())
        return kernels.rk4_mlp(z0, weights, grid_steps(times, steps), 1.0 / steps)

    def _read(
        self, nodes: torch.Tensor, slopes: torch.Tensor, times: np.ndarray, steps: int
    ) -> torch.Tensor:
        # Readout and interpolation commute, and 3 channels are interpolated faster than 20.
        changes = slopes @ self.readout.weight.T
        return dense_output(self.readout(nodes), changes, times, steps)

    @torch.no_grad()
    def encode_series(self, times: np.ndarray, series: np.ndarray) -> torch.Tensor:
        """`encode` of windows in original units: (L,) times, (B, L, 3) -> (B, latent)."""
        series = np.asarray(series, dtype=np.float64)
        like = self.readout.weight
        x = torch.as_tensor(self.config.channels.forward(series), dtype=like.dtype)
        t = torch.as_tensor(np.asarray(times), dtype=like.dtype).expand(len(series), -1)
        return self.encode(t.to(like.device), x.to(like.device))

    @torch.no_grad()
    def decode_series(
        self, z0: torch.Tensor, times: np.ndarray, coarse: bool = False
    ) -> np.ndarray:
        """`decode` in original units, float64: (B, K, 3) of train loss, metric and lr.

        Args:
            coarse: with at most `COARSE_STEPS` RK4 steps: faster, and good enough for proposals.
        """
        steps = min(self.config.solver_steps, COARSE_STEPS) if coarse else None
        y = self.decode(z0, times, steps)
        return self.config.channels.inverse(y.double().cpu().numpy())

    def predict(self, times: np.ndarray, series: np.ndarray, at: np.ndarray) -> np.ndarray:
        """What windows `series` (B, L, 3), observed at `times` (L,), imply at times `at` (K,).

        Original units; times in training lengths. Returns (B, K, 3).
        """
        return self.decode_series(self.encode_series(times, series), at)

    def save(self, folder: Path) -> None:
        """Write `lode.safetensors`, then `config.json`, each whole or not at all."""
        config = self.config.to_dict()
        files.save(self, config, weights=Path(folder) / WEIGHTS, config=Path(folder) / CONFIG)

    @classmethod
    def load(cls, folder: Path) -> LODE:
        """Read what `save` wrote, in eval mode on the CPU.

        Raises:
            LODEError: nothing there, damaged, changed, or of another architecture, format or fit.
        """
        weights, config = Path(folder) / WEIGHTS, Path(folder) / CONFIG
        return files.load(LODEConfig.from_dict, cls, weights=weights, config=config)
