"""The flows' parameters: what Prefect's form offers, and a run as a worker is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from components.lode.settings import RATES
from components.runs.job import Job
from components.schedulers.names import LODE, SCHEDULERS
from components.settings import FEWEST_PILOTS
from components.storage.workspace import Workspace
from components.tasks.names import TASKS
from components.tasks.own import Command, PythonTask
from components.training.run import RunSpec

AS_IN_PARAMS: Final = "as in params.yaml"
# The form shows a choice with a default as a list to pick from; one that may be empty it hides
# behind a switch. Hence a word for "empty".
# Of the catalog; those of params.yaml's own `flows/form.py` adds. The settings refuse any other.
Task = Annotated[str, Field(json_schema_extra={"enum": [AS_IN_PARAMS, *TASKS]})]
# A type checker wants every name written out; the form takes them from the tables of names.
if TYPE_CHECKING:
    Scheduler = str
else:
    Scheduler = Literal[tuple(sorted(SCHEDULERS, key=lambda name: name != LODE))]


def _field(position: int, key: str, title: str, description: str, empty: Any = None) -> Any:
    """A field for the setting `key`. Without a position the form shows fields in any order; its
    limits, and what params.yaml has, `flows/form.py` adds when the form is deployed."""
    return Field(
        empty,
        title=title,
        description=description,
        json_schema_extra={"position": position, "key": key},
    )


class Changes(BaseModel):
    """What a flow run does differently from params.yaml; the rest stays as it is there."""

    model_config = ConfigDict(extra="forbid")

    execution: Literal["as in params.yaml", "local", "workers", "dask"] = _field(
        0,
        "execution.mode",
        "Where runs are trained",
        "workers: by the workers of the pool gpu.",
        AS_IN_PARAMS,
    )
    controller: Literal["as in params.yaml", "default", "paper"] = _field(
        1, "lode.controller", "Controller", "paper: Algorithm 1 as printed.", AS_IN_PARAMS
    )
    updates: int | None = _field(
        2, "training.updates", "Updates", "N, optimizer updates of one run."
    )
    points: int | None = _field(
        3, "training.points", "Log points", "T, log points of one run; not more than updates."
    )
    peak_lrs: list[float] | None = _field(
        4, "sweep.peak_lrs", "Peak learning rates", "Of every schedule of the sweep."
    )
    sweep_seeds: list[int] | None = _field(
        5, "sweep.seeds", "Sweep seeds", "Of every configuration of the sweep."
    )
    fresh_seeds: list[int] | None = _field(
        6, "evaluation.seeds", "Fresh seeds", "Of the comparison; none of the sweep's."
    )
    pilots: int | None = _field(
        7,
        "pilots.runs",
        "Pilot runs",
        f"So many runs at most try proposed schedules: 0, or {FEWEST_PILOTS} and more. Where "
        "params.yaml says nothing: what a race saved of the grid, or a quarter of the sweep.",
    )
    others: dict[str, Any] = Field(
        default_factory=dict,
        title="Any other setting",
        description='Dotted keys of params.yaml, e.g. {"lode.fit.updates": 8000}.',
        json_schema_extra={"position": 8},
    )

    def overrides(self) -> dict[str, Any]:
        """As `components.settings.load` takes them."""
        named = {key: getattr(self, name) for name, key in KEYS.items()}
        given = {k: v for k, v in named.items() if v is not None and v != AS_IN_PARAMS}
        return given | self.others


def _key(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("key", "")) if isinstance(extra, dict) else ""


# The setting of each field of the form that has one.
KEYS: Final = {name: _key(f) for name, f in Changes.model_fields.items() if _key(f)}


# Prefect names a parameter after its argument; these titles `flows/form.py` puts there instead.
Promote = Annotated[bool, Field(title="Make it the champion, if it passes the gate")]
SettingsFile = Annotated[Path, Field(title="Settings file")]
PeakRate = Annotated[Annotated[float, RATES] | None, Field(title="Peak learning rate")]


class RunRequest(BaseModel):
    """A job as a worker on another machine gets it: paths are relative to the workspace."""

    spec: RunSpec
    histories: str
    data: str
    device: str
    lode: str | None = None
    policy: str | None = None
    controller: dict[str, Any] = {}
    plan: list[float] = []
    sharpness: dict[str, Any] | None = None
    own: Command | PythonTask | None = None

    @classmethod
    def of(cls, job: Job, workspace: Workspace) -> RunRequest:
        root = workspace.main.root

        def relative(path: Path) -> str:
            return path.resolve().relative_to(root.resolve()).as_posix()

        return cls(
            spec=job.spec,
            histories=relative(job.histories),
            data=str(job.data.relative_to(root)),  # may be a link to elsewhere
            device=job.device,
            lode=relative(job.lode) if job.lode else None,
            policy=relative(job.policy) if job.policy else None,
            controller=job.controller,
            plan=list(job.plan),
            sharpness=job.sharpness,
            own=replace(job.own, root="") if job.own else None,
        )

    def job(self, workspace: Workspace) -> Job:
        """The job in this machine's workspace; its run has the same name."""
        return Job(
            spec=self.spec,
            histories=workspace.root / self.histories,
            data=workspace.root / self.data,
            device=self.device,
            lode=workspace.root / self.lode if self.lode else None,
            policy=workspace.root / self.policy if self.policy else None,
            controller=self.controller,
            plan=tuple(self.plan),
            sharpness=self.sharpness,
            own=replace(self.own, root=str(workspace.main.root)) if self.own else None,
        )
