"""A run to do, and where: what is handed to a worker process, a Prefect worker or a Dask task; and
who does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.training.history import History, history_path
from components.training.run import RunSpec

if TYPE_CHECKING:
    from components.tasks.own import Own


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
        sharpness: keyword arguments of `evaluation.sharpness`, `samples` among them, and `every`,
            where it is measured on the way, too (`runs/measured.py`); None: not measured.
        own: what is trained, if that is not of the catalog.
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
    own: Own | None = None

    @property
    def path(self) -> Path:
        return history_path(self.histories, self.spec.run_id)


class RunAll(Protocol):
    """Who trains: `pool.run_all`, or a stand-in that has the runs done elsewhere.

    Takes and returns what `pool.run_all` does; a job whose history exists is not repeated.
    """

    def __call__(
        self,
        jobs: Iterable[Job],
        *,
        workers: int | None = None,
        on_history: Callable[[Job, History], None] = ...,
    ) -> list[History]: ...
