"""How sharp a run's minimum is: at its end, and at log points on the way."""

from __future__ import annotations

from typing import Any

from torch import nn

from components.evaluation.hessian import trained
from components.evaluation.sharpness import sharpness
from components.evaluation.stability import stability
from components.tasks.datasets import Data
from components.tasks.task import Task
from components.training.history import COMPLETED
from components.training.loop import Outcome

BATCH = 256  # samples of a Hessian product at a time; the paper's
MEASURED = (
    "lambda_max",
    "residual",
    "lambda_min",
    "residual_min",
    "preconditioned",
    "residual_preconditioned",
)

Record = dict[str, int | float | None]


class SharpnessOf:
    """Measures a training that it is shown at every log point; nothing of it is changed.

    Args:
        asked: keyword arguments of `sharpness`, `samples` among them, and `every`: so many log
            points between two measurements, the first and the last point always among them;
            without it only the end is measured. None: nothing is.

    Attributes:
        series: a record for each measurement on the way: `point`, `lr` (the rate in force),
            `threshold` (of `Stability`) and what was found (`MEASURED`), `preconditioned` where the
            optimizer has a preconditioner.
    """

    def __init__(self, task: Task, data: Data, points: int, asked: dict[str, Any] | None) -> None:
        self._task, self._data, self._points = task, data, points
        self._asked = None if asked is None else {k: v for k, v in asked.items() if k != "every"}
        self._every = (asked or {}).get("every")
        self._last: dict[str, Any] | None = None  # of the last weights, where measured on the way
        self.series: list[Record] = []

    def look(self, outcome: Outcome) -> None:
        """Measure where it is due."""
        point = len(outcome.rows)
        if not self._every or (point not in (1, self._points) and point % self._every):
            return
        edge = stability(outcome.optimizer, trained(outcome.network))
        found = self._measured(outcome.network, lowest=True, scaling=edge.scaling)
        self._last = found if point == self._points else None
        record = {"point": point, "lr": outcome.rows[-1]["lr"], "threshold": edge.threshold}
        self.series.append(record | {key: found[key] for key in MEASURED if key in found})

    def at_the_end(self, outcome: Outcome) -> dict[str, Any] | None:
        """Of the last weights, which the network must still have; None where the run diverged."""
        if self._asked is None or outcome.status != COMPLETED:
            return None
        return self._last or self._measured(outcome.network)

    def _measured(self, network: nn.Module, **more: Any) -> dict[str, Any]:
        assert self._asked is not None
        x, y = self._data.train.sample(self._asked["samples"])
        batch = min(BATCH, self._task.evaluation_batch)
        return sharpness(network, self._task.loss, x, y, batch_size=batch, **more, **self._asked)
