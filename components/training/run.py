"""What determines a run, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

# The columns of a history that say how a training went, in this order wherever they are stacked.
SERIES = ("train_loss", "val_metric", "lr")
# Raised when a change makes the same RunSpec train differently, so that old files are not
# mistaken for its result.
RECIPE = 1


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run's result on a given machine and version.

    Attributes:
        task, scheduler: names of the catalog and of the scheduler registry.
        peak_lr: peak (or initial) learning rate; None where the scheduler has none (`lode`).
        seed: of initialisation, data order, dropout and the scheduler's own draws.
        updates, points: N and T.
        train_samples: use only so many training samples; None: all.
        scheduler_digest: for learned schedulers, which weights and controller settings.
        sharpness_method: how λ_max is measured, and how often; None: not at all. The weights are
            not kept, so to measure it otherwise takes another run.
        data_digest: of files of the user's own that the task trains on; None: the data is fixed.
    """

    task: str
    scheduler: str
    peak_lr: float | None
    seed: int
    updates: int
    points: int
    train_samples: int | None = None
    scheduler_digest: str | None = None
    sharpness_method: str | None = None
    data_digest: str | None = None

    @property
    def run_id(self) -> str:
        """16 hex digits of the SHA-256 of all of the above: an existing file means done."""
        text = json.dumps({"recipe": RECIPE, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def describe(self) -> str:
        peak = f" {self.peak_lr:g}" if self.peak_lr is not None else ""
        return f"{self.scheduler}{peak} seed {self.seed}"


def log_steps(updates: int, points: int) -> list[int]:
    """Updates done at log points 1..T: `round(p · N / T)`, strictly increasing, ends at N."""
    return [round(point * updates / points) for point in range(1, points + 1)]
