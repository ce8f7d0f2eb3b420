"""The section `tasks`: what is trained that is not in the catalog."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from components.lode.settings import Range
from components.settings.section import Section
from components.storage.shown import shown
from components.tasks.names import TASKS
from components.tasks.own import OwnMetric

# Of a folder and of a registered model; neither a path nor hidden.
NAME = re.compile(r"\w[\w.-]{0,59}")
UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
KINDS = ("command", "python", "imported")
_Seconds = Range(1, 30 * UNITS["d"], "seconds, 30 days at most")
_Path = Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,1000}$")]


class MetricSettings(Section):
    """What a run logs as its validation metric: what it is called, and which way is better.

    `goal`: `maximize` an accuracy, `minimize` a loss. `percent`: it is a share in [0, 1], which
    pages show in per cent.
    """

    name: str = Field(pattern=r"^[^\x00-\x1f$]{1,60}$")
    goal: Literal["maximize", "minimize"]
    percent: bool = False

    def plain(self) -> OwnMetric:
        return OwnMetric(self.name, self.goal, self.percent)


class OwnTaskSettings(Section):
    """A task of the user's own: exactly one of `command`, `python` and `imported`.

    `command`: a line for the shell that trains once (docs/guides/your-script.md says what it is
    told and what it logs); `{seed}`, `{updates}`, `{points}` and `{run}` in it are replaced.
    `folder`: where it starts, relative to the settings file. `metric`: of what it logs. `timeout`:
    of one run, in seconds or as `90s`, `30m`, `2h`; null: none. `digest`: files and folders,
    relative to `folder`, whose change makes other runs; without, a changed script is not noticed.
    `python`: `module:NAME` of a `components.tasks.task.Task`, importable where runs are trained.
    `imported`: true where there are histories only (`lode import`), and nothing can be run.
    """

    command: str | None = Field(None, pattern=r"^[^\x00]{1,4000}$")
    folder: _Path = "."
    metric: MetricSettings | None = None
    timeout: Annotated[float, _Seconds] | None = None
    digest: list[_Path] = Field([], max_length=50)
    python: str | None = Field(None, pattern=r"^[^\W\d][\w.]*:[^\W\d]\w*$")
    imported: bool = False

    @field_validator("timeout", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if isinstance(value, str):
            found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", value.strip())
            if found is None:
                raise ValueError(f"{shown(value)} is no time: seconds, or 90s, 30m, 2h, 1d")
            return float(found[1]) * UNITS[found[2]]
        return value

    @model_validator(mode="after")
    def _is_one_kind(self) -> OwnTaskSettings:
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(
                "name one of command (a line for the shell), python (module:NAME of a Task) and "
                f"imported (true: histories only); there is {' and '.join(given) or 'none'}"
            )
        if self.python is None and self.metric is None:
            raise ValueError(
                "metric is missing: say what is logged and which way is better, e.g. "
                "metric: {name: val_acc, goal: maximize}"
            )
        useless = {
            "command": (),
            "python": ("metric", "folder", "timeout", "digest"),
            "imported": ("folder", "timeout", "digest"),
        }[given[0]]
        for name in useless:
            if name in self.model_fields_set:
                raise ValueError(f"{name} is only of a command; take it out")
        return self


def check_name(name: str) -> None:
    """
    Raises:
        ValueError: of a catalog's task, or no name for a folder.
    """
    if name in TASKS:
        raise ValueError(f"tasks.{name}: the catalog has a task of that name; choose another")
    if not NAME.fullmatch(name) or name.endswith("."):
        raise ValueError(
            f"tasks: {shown(name)} is no task's name: letters, digits, . _ -, at most 60, "
            "beginning with a letter or digit"
        )
