"""The judge: latent ODEs that take the learning rate as an input.

The paper's LODE generates loss, metric and learning rate together, so it cannot say what a *given*
schedule would do. In the judge the learning rate drives the field,

    dh/dt = f(h, u(t)),    (loss, metric)(t) = g(h, u(t)),    h(0) = h₀,

and what a run logs corrects the state as it goes, h ← h + K tanh(y − ŷ): an observer. Several
members stand side by side, each fitted without one part of the configurations. Their spread says
how sure they are; their errors on the parts they did not see say how far that is to be believed.

Time is cut into intervals over which a run's points are averaged, one Euler step each. Fit and
use share that grid, so it belongs to the model, as the depth of a residual network does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import nn

from components.lode import files
from components.lode.names import JUDGE_CONFIG, JUDGE_WEIGHTS
from components.lode.opening import Opening
from components.lode.settings import JudgeSettings
from components.storage.typed import MAY_BE_INFINITE, typed

# Of a run, where it has so many log points: one Euler step each ranked unseen schedules as well as
# the midpoint rule at twice the price (docs/research/scheduler.md, entry 3).
INTERVALS = 25
# The field's unit of time is a quarter of a run, so that weights of order one can move the state by
# several units in a run. Chosen, not tuned; the fit makes up for it.
SPEED = 4.0
# Standard deviations at which observations are cut: what an exploding loss says beyond that would
# only swamp the state.
FAR = 20.0

Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Scales:
    """How learning rates, losses and metrics become numbers of order one.

    The metric passes through -log(ceiling - x), the ceiling a little above the best one seen: this
    magnifies differences among the best runs, which are what a schedule is chosen by.
    """

    lr_offset: Positive
    lr_top: Positive
    loss_base: float
    ceiling: float
    margin: Positive
    lr: tuple[float, Positive]
    loss: tuple[float, Positive]
    metric: tuple[float, Positive]

    @classmethod
    def measure(cls, lrs: np.ndarray, losses: np.ndarray, metrics: np.ndarray) -> Scales:
        """From the fitted runs, each array (R, T) in original units and finite."""
        peaks, finals = lrs.max(1), metrics[:, -1]
        top, low = float(metrics.max()), float(metrics.min())
        margin = max((top - float(np.median(finals))) / 4, 0.02 * (top - low), 1e-6)
        base = min(float(losses.min()), 0.0) - max(0.01 * float(np.median(np.abs(losses))), 1e-6)
        one = (0.0, 1.0)
        raw = cls(
            0.1 * float(peaks.min()), float(peaks.max()), base, top + margin, margin, one, one, one
        )
        return cls(
            raw.lr_offset,
            raw.lr_top,
            raw.loss_base,
            raw.ceiling,
            raw.margin,
            _moments(raw._log_lr(lrs)),
            _moments(raw._log_loss(losses)),
            _moments(raw._stretched(metrics)),
        )

    def drive(self, lrs: np.ndarray) -> np.ndarray:
        """Learning rates (…) to the field's input (…, 2): standardised in log, and plain."""
        log = (self._log_lr(lrs) - self.lr[0]) / self.lr[1]
        return np.stack((log, 4 * np.minimum(lrs / self.lr_top, 2.0)), -1)

    def observation(self, losses: np.ndarray, metrics: np.ndarray) -> np.ndarray:
        """Losses and metrics (…) to (…, 2), standardised and cut at ±`FAR`."""
        loss = (self._log_loss(losses) - self.loss[0]) / self.loss[1]
        metric = (self._stretched(metrics) - self.metric[0]) / self.metric[1]
        return np.clip(np.stack((loss, metric), -1), -FAR, FAR)

    def to_metric(self, y: np.ndarray) -> np.ndarray:
        """A standardised metric in original units; always below the ceiling."""
        return self.ceiling - np.exp(-np.clip(y * self.metric[1] + self.metric[0], -50, 50))

    def _log_lr(self, lrs: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(lrs, 0.0) + self.lr_offset)

    def _log_loss(self, losses: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(losses - self.loss_base, 1e-12))

    def _stretched(self, metrics: np.ndarray) -> np.ndarray:
        return -np.log(np.maximum(self.ceiling - metrics, 0.1 * self.margin))


def _moments(x: np.ndarray) -> tuple[float, float]:
    return float(x.mean()), max(float(x.std()), 1e-8)


def edges(points: int, start: int = 0, unit: int | None = None) -> np.ndarray:
    """Log points `start` … `points` that bound the intervals of (the rest of) a run.

    Args:
        unit: log points in the length that was fitted, which has `INTERVALS`; None: in this run.
    """
    wanted = INTERVALS if unit is None else max(1, round(INTERVALS * points / unit))
    count = min(wanted, points)
    grid = np.arange(count + 1) * points // count
    return np.append(start, grid[grid > start])


def means(series: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Means of a series over the intervals between `bounds` (K + 1,): (…, T) -> (…, K).

    Point p of the series is at index p - 1; an interval (a, b] holds the points a + 1 … b.
    """
    # Not differences of one running sum: a loss that explodes would spoil all that follow it.
    sums = np.add.reduceat(series[..., : bounds[-1]], bounds[:-1], axis=-1)
    return sums / np.diff(bounds)


def held(table: np.ndarray) -> np.ndarray:
    """Rates at log points 0 … T (…, T + 1) to their mean between neighbours (…, T)."""
    return (table[..., 1:] + table[..., :-1]) / 2


@dataclass(frozen=True)
class JudgeConfig:
    """Everything of a judge but its weights.

    Attributes:
        scales: the transforms.
        members, width, hidden: number of networks, size of their state and hidden layers. Half as
            wide ranked unseen schedules worse (docs/research/scheduler.md, entry 3).
        error: rms error, in units of the metric, of the members' predictions of the final metric
            of good configurations they were not fitted on.
        opening: what a run under the default controller begins with, a table or a parametric
            schedule; neither: the LODE's initial schedule.
        histories: how many runs were fitted.
    """

    scales: Scales
    members: Annotated[int, Gt(0)] = JudgeSettings.members
    width: Annotated[int, Gt(0)] = 16
    hidden: Annotated[int, Gt(0)] = 32
    error: Annotated[float, Ge(0), MAY_BE_INFINITE] = math.inf
    opening: Opening = Opening()
    histories: Annotated[int, Ge(0)] = 0

    def to_dict(self) -> dict[str, Any]:
        """As `judge.json` has it, where the opening's two forms are `plan` and `schedule`."""
        found = asdict(self)
        opening = found.pop("opening")
        return found | {"plan": opening["table"], "schedule": opening["schedule"]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> JudgeConfig:
        """Inverse of `to_dict`, also after a round trip through JSON.

        Raises:
            DamagedError, LODEError: a field is missing, of another type or beyond its range.
        """
        plan = typed(tuple[Positive, ...], values.get("plan"), "plan")
        schedule = values.get("schedule")
        found: JudgeConfig = typed(
            cls, {**values, "opening": {"table": plan, "schedule": schedule, "held": ()}}
        )
        return found


class Judge(nn.Module):
    """`members` learning-rate-driven ODEs; every state has a leading dimension M for them."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        M, W, H = config.members, config.width, config.hidden
        self.field = nn.ModuleList(_linear(M, *s) for s in ((W + 2, H), (H, H), (H, W)))
        self.readout = nn.ModuleList(_linear(M, *s) for s in ((W + 2, H), (H, 2)))
        self.gain = nn.Parameter(torch.zeros(M, 2, W))
        self.start = nn.Parameter(0.3 * torch.randn(M, 1, W))

    def forward(
        self,
        h: torch.Tensor,
        drive: torch.Tensor,
        widths: np.ndarray,
        observed: torch.Tensor | None = None,
        seen: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict over K intervals, correcting the state where something was seen.

        Args:
            h: (M, B, W), the state before the first interval.
            drive: (B, K, 2), the input; widths: (K,), in training lengths.
            observed: (B, K, 2), standardised loss and metric; seen: (B, K) in {0, 1}, which of
                them correct the state. Both or neither.

        Returns:
            Predictions (M, B, K, 2), each made before its own interval was seen; the last state.
        """
        field, readout = _layers(self.field), _layers(self.readout)
        inputs = drive.expand(len(h), -1, -1, -1).unbind(2)
        predicted = []
        for k, width in enumerate(widths):
            h = h + SPEED * float(width) * _mlp(field, torch.cat((h, inputs[k]), -1))
            y = _mlp(readout, torch.cat((h, inputs[k]), -1))
            predicted.append(y)
            if observed is not None and seen is not None:
                h = h + torch.tanh((observed[:, k] - y) * seen[:, k, None]) @ self.gain
        return torch.stack(predicted, 2), h

    def last(self, h: torch.Tensor, drive: torch.Tensor, widths: np.ndarray) -> torch.Tensor:
        """What `forward` predicts of the last interval (M, B, 2), nothing being seen.

        A decision asks this of 31 plans at once, so it is written for speed: only the last
        interval is read out, and what the rates add to the first layer is computed for all
        intervals at once.
        """
        (weight, bias), *others = _layers(self.field)
        state, inputs = h.shape[-1], drive.expand(len(h), -1, -1, -1)
        driven = torch.einsum("mbku,muh->kmbh", inputs, weight[:, state:]) + bias
        weight = weight[:, :state]
        for added, width in zip(driven.unbind(), widths, strict=True):
            slope = _mlp(others, torch.baddbmm(added, h, weight).tanh_())
            h = torch.add(h, slope, alpha=SPEED * float(width))
        return _mlp(_layers(self.readout), torch.cat((h, inputs[:, :, -1]), -1))

    def fresh(self, batch: int) -> torch.Tensor:
        """(M, batch, W): the state of runs that have not begun."""
        return self.start.expand(-1, batch, -1)

    @torch.no_grad()
    def follow(
        self,
        observed: np.ndarray,
        start: float,
        mu: int,
        points: int,
        known: tuple[int, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """The state (M, 1, W) of a run after its first log points, `points` being T, or, as of
        `final_metric`, the log points in the length that was fitted.

        Args:
            observed: (p, 3), train loss, metric and lr in original units.
            start: learning rate of the first update. mu: log points of one stretch; the state is
                corrected after each.
            known: a log point, a multiple of mu, and the state there, to go on from.
        """
        begin, h = known or (0, self.fresh(1))
        seen = len(observed)
        bounds = np.append(np.arange(begin, seen, mu), seen)
        seen_of = np.clip(observed, -1e100, 1e100)  # so that sums stay finite
        loss, metric, lrs = (
            means(x, bounds)
            for x in (seen_of[:, 0], seen_of[:, 1], held(np.append(start, seen_of[:, 2])))
        )
        scales = self.config.scales
        drive = self._tensor(scales.drive(lrs))[None]
        y = self._tensor(scales.observation(loss, metric))[None]
        _, h = self(h, drive, np.diff(bounds) / points, y, torch.ones(y.shape[:2]))
        return h

    @torch.no_grad()
    def final_metric(
        self,
        tables: np.ndarray,
        h: torch.Tensor | None = None,
        start: int = 0,
        unit: int | None = None,
    ) -> np.ndarray:
        """Predicted final metric (M, B), in original units, of plans followed from `start` on.

        Args:
            tables: (B, T + 1) learning rates at log points 0 … T; those before `start` are past.
            h: (M, 1, W), the state at `start`; None: a run that has not begun.
            unit: log points in the length that was fitted, of a run that is shorter or longer and
                has as many updates between log points; None: T.
        """
        tables = np.asarray(tables, dtype=np.float64)
        points = tables.shape[1] - 1
        bounds = edges(points, start, unit)
        drive = self._tensor(self.config.scales.drive(means(held(tables), bounds)))
        state = self.fresh(len(tables)) if h is None else h.expand(-1, len(tables), -1)
        y = self.last(state, drive, np.diff(bounds) / (unit or points))
        return self.config.scales.to_metric(y[..., 1].double().numpy())

    def save(self, folder: Path) -> None:
        """Write weights, then settings with their digest, each whole or not at all."""
        paths = {"weights": Path(folder) / JUDGE_WEIGHTS, "config": Path(folder) / JUDGE_CONFIG}
        files.save(self, self.config.to_dict(), allow_nan=True, **paths)

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """Read what `save` wrote, in eval mode on the CPU.

        Raises:
            LODEError: nothing there, damaged, changed, or of another format or fit.
        """
        weights, config = Path(folder) / JUDGE_WEIGHTS, Path(folder) / JUDGE_CONFIG
        return files.load(JudgeConfig.from_dict, cls, weights=weights, config=config)

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(x, dtype=self.start.dtype)


def _linear(members: int, inputs: int, outputs: int) -> nn.ParameterList:
    weight = torch.randn(members, inputs, outputs) / math.sqrt(inputs)
    return nn.ParameterList([weight, torch.zeros(members, 1, outputs)])


Layers = list[tuple[torch.Tensor, torch.Tensor]]


def _layers(modules: nn.ModuleList) -> Layers:
    """Weights and biases as plain tensors: looking them up costs as much as a small product."""
    return [(pair[0], pair[1]) for pair in modules]  # type: ignore[index]


def _mlp(layers: Layers, x: torch.Tensor) -> torch.Tensor:
    """Affine maps, one per member, with tanh between them: (M, B, in) -> (M, B, out)."""
    (weight, bias), *others = layers
    x = torch.baddbmm(bias, x, weight)
    for weight, bias in others:
        x = torch.baddbmm(bias, x.tanh_(), weight)
    return x
