"""A cooldown that was resumed from a trunk: its log begins where the trunk's is left.

The trunk is the run that `--resumed-from` names by its id or name. Where values of that column name
no run (true, a step), they only say that a run was resumed, and the trunk is looked for among the
imported runs: one that logged the step at which the cooldown begins. Either way the two must agree
there, the rate within `SAME_RATE` and the metric within `SAME_METRIC` of its whole range: so no run
is joined to one that it does not go on from. Of several the nearest in the metric is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from components.importers.errors import LeftOutError
from components.importers.logs import Log
from components.importers.match import text
from components.importers.source import Listed
from components.training.resampled import HELD_AT_START

SAME_RATE = 0.03  # relative: a cooldown's first rate was logged some updates after it began
# Of the metric's range in the joined run: among 156 runs of language models those that repeat a
# trunk differ by up to 0.0003 of it, those under another schedule by 0.002 and more.
SAME_METRIC = 5e-4
# Of a run: one that says it was resumed and whose log begins later lacks its beginning.
RESUMED_AT = 0.01


@dataclass
class Joined:
    """`log`, and of which trunk it has its beginning; `off`: how far the metric differs there."""

    log: Log
    trunk: str = ""
    at: int = 0
    off: float = 0.0


@dataclass
class Trunks:
    """Joins runs to what they were resumed from.

    Attributes:
        runs, logs: of all runs, by id. column: the parameter of `--resumed-from`.
    """

    runs: Mapping[str, Listed]
    logs: Mapping[str, Log]
    column: str
    _whole: dict[str, Joined] = field(default_factory=dict)
    _at_work: set[str] = field(default_factory=set)

    def joined(self, run_id: str) -> Joined:
        """The run with its beginning.

        Raises:
            LeftOutError: it was resumed, and no trunk has its beginning.
        """
        if run_id not in self._whole:
            if run_id in self._at_work:
                raise LeftOutError("runs that were resumed from one another")
            self._at_work.add(run_id)
            try:
                self._whole[run_id] = self._join(run_id)
            finally:
                self._at_work.discard(run_id)
        return self._whole[run_id]

    def _join(self, run_id: str) -> Joined:
        log = self.logs[run_id]
        named = self._named(self.runs[run_id])
        told = RESUMED_AT if _says_so(self.runs[run_id].params.get(self.column)) else HELD_AT_START
        late = log.first > told * log.last
        if named is None and not late:
            return Joined(log)
        if named is not None:
            if named not in self.logs:
                raise LeftOutError("resumed from a run that could not be read")
            found = self._with(log, named)
            if found is None:
                raise LeftOutError("where it was resumed its rate and metric are not its trunk's")
            return found
        candidates = [self._with(log, other) for other in self.logs if other != run_id]
        fitting = [one for one in candidates if one is not None]
        if not fitting:
            raise LeftOutError("resumed, and none of the runs has its beginning")
        return min(fitting, key=lambda one: (one.off, one.trunk))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Ids of the runs by what the column may call them; nothing, where one of its values is of
        no run: then they are steps or truths."""
        found: dict[str, list[str]] = {}
        for run in self.runs.values():
            for name in {run.id, run.name}:
                found.setdefault(name, []).append(run.id)
        told = [run.params.get(self.column) for run in self.runs.values()]
        names = [text(one) for one in told if one is not None and _says_so(one)]
        return found if names and all(name in found for name in names) else {}

    def _named(self, run: Listed) -> str | None:
        """The id of the run that its parameter names; None: it names none."""
        value = run.params.get(self.column)
        if value is None or not self._by_name or not _says_so(value):
            return None
        same = self._by_name[text(value)]
        if len(same) > 1:
            raise LeftOutError("resumed from a run whose name is not its alone")
        return same[0] if same[0] != run.id else None

    def _with(self, log: Log, other: str) -> Joined | None:
        """The log with its beginning from another run, if the two agree where they meet."""
        if self.logs[other].first >= log.first:
            return None
        try:
            trunk = self.joined(other).log
        except LeftOutError:
            return None
        at = log.first
        if trunk.last < at or trunk.first > HELD_AT_START * at:
            return None
        rate, off = _rate_off(trunk, log), _metric_off(trunk, log)
        if rate > SAME_RATE or off > SAME_METRIC:
            return None
        before = trunk.rows[trunk.rows["step"] < at]
        rows = pd.concat([before, log.rows], ignore_index=True)
        return Joined(Log(rows, log.diverged, log.recovered, log.test_metric), other, at, off)


def _says_so(value: object) -> bool:
    """Whether a parameter says that a run was resumed: true, yes, a step, a name."""
    return str(value).strip().lower() not in ("none", "nan", "", "false", "no", "0", "0.0")


def _rate_off(trunk: Log, log: Log) -> float:
    steps, rates = log.series("lr")
    there = _at(trunk, "lr", steps)
    return abs(rates[0] - there) / max(abs(there), 1e-30) if there is not None else np.inf


def _metric_off(trunk: Log, log: Log) -> float:
    """As a share of the metric's range over the two."""
    steps, metrics = log.series("val_metric")
    there = _at(trunk, "val_metric", steps)
    if there is None:
        return np.inf
    both = np.append(trunk.series("val_metric")[1], metrics)
    return abs(metrics[0] - there) / max(float(np.ptp(both)), 1e-30)


def _at(trunk: Log, name: str, steps: np.ndarray) -> float | None:
    """Of the trunk at the first of these steps, interpolated within what it logged."""
    known, values = trunk.series(name)
    if not len(steps) or not len(known) or not known[0] <= steps[0] <= known[-1]:
        return None
    return float(np.interp(steps[0], known, values))
