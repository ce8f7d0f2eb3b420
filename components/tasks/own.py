"""A task of the user's own: a command, a Python object, or runs that others have made.

Light: plain facts, which travel with a job to whoever does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Goal = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class OwnMetric:
    """What a user's run logs as its validation metric.

    Attributes:
        name: as pages call it.
        goal: `minimize` of a loss. Histories hold `sign` times what was logged, so that more is
            better in all of them.
        percent: it is a share in [0, 1], shown in per cent.
    """

    name: str
    goal: Goal
    percent: bool = False

    @property
    def sign(self) -> float:
        """From what was logged to what histories hold, and back."""
        return -1.0 if self.goal == "minimize" else 1.0

    def facts(self) -> dict[str, str | bool]:
        """What a history's metadata say of it."""
        return {"metric_name": self.name, "metric_goal": self.goal, "metric_percent": self.percent}


@dataclass(frozen=True)
class Command:
    """A script that trains: one process for every run.

    Attributes:
        line: for the shell; `{seed}`, `{updates}`, `{points}` and `{run}` are replaced.
        root, folder: the workspace, and the folder below or beside it that the process starts in.
        metric: what it logs.
        timeout: seconds after which it is stopped; None: never.
    """

    line: str
    root: str
    folder: str
    metric: OwnMetric
    timeout: float | None = None


@dataclass(frozen=True)
class PythonTask:
    """A `components.tasks.task.Task` of the user's own, `module:NAME`; the module is looked for in
    `root`, the workspace, too."""

    path: str
    root: str


Own = Command | PythonTask
