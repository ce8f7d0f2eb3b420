"""Ask and tell: the pipeline for clusters that start runs in their own way.

`ask` goes through the steps until one needs runs that are not there, and writes what those are to
be; whoever trains them hands the logs back by `tell`. Nothing else is kept: what is asked next
follows from the histories on disk, so asking twice gives the same runs, and nothing is lost with a
process that is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.evaluation.notation import duration
from components.runs.contract import (
    Files,
    history_of,
    rates_of,
    read_decisions,
    read_log,
    write_request,
)
from components.runs.job import Job
from components.runs.lending import KINDS
from components.runs.plan import note
from components.settings import Settings
from components.steps.pipeline import steps_of
from components.steps.trials import opened
from components.storage.lock import only_one
from components.storage.workspace import Workspace
from components.training.facts import is_run_id
from components.training.history import History, read_history, write_history
from components.training.resampled import LogError


class StudyError(ValueError):
    """A study that cannot be, or files that tell nothing; the message says what to do."""


class _WaitingError(Exception):
    """Runs that a step needs and nobody has done."""

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(f"{len(jobs)} runs")
        self.jobs = jobs


@dataclass
class Told:
    """What came of files that were handed back.

    Attributes:
        taken: a line for every run whose history is there now.
        refused: files, or names of runs, and why they were left out.
    """

    taken: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """Where a study is.

    Attributes:
        step: that waits for runs; empty: all is done.
        waiting: how many it waits for. left: of the whole study, at most.
        done: histories that are there. seconds: that one of them took on average, None: unknown.
    """

    step: str
    waiting: int
    left: int
    done: int
    seconds: float | None

    def __str__(self) -> str:
        if not self.step:
            return f"done: {self.done} runs; `lode table` shows the result"
        cost = ""
        if self.seconds is not None:
            cost = f", about {duration(self.seconds * self.left)} of training one after the other"
        at = f"waits for {self.waiting} runs" if self.waiting else "is done by the next `lode ask`"
        return f"{self.step} {at}; {self.done} runs are there, at most {self.left} left{cost}"


class Study:
    """One task's way through the pipeline, its runs being done elsewhere.

    Args:
        settings, workspace: as of any step; the task is a command, whose line and folder nobody
            uses here.

    Raises:
        StudyError: the task is no command.
    """

    def __init__(self, settings: Settings, workspace: Workspace) -> None:
        own = settings.own
        if own is None or own.command is None or own.metric is None:
            raise StudyError(
                f"{settings.task} is no task whose runs can be handed out: give it a command in "
                "params.yaml's section tasks"
            )
        self.settings, self.workspace = settings, workspace
        self._metric = own.metric.plain()

    @classmethod
    def of(cls, params: str | Path) -> Study:
        """The study that a settings file describes; its folder is the workspace.

        Raises:
            SettingsError, StudyError
        """
        return cls(*opened(Path(params), {}))

    def ask(self, count: int = 1, out: Path | None = None) -> list[Path]:
        """The next runs to be done, at most `count`: a JSON file for each, `<run_id>.json`.

        Steps that need no training are done on the way: pilots are proposed, the LODE is fitted.
        Empty: there is nothing more to do.

        Args:
            out: folder; None: `.lode/asked/<task>`.
        """
        folder = self.folder if out is None else Path(out)
        with only_one(self.workspace):
            jobs = self._missing()[1]
            written = []
            for job in jobs[:count]:
                files = Files.of(folder, job.spec.run_id)
                write_request(job, self._metric, files)
                written.append(files.request)
        return written

    def tell(self, files: Iterable[Path]) -> Told:
        """Take back what runs have logged.

        Args:
            files: the JSON files that were asked for, the logs beside them (`<run_id>.csv`, CSV or
                JSON lines), or folders of such. A run without a log has not begun; it is left out.

        Returns:
            What was taken, and what was refused and why; a refused file spoils no other.
        """
        told, found = Told(), dict[str, Path]()
        for path in map(Path, files):
            for one in _logs(path, told):
                found.setdefault(one.stem, one)
        with only_one(self.workspace):
            asked = {job.spec.run_id: job for job in self._missing()[1]} if found else {}
            for run_id, log in found.items():
                self._take(run_id, log, asked, told)
        return told

    def status(self) -> Standing:
        """Where the study is, and what it will still take; nothing is computed for it, but the law
        of the baseline `multi-power-law` once (seconds)."""
        step, waiting = self._reached()
        done = list(self._done())
        took = [float(h.points["elapsed_s"].iloc[-1]) for h in done if len(h.points)]
        mean = sum(took) / len(took) if took and any(took) else None
        return Standing(step, waiting, self._left(step, waiting), len(done), mean)

    def _reached(self) -> tuple[str, int]:
        """The step that is not done, and how many runs it waits for, at most."""
        settings, workspace = self.settings, self.workspace
        for step in steps_of(settings):
            if step.is_current(settings, workspace):
                continue
            if step.name == "pilot":  # which runs follow is for the next `ask` to find out
                there = len(list(workspace.pilots(settings.task).glob("*.parquet")))
                return step.name, max(settings.pilot_runs - there, 0)
            if not step.trains_by:
                return step.name, 0
            try:
                step(settings, workspace, _only_read)
            except _WaitingError as waiting:
                return step.name, len(waiting.jobs)
        return "", 0

    @property
    def folder(self) -> Path:
        return self.workspace.state / "asked" / self.settings.task

    def _missing(self) -> tuple[str, list[Job]]:
        """The step that waits, and for which runs."""
        for step in steps_of(self.settings):
            try:
                step(self.settings, self.workspace, _only_read)
            except _WaitingError as waiting:
                return step.name, waiting.jobs
        return "", []

    def _take(self, run_id: str, log: Path, asked: dict[str, Job], told: Told) -> None:
        job = asked.get(run_id)
        if job is None:
            known = any(self._path(kind, run_id).exists() for kind in KINDS)
            told.refused[log.name] = (
                "was told before, its history is there"
                if known
                else "nobody asks for this run: other settings, or another task?"
            )
            return
        beside = Files.of(log.parent, run_id)
        facts: dict[str, Any] = {"seconds": 0.0, "decisions": read_decisions(beside.decisions)}
        try:
            history = history_of(job, self._metric, read_log(log), rates_of(job), facts)
            write_history(history, job.histories)
        except (LogError, ValueError) as error:
            told.refused[log.name] = f"{job.spec.describe()}: {error}"
            return
        told.taken.append(note(history))

    def _path(self, kind: str, run_id: str) -> Path:
        folder: Path = getattr(self.workspace, kind)(self.settings.task)
        return folder / f"{run_id}.parquet"

    def _done(self) -> Iterable[History]:
        for kind in KINDS:
            folder: Path = getattr(self.workspace, kind)(self.settings.task)
            yield from (read_history(path) for path in sorted(folder.glob("*.parquet")))

    def _left(self, step: str, waiting: int) -> int:
        """With the steps that follow, each at its most."""
        settings = self.settings
        rows = len(settings.sweep.schedulers) + len(settings.baselines.schedulers) + 1
        most = {
            "sweep": settings.sweep_runs,
            "pilot": settings.pilot_runs,
            "baselines": len(settings.baselines.schedulers) * settings.sweep_runs,
            "train": rows * len(settings.evaluation.seeds),
        }
        names = [one.name for one in steps_of(settings)]
        after = names[names.index(step) + 1 :] if step in names else []
        return waiting + sum(most.get(name, 0) for name in after)


def _only_read(
    jobs: Iterable[Job],
    *,
    workers: int | None = None,
    on_history: Callable[[Job, History], None] = lambda job, history: None,
) -> list[History]:
    """Who trains, where nobody does: the histories if all are there."""
    jobs = list(jobs)
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        raise _WaitingError(missing)
    return [read_history(job.path) for job in jobs]


def _logs(path: Path, told: Told) -> list[Path]:
    """The logs that a file or folder stands for; what is none is refused."""
    if path.is_dir():
        inside = [one for one in sorted(path.glob("*.csv")) if is_run_id(one.stem)]
        waiting = [one for one in sorted(path.glob("*.json")) if is_run_id(one.stem)]
        for one in waiting:
            if not one.with_suffix(".csv").exists():
                told.refused[one.name] = "has no log yet"
        return inside
    log = path.with_suffix(".csv")
    if not is_run_id(path.stem):
        told.refused[path.name] = "is not named after a run: <run_id>.json or <run_id>.csv"
    elif not log.exists():
        told.refused[path.name] = "has no log yet" if path.exists() else "is not there"
    else:
        return [log]
    return []
