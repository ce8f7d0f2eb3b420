"""What a step is. Each is stated once, in `pipeline.py`; what lists, runs or checks them reads it.

Light: the command line and `make help` read the steps before anything heavy is imported. A step's
functions lie in the module of its name, `components/steps/<name>.py`, imported when it is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from components.steps.declared import declared
from components.steps.files import Artifact
from components.storage.workspace import WorkspaceError

if TYPE_CHECKING:
    from components.runs.job import RunAll
    from components.settings import Settings
    from components.storage.workspace import Workspace

MINUTE, HOUR = 60, 3600
# Deployments of prefect.yaml whose workers train.
SWEEP_SHARD: Final = "sweep-shard/sweep-on-gpu"
SCHEDULED_TRAINING: Final = "scheduled-training/scheduled-on-gpu"


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        step: its name. ran: False if the finished output was found.
        summary: one line for people. seconds: wall time.
        trained: how many networks. why: what made it run again, where it had run before.
    """

    step: str
    ran: bool
    summary: str
    seconds: float = 0.0
    trained: int = 0
    why: str = ""

    @property
    def timing(self) -> str:
        """`12.3 s`, `12.3 s, again: lode.fit.updates has changed`, `up to date`."""
        if not self.ran:
            return "up to date"
        return f"{self.seconds:.1f} s" + (f", again: {self.why}" if self.why else "")


@dataclass(frozen=True)
class Trained:
    """What a step's training came to: `runs` asked for, `diverged` and `missing` (trained) ones."""

    runs: int
    diverged: int
    missing: int

    def __str__(self) -> str:
        return f"{self.runs} runs, {self.diverged} diverged, {self.runs - self.missing} found"


@dataclass(frozen=True)
class Step:
    """One step of the pipeline: settings and a workspace in, files out.

    Calling it does the work unless its finished output is there and still belongs to what it was
    made from (`components/steps/stamps.py`).

    Attributes:
        name: also of its module, command, Prefect task and DVC stage. help: one sentence.
        settings: dotted keys of params.yaml that its output depends on. It is given no others.
        reads, writes: files and folders.
        stamped: False for a step that only trains: a run's name is a digest of what determines it,
            so the files themselves say what is missing.
        size: how much there is to do, for a title: `100 runs`.
        trains_by: the deployment whose workers train for it where params.yaml says so.
        limit: seconds after which it hangs. retries: how often it is tried again.
        compares: it is of the comparison on fresh seeds, which imported histories do not have.
    """

    name: str
    help: str
    settings: tuple[str, ...]
    reads: tuple[Artifact, ...]
    writes: tuple[Artifact, ...]
    stamped: bool = True
    size: Callable[[Settings], str] = lambda settings: ""
    trains_by: str | None = None
    limit: float = 1 * HOUR
    retries: int = 0
    compares: bool = False

    @property
    def module(self) -> str:
        return f"components.steps.{self.name}"

    def title(self, settings: Settings) -> str:
        """`sweep mnist1d-cnn · 100 runs`."""
        size = self.size(settings)
        return f"{self.name} {settings.task}" + (f" · {size}" if size else "")

    def part(self, settings: Settings) -> Settings:
        """The settings that it has declared; reading any other is an error."""
        return declared(settings, self.settings, f"step {self.name}")

    def __call__(
        self, settings: Settings, workspace: Workspace, run_all: RunAll | None = None
    ) -> StepResult:
        """Do what is not done.

        Args:
            run_all: who trains; None: processes of this machine.

        Raises:
            WorkspaceError: what it reads is not there yet, or was made with other settings; says
                which step to run.
        """
        from components.steps import stamps

        started, part = time.perf_counter(), self.part(settings)
        if self.compares and settings.own is not None and settings.own.imported:
            raise WorkspaceError(
                f"{settings.task} has histories only, so nothing can be trained; lode {self.name} "
                "is of tasks with a command"
            )
        self.check_reads(settings, workspace)
        if not self.stamped:
            workspace.check_writable()
            found: Trained = self._work(part, workspace, run_all)
            seconds = time.perf_counter() - started
            return StepResult(self.name, found.missing > 0, str(found), seconds, found.missing)
        why = stamps.why_stale(self, settings, workspace)
        if why is not None:
            workspace.check_writable()
            self._work(part, workspace, run_all)
            stamps.write_stamp(self, settings, workspace)
        summary = self.function("summary")(part, workspace)
        seconds = time.perf_counter() - started
        return StepResult(self.name, why is not None, summary, seconds, why=why or "")

    def check_reads(self, settings: Settings, workspace: Workspace) -> None:
        """Raises WorkspaceError as `__call__` does; writes nothing."""
        from components.steps import stamps

        for artifact in self.reads:
            artifact.check_there(settings.task, workspace)
            stamps.check_settings_of(artifact.by, settings, workspace)

    def is_current(self, settings: Settings, workspace: Workspace) -> bool:
        """Whether it would find its finished output."""
        from components.steps import stamps

        if self.stamped:
            return stamps.why_stale(self, settings, workspace) is None
        try:
            files = [path for one in self.writes for path in one.files(settings, workspace)]
        except (ValueError, OSError, RuntimeError):  # what comes before is not there yet
            return False
        return all(path.exists() for path in files)

    def _work(self, part: Settings, workspace: Workspace, run_all: RunAll | None) -> Any:
        trains = [run_all] if self.trains_by else []
        return self.function("work")(part, workspace, *trains)

    def function(self, name: str) -> Any:
        """`work(settings, workspace)` of its module, with who trains as a third argument if it does
        train; or `summary(settings, workspace)`, one line on the finished output."""
        return getattr(import_module(self.module), name)
