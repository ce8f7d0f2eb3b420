"""From what a run logs to what the LODE sees, and back: one transform per channel.

A series holds, in this order, train loss, validation metric and learning rate. The LODE works on
standardised channels y = (g(x) - mean) / std, mean and std taken over all points of the fitted
histories:

    loss    g = log(x - loss_base)          drops by orders of magnitude, and spikes
    metric  g = x                           nothing is assumed of its range: accuracy, F1, R², …
    lr      g = log(x + 0.1 · lowest peak)  a cosine ends near 1e-10: a bare log would make those
                                            last points the channel's only feature

Whatever is compared or reported is inverted to the original units first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from annotated_types import Ge, Gt

from components.lode.errors import LODEError
from components.training.run import SERIES

LOSS, METRIC, LR = range(3)

Series = TypeVar("Series", np.ndarray, torch.Tensor)
Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Channels:
    """The transform of one set of histories.

    Attributes:
        loss_base: below every loss of the fitted histories: a little under 0 for a loss that is
            never negative. Losses under it are taken as if just above it.
        lr_offset: a tenth of the lowest peak learning rate.
        lr_range: smallest and largest learning rate of the histories.
        mean, std: of the three transformed channels.
    """

    loss_base: float
    lr_offset: Positive
    lr_range: tuple[Annotated[float, Ge(0)], Positive]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]

    @classmethod
    def measure(cls, series: Sequence[np.ndarray]) -> Channels:
        """Take the transform from histories, each (T, 3) in original units.

        Raises:
            LODEError: a channel is not finite, or no learning rate is positive.
        """
        rows = np.concatenate([np.asarray(one, dtype=np.float64) for one in series])
        for name, column in zip(SERIES, rows.T, strict=True):
            if not np.isfinite(column).all():
                raise LODEError(f"{name} of the histories is not finite; quarantine those runs")
        peaks = [float(one[:, LR].max()) for one in series]
        if min(peaks) <= 0:
            raise LODEError("a history's learning rate is never positive; quarantine that run")
        # The margin keeps the log's argument positive and its slope bounded at a loss near 0.
        low, typical = rows[:, LOSS].min(), np.median(np.abs(rows[:, LOSS]))
        base = min(float(low), 0.0) - max(0.01 * float(typical), 1e-6)
        raw = cls(
            base,
            0.1 * min(peaks),
            (max(float(rows[:, LR].min()), 0.0), max(peaks)),
            (0.0, 0.0, 0.0),
            (1.0, 1.0, 1.0),
        )
        warped = raw.forward(rows)
        mean, std = warped.mean(0), warped.std(0)
        std = np.where(std > 1e-8, std, 1.0)  # a channel that never moves stays finite
        a, b, c = (float(v) for v in mean)
        d, e, f = (float(v) for v in std)
        return cls(raw.loss_base, raw.lr_offset, raw.lr_range, (a, b, c), (d, e, f))

    def forward(self, x: Series) -> Series:
        """Original units to standardised, both (..., 3); finite for every finite input."""
        if isinstance(x, np.ndarray):
            return self._forward(torch.from_numpy(np.asarray(x, dtype=np.float64))).numpy()
        return self._forward(x)

    def inverse(self, y: Series) -> Series:
        """Standardised to original units, both (..., 3).

        The learning rate comes out within [0, 10 × the histories' largest], the loss finite,
        however far outside the fitted range `y` lies.
        """
        if isinstance(y, np.ndarray):
            return self._inverse(torch.from_numpy(np.asarray(y, dtype=np.float64))).numpy()
        return self._inverse(y)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        loss = (x[..., LOSS] - self.loss_base).clamp(min=1e-12).log()
        lr = (x[..., LR].clamp(min=0.0) + self.lr_offset).log()
        warped = torch.stack((loss, x[..., METRIC], lr), -1)
        return (warped - warped.new_tensor(self.mean)) / warped.new_tensor(self.std)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        warped = y * y.new_tensor(self.std) + y.new_tensor(self.mean)
        loss = warped[..., LOSS].clamp(-80.0, 80.0).exp() + self.loss_base
        top = 10 * self.lr_range[1]
        lr = warped[..., LR].clamp(-80.0, 80.0).exp() - self.lr_offset
        return torch.stack((loss, warped[..., METRIC], lr.clamp(0.0, top)), -1)

    @property
    def lowest_lr(self) -> float:
        """The least that a plan may have: optimizers want positive rates, and the smallest that the
        histories have does no harm. Theirs may be 0 at the end, hence the floor."""
        return max(self.lr_range[0], 1e-6 * self.lr_offset)

    def warp_lr(self, lr: np.ndarray) -> np.ndarray:
        """log(lr + offset): the units in which learning-rate errors are reported."""
        return np.log(np.maximum(lr, 0.0) + self.lr_offset)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
