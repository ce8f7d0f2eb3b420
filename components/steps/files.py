"""What steps read and write: where it lies, and which files say that it is there.

A folder may hold runs of former settings; only those that the present settings ask for count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.lode.names import PLAN
from components.storage.workspace import Workspace, WorkspaceError

if TYPE_CHECKING:
    from components.runs.job import Job
    from components.settings import Settings
    from components.training.history import History

Place = Callable[[Workspace, str], Path]


@dataclass(frozen=True)
class Artifact:
    """A file or folder below the workspace.

    Attributes:
        place: of a workspace and a task. by: the step that makes it. kind: what DVC takes it for.
        counted: of a folder, the files that the present settings ask for; None: it is a file.
    """

    place: Place
    by: str
    kind: Literal["out", "metric", "plot"] = "out"
    counted: Callable[[Settings, Workspace], list[Path]] | None = None

    def check_there(self, task: str, workspace: Workspace) -> None:
        """For a step that reads it.

        Raises:
            WorkspaceError: nothing there; says which step makes it.
        """
        path = self.place(workspace, task)
        if not path.exists():
            same = ", with the same --set" if workspace.name else ""
            raise WorkspaceError(f"{path}: not there yet; run `lode {self.by}` first{same}")

    def files(self, settings: Settings, workspace: Workspace) -> list[Path]:
        """The files by whose presence and content a step is judged done.

        Raises:
            ValueError, OSError, RuntimeError: they cannot be told yet.
        """
        if self.counted is None:
            return [self.place(workspace, settings.task)]
        return self.counted(settings, workspace)


def _swept(settings: Settings, workspace: Workspace) -> list[Path]:
    return sorted(workspace.histories(settings.task).glob("*.parquet"))


def _asked(settings: Settings, workspace: Workspace) -> list[Path]:
    """What the sweep asks for; a race and TPE by what the runs before have answered.

    Raises:
        HistoryError, OSError: a run that it waits for is missing or damaged.
    """
    from components.runs.plan import sweep_plan

    if settings.own is not None and settings.own.imported:
        return _swept(settings, workspace)
    plan = sweep_plan(settings, workspace)
    if plan.sampler == "grid":
        return [job.path for job in plan.grid_jobs()]
    from components.sweep.study import run_sweep
    from components.training.history import read_history

    found: list[Path] = []

    def only_read(jobs: Iterable[Job], **options: Any) -> list[History]:
        paths = [job.path for job in jobs]
        found.extend(paths)
        return [read_history(path) for path in paths]

    run_sweep(plan, train=only_read)
    return found


def _piloted(settings: Settings, workspace: Workspace) -> list[Path]:
    """The fit needs every run that the summary names."""
    from components.steps.results import read_pilots
    from components.training.history import history_path

    folder = workspace.pilots(settings.task)
    found = read_pilots(workspace.pilot_summary(settings.task))
    return [history_path(folder, run_id) for run_id in found.run_ids]


def _fitted(settings: Settings, workspace: Workspace) -> list[Path]:
    from components.runs.scheduled import lode_files

    folder = workspace.lode(settings.task)
    return [*lode_files(folder, settings.lode.controller), folder / PLAN]


def _registered(settings: Settings, workspace: Workspace) -> list[Path]:
    """With the version's own files, where MLflow keeps them here: they may be gone, and of a
    workspace that was copied they are another's."""
    from components.steps.results import read_registration

    path = workspace.registration(settings.task)
    found = read_registration(path)
    if not settings.registry.tracking_uri.startswith("sqlite:"):
        return [path]
    files = sorted(one for one in Path(found.location).rglob("*") if one.is_file())
    if not files or not files[0].is_relative_to(workspace.artifacts):
        raise WorkspaceError(f"{path}: the files it names are not in {workspace.artifacts}")
    return [path, *files]


def _tuned(settings: Settings, workspace: Workspace) -> list[Path]:
    from components.runs.comparison import tuning_jobs
    from components.runs.law import read_law
    from components.schedulers.names import MULTI_POWER_LAW

    found = [job.path for job in tuning_jobs(settings, workspace)]
    if MULTI_POWER_LAW in settings.baselines.schedulers:
        read_law(settings.task, workspace)  # or it is not there for this sweep
        found.append(workspace.law(settings.task))
    return found


def _scheduled(settings: Settings, workspace: Workspace) -> list[Path]:
    from components.runs.comparison import comparison

    return [job.path for job in comparison(settings, workspace).jobs]


def _drawn(settings: Settings, workspace: Workspace) -> list[Path]:
    return sorted(workspace.figures(settings.task).glob("*.svg"))


def _taken(settings: Settings, workspace: Workspace) -> list[Path]:
    return sorted(workspace.downloads(settings.task).glob("*.*"))


def _documented(settings: Settings, workspace: Workspace) -> list[Path]:
    return [workspace.data_docs(settings.task) / "index.html"]


SWEEP = Artifact(Workspace.histories, "sweep", counted=_asked)
HISTORIES = Artifact(Workspace.histories, "sweep", counted=_swept)  # and whatever else lies there
VALIDATION = Artifact(Workspace.validation, "validate")
ACCEPTED = Artifact(Workspace.accepted, "validate")
DATA_DOCS = Artifact(Workspace.data_docs, "validate", counted=_documented)
PILOTS = Artifact(Workspace.pilots, "pilot", counted=_piloted)
PILOT_SUMMARY = Artifact(Workspace.pilot_summary, "pilot")
LODE = Artifact(Workspace.lode, "fit", counted=_fitted)
REGISTRATION = Artifact(Workspace.registration, "register", counted=_registered)
BASELINES = Artifact(Workspace.baselines, "baselines", counted=_tuned)
SCHEDULED = Artifact(Workspace.scheduled, "train", counted=_scheduled)
EVALUATION = Artifact(Workspace.evaluation, "evaluate")
METRICS = Artifact(Workspace.metrics, "evaluate", "metric")
RUN_TABLE = Artifact(Workspace.run_table, "evaluate")
PAGE = Artifact(Workspace.page, "evaluate")
FIGURES = Artifact(Workspace.figures, "evaluate", "plot", counted=_drawn)
DOWNLOADS = Artifact(Workspace.downloads, "evaluate", counted=_taken)
