"""The flows' parameters: what Prefect's form offers, and a run as a worker is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.runs.job import Job
from components.schedulers.names import LODE, SCHEDULERS
from components.storage.workspace import Workspace
from components.tasks.names import TASKS
from components.training.run import RunSpec

AS_IN_PARAMS: Final = "as in params.yaml"
# The form shows a choice with a default as a list to pick from; one that may be empty it hides
# behind a switch. Hence a word for "empty".
# A type checker wants every name written out; the form takes them from the tables of names.
if TYPE_CHECKING:
    Task = str
    Scheduler = str
else:
    Task = Literal[(AS_IN_PARAMS, *TASKS)]
    Scheduler = Literal[tuple(sorted(SCHEDULERS, key=lambda name: name != LODE))]


def _shown(position: int, title: str, description: str, **limits: Any) -> Any:
    """A field that may be empty. Without a position the form shows fields in any order."""
    return Field(
        None,
        title=title,
        description=description,
        json_schema_extra={"position": position},
        **limits,
    )


def _choice(position: int, title: str, description: str) -> Any:
    return Field(
        AS_IN_PARAMS,
        title=title,
        description=description,
        json_schema_extra={"position": position},
    )


class Changes(BaseModel):
    """What a flow run does differently from params.yaml; the rest stays as it is there."""

    model_config = ConfigDict(extra="forbid")

    execution: Literal["as in params.yaml", "local", "workers", "dask"] = _choice(
        0, "Where runs are trained", "workers: by the workers of the pool gpu."
    )
    controller: Literal["as in params.yaml", "default", "paper"] = _choice(
        1, "Controller", "paper: Algorithm 1 as printed."
    )
    updates: int | None = _shown(2, "Updates", "N, optimizer updates of one run.", ge=10)
    points: int | None = _shown(3, "Log points", "T, log points of one run; at most N.", ge=10)
    sweep_seeds: list[int] | None = _shown(
        4, "Sweep seeds", "Seeds of every configuration of the sweep."
    )
    fresh_seeds: list[int] | None = _shown(
        5, "Fresh seeds", "Seeds of the comparison; none of the sweep's."
    )
    pilots: int | None = _shown(
        6, "Pilot runs", "At most so many runs try proposed schedules.", ge=0
    )
    others: dict[str, Any] = Field(
        default_factory=dict,
        title="Any other setting",
        description='Dotted keys of params.yaml, e.g. {"sweep.peak_lrs": [0.01, 0.05]}.',
        json_schema_extra={"position": 7},
    )

    def overrides(self) -> dict[str, Any]:
        """As `components.settings.load` takes them."""
        named = {
            "execution.mode": self.execution,
            "lode.controller": self.controller,
            "training.updates": self.updates,
            "training.points": self.points,
            "sweep.seeds": self.sweep_seeds,
            "evaluation.seeds": self.fresh_seeds,
            "pilots.runs": self.pilots,
        }
        given = {k: v for k, v in named.items() if v is not None and v != AS_IN_PARAMS}
        return given | self.others


Promote = Annotated[
    bool,
    Field(
        title="Make it the champion, if it passes the gate",
        description="Compared with the champion on fresh seeds, as at night. Off: a candidate.",
    ),
]


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
        )
