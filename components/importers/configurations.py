"""Which runs are of one configuration: the name of their schedule, their peak rate, their seed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from components.importers.errors import LeftOutError
from components.importers.logs import Log
from components.importers.match import number, text
from components.importers.shapes import described, ours, own_name
from components.importers.source import Listed
from components.storage.shown import cut

SCHEDULER = re.compile(r"((lr|learning_rate)_?)?sched(ule)?r?(_?(type|name))?", re.IGNORECASE)
PEAK = re.compile(r"((peak|max|base|init(ial)?)_?)?(lr|learning_rate)", re.IGNORECASE)
SEED = re.compile(r"(random_?)?seed", re.IGNORECASE)
# Of a declared peak the largest rate logged: a log need not have the update that reached it.
SAME_PEAK = (0.9, 1.001)


@dataclass(frozen=True)
class Run:
    """A run that can come in.

    Attributes:
        log: with its beginning. points: its log points; those before it diverged.
        trunk: id of the run that has its beginning.
    """

    listed: Listed
    log: Log
    points: pd.DataFrame
    completed: bool
    trunk: str = ""


def parameter_like(runs: Sequence[Listed], usual: re.Pattern[str]) -> str | None:
    """The one parameter of a usual name; None: there is none, or more than one."""
    keys = {key for run in runs for key in run.params}
    found = [key for key in keys if usual.fullmatch(key.rpartition(".")[2])]
    return found[0] if len(found) == 1 else None


def schedulers(
    runs: Sequence[Run], group: Sequence[str], updates: int, declared: str = ""
) -> dict[str, str]:
    """The name of each run's schedule, by run id; one of a run that diverged may be missing.

    Args:
        group: parameters whose values are the name; none: it is what the rates look like, or
            `declared`, where that is the schedule of all.
    """
    if not group and not declared:
        return {run.listed.id: described(run.points, updates) for run in runs if run.completed}
    names = {run.listed.id: _name(run.listed, group) if group else declared for run in runs}
    for name in set(names.values()):
        mine = [run for run in runs if names[run.listed.id] == name and run.completed]
        found = {own_name(name, run.points, updates) for run in mine} or {name}
        for run in runs:
            if names[run.listed.id] == name:
                names[run.listed.id] = max(found, key=len)  # one that is not ours: none is
    return names


def _name(run: Listed, group: Sequence[str]) -> str:
    """`wsd decay_type=linear cooldown_fraction=0.2`."""
    parts = []
    for key in group:
        value = run.params.get(key)
        if value is None:
            continue
        bare = SCHEDULER.fullmatch(key.rpartition(".")[2]) is not None
        parts.append(text(value) if bare else f"{key}={text(value)}")
    shown = "".join(c if c.isprintable() else "?" for c in cut(" ".join(parts), 200))
    return shown or "(none)"


def peaks(runs: Sequence[Run], declared: str | None, updates: int) -> dict[str, float]:
    """The peak rate of each run, by id: the largest it logged, or as its parameter says it where
    that agrees; of a schedule of ours what its rates imply.

    Args:
        declared: a number, or the parameter; None: the one of a usual name.
    """
    logged = {
        run.listed.id: float(f"{run.log.series('lr')[1].max():.6g}")
        for run in runs
        if len(run.log.series("lr")[1])
    }
    key = declared or parameter_like([run.listed for run in runs], PEAK) or ""
    said = {
        run.listed.id: value
        for run in runs
        if (value := number(run.listed.params.get(key, declared))) is not None and value > 0
    }
    done = [run.listed.id for run in runs if run.completed and run.listed.id in logged]
    logged |= {
        run.listed.id: of_ours[1]
        for run in runs
        if run.completed and (of_ours := ours(run.points, updates)) is not None
    }
    low, high = SAME_PEAK
    agree = all(one in said and low <= logged[one] / said[one] <= high for one in done)
    return logged | said if done and agree else logged


def seeds(
    runs: Sequence[Run], column: str | None, configuration: Mapping[str, tuple[str, float]]
) -> tuple[dict[str, int], dict[str, str]]:
    """The seed of each run by id, and why some have none.

    Args:
        column: the parameter; None: runs of one configuration are numbered, in the order of their
            ids.
    """
    found: dict[str, int] = {}
    faults: dict[str, str] = {}
    counted: dict[tuple[str, float], int] = defaultdict(int)
    for run in sorted(runs, key=lambda one: one.listed.id):
        if column is None:
            key = configuration[run.listed.id]
            found[run.listed.id] = counted[key]
            counted[key] += 1
            continue
        try:
            found[run.listed.id] = _seed(run.listed.params.get(column), column)
        except LeftOutError as error:
            faults[run.listed.id] = str(error)
    return found, faults


def _seed(value: object, column: str) -> int:
    try:
        number = float(str(value))
        seed = int(str(value)) if re.fullmatch(r"\d+", str(value)) else int(number)
    except (ValueError, OverflowError):
        raise LeftOutError(f"its {cut(column, 40)} is no whole number") from None
    if seed != number or not 0 <= seed < 2**64:
        raise LeftOutError(f"its {cut(column, 40)} is no whole number of at least 0")
    return seed


def differences(
    runs: Sequence[Run], configuration: Mapping[str, tuple[str, float]], known: set[str]
) -> dict[str, int]:
    """Parameters that differ within a configuration, and how many values they have there at most.

    Those in `known` are left out, and those that are each run's own, as a name or a folder is.
    """
    groups: dict[tuple[str, float], list[Listed]] = defaultdict(list)
    for run in runs:
        groups[configuration[run.listed.id]].append(run.listed)
    keys = {key for run in runs for key in run.listed.params} - known
    found = {}
    for key in sorted(keys):
        values = [
            {text(one.params[key]) for one in group if key in one.params}
            for group in groups.values()
        ]
        most, every = max(len(some) for some in values), set().union(*values)
        if most > 1 and len(every) < len(runs):
            found[key] = most
    return found
