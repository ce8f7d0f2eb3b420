"""What is asked of an import, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.importers.kept import Kept
from components.importers.roles import Columns
from components.tasks.own import OwnMetric
from components.training.history import History


@dataclass(frozen=True)
class Target:
    """Where the runs go.

    Attributes:
        task: its name. folder: of its histories. metric: what it calls its metric, and which way
            is better.
    """

    task: str
    folder: Path
    metric: OwnMetric


@dataclass(frozen=True)
class Request:
    """How the runs are to be read; see `lode import --help`.

    Attributes:
        named: (role, column). match: (parameter, pattern).
        group: parameters that tell configurations apart. seed, horizon, resumed_from: parameters.
        updates: N; None: that of most runs. points: T.
        epoch_updates: updates of one epoch, where the log counts in epochs.
        lr_schedule: a schedule of ours, or a parameter that names one, where no rate was logged.
        peak_lr, warmup: a number, or a parameter that has it.
    """

    points: int
    named: tuple[tuple[str, str], ...] = ()
    match: tuple[tuple[str, str], ...] = ()
    group: tuple[str, ...] = ()
    seed: str | None = None
    horizon: str | None = None
    resumed_from: str | None = None
    updates: int | None = None
    epoch_updates: int | None = None
    lr_schedule: str | None = None
    peak_lr: str | None = None
    warmup: str | None = None

    def parameters(self) -> dict[str, str]:
        """Every parameter of the runs that it names, by option."""
        named = {
            "--seed": self.seed,
            "--horizon": self.horizon,
            "--resumed-from": self.resumed_from,
        }
        return {option: name for option, name in named.items() if name is not None} | {
            f"--group {name}": name for name in self.group
        }


@dataclass
class Imported:
    """What came in, and what did not.

    Attributes:
        histories: of one length N and T points; diverged ones too.
        left_out: reason by the run's description. notes: what else the user should know.
        joined: cooldowns joined to their trunks: run, trunk, step.
        listed: how many runs the source has, `matched` of them meant.
        others: how many runs there are of other lengths. kept: what was read of a slow source.
        written: how many files were new or changed; None: nothing was written yet.
    """

    target: Target
    updates: int
    points: int
    columns: Columns
    histories: list[History]
    left_out: dict[str, str]
    notes: list[str]
    joined: list[tuple[str, str, int]]
    listed: int
    matched: int
    others: Mapping[int, int]
    kept: Kept
    written: int | None = None
