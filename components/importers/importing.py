"""One import from beginning to end: what comes in is decided here, how it is read by its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.importers import declared
from components.importers.configurations import (
    SCHEDULER,
    SEED,
    Run,
    parameter_like,
    peaks,
    schedulers,
    seeds,
)
from components.importers.errors import LeftOutError, RunsError
from components.importers.histories import content, history
from components.importers.kept import Kept
from components.importers.lengths import SAME_LENGTH, chosen
from components.importers.logs import Log, canonical
from components.importers.match import check_keys, matches, number
from components.importers.notes import differing, hidden_warm_up
from components.importers.reading import each_log
from components.importers.request import Imported, Request, Target
from components.importers.roles import EPOCH, STEP, mapped
from components.importers.source import RUNNING, Listed, Source
from components.importers.staging import check_others, finish, publish
from components.importers.trunks import Trunks
from components.runs.progress import progress
from components.schedulers.parametric import PARAMETRIC
from components.storage.shown import cut, shown
from components.training.resampled import HELD_AT_END, LogError, resampled

_ROUNDED = 1e-6  # what adding up batches may cost
MOST_RUNS = 10_000  # as of a sweep: each is a file, and a fit holds all of them


def read_runs(source: Source, request: Request, target: Target, state: Path) -> Imported:
    """A source's runs as histories of a task, not yet written.

    Args:
        state: a folder for what is not finished.

    Raises:
        RunsError: the source cannot be read, the request does not fit its runs, or none can come
            in.
    """
    work = _Import(source, request, target, state)
    work.list_runs()
    work.choose_columns()
    work.read_logs()
    work.join_trunks()
    work.choose_length()
    work.resample()
    return work.assemble()


def write_runs(result: Imported, state: Path) -> None:
    """All of them, or none where it is killed; `state` as in `read_runs`.

    Raises:
        RunsError: the task has histories of another length.
    """
    finish(state, result.target.folder)
    check_beside(result)
    result.written = publish(result.histories, state, result.target.folder)
    result.kept.done()


def check_beside(result: Imported) -> None:
    """Add a note of the histories that are there already.

    Raises:
        RunsError: the task has histories of another length.
    """
    ids = {one.run_id for one in result.histories}
    others = check_others(result.target.folder, ids, result.updates, result.points)
    if others:
        result.notes.append(f"{others} histories of earlier imports are there beside these")


class _Import:
    """Its state: which runs are still in, their logs, and why the others are out."""

    def __init__(self, source: Source, request: Request, target: Target, state: Path) -> None:
        self.source, self.request, self.target, self.state = source, request, target, state
        self.listed: dict[str, Listed] = {}
        self.logs: dict[str, Log] = {}
        self.trunks: dict[str, tuple[str, int]] = {}
        self.runs: list[Run] = []
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []
        self.total = 0

    def leave_out(self, run_id: str, reason: str) -> None:
        self.left_out[self.listed[run_id].describe()] = reason

    def list_runs(self) -> None:
        every = list(self.source.runs(self.request.match))
        self.total = len(every)
        if not every:
            raise RunsError(f"{self.source.label}: no runs there")
        check_keys(every, self.request.match)
        found = [run for run in every if matches(run, self.request.match)]
        if not found:
            raise RunsError(f"none of {len(every)} runs matches; look at --match")
        if len(found) > MOST_RUNS:
            raise RunsError(
                f"{len(found)} runs are more than {MOST_RUNS}; take a part with --match"
            )
        for run in found:
            if run.id in self.listed:
                self.notes.append(f"{run.describe()} is listed twice and comes in once")
            self.listed[run.id] = run
            if run.status == RUNNING:
                self.leave_out(run.id, "it is still running")
            elif run.fault:
                self.leave_out(run.id, run.fault)
        self._check_parameters()

    def _check_parameters(self) -> None:
        known = {key for run in self.listed.values() for key in run.params}
        for option, name in self.request.parameters().items():
            if name not in known:
                raise RunsError(
                    f"{option.split()[0]} {cut(name)}: no run has a parameter of that name; they "
                    f"have {shown(sorted(known), 600)}"
                )
        declared.check(self.request, known)

    def _running(self) -> list[Listed]:
        """Those that may come in."""
        return [run for run in self.listed.values() if run.describe() not in self.left_out]

    def choose_columns(self) -> None:
        counted = Counter(name for run in self._running() for name in run.columns)
        self.columns = mapped(
            self.request.named,
            list(counted),
            constant=getattr(self.source, "constant", ()),
            own_step=self.source.own_step,
            counts_updates=self.source.counts_updates,
            metric=self.target.metric,
            lr_declared=self.request.lr_schedule is not None,
        )
        epochs = EPOCH in self.columns.columns and STEP not in self.columns.columns
        if epochs and self.request.epoch_updates is None:
            raise RunsError(
                f"the runs count in epochs ({cut(str(self.columns.column(EPOCH)), 60)}): say how "
                "many updates one has with --epoch-updates, or name a column that counts updates "
                "with --map step=…"
            )
        names = self.columns.names()
        self.kept = Kept(self.state / "logs", f"{self.source.kind} {self.source.label}", names)

    def read_logs(self) -> None:
        runs = self._running()
        with progress(f"reading {len(runs)} runs", len(runs)) as advance:
            for run, log in each_log(self.source, runs, self.columns.names(), self.kept):
                advance(1, run.name)
                try:
                    if isinstance(log, LeftOutError):
                        raise log
                    self.logs[run.id] = canonical(log, self.columns, self.request.epoch_updates)
                except LeftOutError as error:
                    self.leave_out(run.id, str(error))

    def join_trunks(self) -> None:
        if self.request.resumed_from is None:
            return
        trunks = Trunks(self.listed, dict(self.logs), self.request.resumed_from)
        for run_id in list(self.logs):
            try:
                joined = trunks.joined(run_id)
            except LeftOutError as error:
                self.leave_out(run_id, str(error))
                del self.logs[run_id]
                continue
            self.logs[run_id] = joined.log
            if joined.trunk:
                self.trunks[run_id] = joined.trunk, joined.at

    def choose_length(self) -> None:
        lengths = {one: self._length(one) for one in self.logs}
        whole = {one: length for one, length in lengths.items() if length is not None}
        for one in set(lengths) - set(whole):
            if self.logs[one].diverged is None:
                self.leave_out(one, f"its {self.request.horizon} is no number of updates")
                del self.logs[one]
        if not whole:
            raise RunsError("none of the runs can come in: " + self._reasons())
        early = SAME_LENGTH if self.request.horizon else HELD_AT_END
        self.group = chosen(whole, self.request.updates, early)
        for one, length in whole.items():
            if one not in self.group.members:
                self.leave_out(one, f"it is {length:,} updates long, not {self.group.updates:,}")
                del self.logs[one]

    def _length(self, run_id: str) -> int | None:
        """As declared, else the last step; None: it cannot be told."""
        if self.request.horizon is not None:
            length = number(self.listed[run_id].params.get(self.request.horizon))
            return None if length is None or not 1 <= length < 2**53 else int(length)
        log = self.logs[run_id]
        return None if log.diverged is not None else max(log.last, 1)

    def resample(self) -> None:
        updates = self.group.updates
        if updates < self.request.points:
            raise RunsError(
                f"the runs are {updates} updates long, which is fewer than {self.request.points} "
                "points; lower --points"
            )
        for run_id, log in self.logs.items():
            try:
                self.runs.append(self._run(run_id, log, updates))
            except LogError as error:
                self.leave_out(run_id, error.problem)
            except LeftOutError as error:
                self.leave_out(run_id, str(error))

    def _run(self, run_id: str, log: Log, updates: int) -> Run:
        listed, points = self.listed[run_id], self.request.points
        rows = log.rows[log.rows["step"] <= updates]
        if self.request.lr_schedule is not None:
            rows = declared.with_rates(rows, listed, self.request, updates)
        log = replace(log, rows=rows, _series={})
        trunk = self.trunks.get(run_id, ("", 0))[0]
        if log.diverged is None:
            table = resampled(rows, updates=updates, points=points)
            return Run(listed, log, table, True, trunk)
        until = log.last if len(rows) else 0
        try:
            table = resampled(rows, updates=updates, points=points, until=until)
        except LogError:  # it diverged before it had logged everything once
            table = resampled(_nothing(), updates=updates, points=points, until=0)
        return Run(listed, log, table, False, trunk)

    def _check_shares(self) -> None:
        """A share that is logged in per cent would be of no run that ever was."""
        metric = self.target.metric
        highest = [float(run.points["val_metric"].max()) for run in self.runs if len(run.points)]
        if metric.percent and highest and np.median(highest) > 1 + _ROUNDED:
            raise RunsError(
                f"val_metric reaches {np.median(highest):.4g}, and {cut(metric.name, 60)} is a "
                "share in [0, 1]: map a column of shares, or take percent out of its metric in "
                "params.yaml"
            )

    def assemble(self) -> Imported:
        if not self.runs:
            raise RunsError("none of the runs can come in: " + self._reasons())
        self._check_shares()
        configuration = self._configurations()
        self._once(configuration)
        seed = self._seed_column()
        found, faults = seeds(self.runs, seed, configuration)
        for one, fault in faults.items():
            self.leave_out(one, fault)
        if not found:
            raise RunsError("none of the runs can come in: " + self._reasons())
        self.notes += differing(self.runs, configuration, self._told_apart(seed))
        self.notes += hidden_warm_up(self.runs, self.group.updates, self.request.points)
        recovered = sum(run.log.recovered for run in self.runs)
        if recovered:
            self.notes.append(f"{recovered} values that are no numbers count as not logged")
        histories = [
            history(
                run,
                self.target,
                kind=self.source.kind,
                updates=self.group.updates,
                points=self.request.points,
                scheduler=configuration[run.listed.id][0],
                peak_lr=configuration[run.listed.id][1],
                seed=found[run.listed.id],
                epoch_updates=self.request.epoch_updates,
            )
            for run in self.runs
            if run.listed.id in found
        ]
        return Imported(
            self.target,
            self.group.updates,
            self.request.points,
            self.columns,
            sorted(histories, key=lambda one: one.run_id),
            self.left_out,
            self.notes,
            [
                (self.listed[one].describe(), self.listed[trunk].describe(), at)
                for one, (trunk, at) in self.trunks.items()
                if one in found
            ],
            self.total,
            len(self.listed),
            self.group.others,
            self.kept,
        )

    def _configurations(self) -> dict[str, tuple[str, float]]:
        group, named = list(self.request.group), self.request.lr_schedule
        if not group and named is not None:
            group = [] if named in PARAMETRIC else [named]
        elif not group:
            key = parameter_like([run.listed for run in self.runs], SCHEDULER)
            group = [] if key is None else [key]
            self.notes.append(
                f"configurations are told apart by {cut(key, 60)} and peak rate (--group says "
                "otherwise)"
                if key
                else "schedules are named by what their rates look like (--group names them)"
            )
        alike = named if named in PARAMETRIC else None
        names = schedulers(self.runs, group, self.group.updates, alike or "")
        tops = peaks(self.runs, self.request.peak_lr, self.group.updates)
        known = []
        for run in self.runs:
            one = run.listed.id
            if one not in names:
                self.leave_out(one, "it diverged, and no --group says under which schedule")
            elif not tops.get(one, 0) > 0:
                self.leave_out(one, "its learning rate is never above 0")
            else:
                known.append(run)
        self.runs = known
        if not known:
            raise RunsError("none of the runs can come in: " + self._reasons())
        return {run.listed.id: (names[run.listed.id], tops[run.listed.id]) for run in known}

    def _once(self, configuration: Mapping[str, tuple[str, float]]) -> None:
        """A run that is there twice, as in a copied folder, comes in once."""
        first: dict[str, Run] = {}
        for run in sorted(self.runs, key=lambda one: one.listed.id):
            same = content(run, *configuration[run.listed.id])
            if len(run.points) and same in first:
                name = first[same].listed.describe()
                self.leave_out(run.listed.id, f"it is the same as {name}")
            else:
                first[same if len(run.points) else run.listed.id] = run
        self.runs = list(first.values())

    def _seed_column(self) -> str | None:
        column = self.request.seed
        if column is None:
            column = parameter_like([run.listed for run in self.runs], SEED)
            told = (
                f"seeds are those of {cut(column, 60)}"
                if column
                else "no seed column: the runs of a configuration are numbered from 0"
            )
            self.notes.append(f"{told} (--seed names another)")
        return column

    def _told_apart(self, seed: str | None) -> set[str]:
        """Parameters that are known to differ between runs."""
        named = {*self.request.group, *self.request.parameters().values(), seed or ""}
        return named | {key for key, _ in self.request.match}

    def _reasons(self) -> str:
        counted = Counter(self.left_out.values()).most_common(5)
        return "; ".join(f"{reason} ({count})" for reason, count in counted) or "there are none"


def _nothing() -> pd.DataFrame:
    return pd.DataFrame({"step": [0], "train_loss": 0.0, "val_metric": 0.0, "lr": 0.0})
