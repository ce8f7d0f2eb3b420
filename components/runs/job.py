"""A run to do, and where: what is handed to a worker process, a Prefect worker or a Dask task."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.training.history import history_path
from components.training.run import RunSpec


@dataclass(frozen=True)
class Job:
    """A run to do, and where.

    Attributes:
        histories: folder the history is written to.
        data: folder the data sets lie in.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …
        lode: folder of the LODE, for scheduler `lode`.
        policy: folder of the learned policy, for `rl-controller` and `gns`.
        controller: settings of the scheduler: μ, n, σ, … of `lode`; range and size of `pbt`.
        plan: T + 1 learning rates at log points 0 … T, for scheduler `plan`.
        sharpness: keyword arguments of `evaluation.sharpness`, `samples` among them; None: not
            measured.
    """

    spec: RunSpec
    histories: Path
    data: Path
    device: str = "auto"
    lode: Path | None = None
    policy: Path | None = None
    controller: dict[str, Any] = field(default_factory=dict)
    plan: tuple[float, ...] = ()
    sharpness: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        return history_path(self.histories, self.spec.run_id)
