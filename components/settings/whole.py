"""All of params.yaml, and what its sections must be to each other."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from components.lode.settings import PAPER
from components.schedulers.names import BASELINES, MULTI_POWER_LAW, NEED_GRADIENTS
from components.settings.own_tasks import OwnTaskSettings, check_name
from components.settings.section import Section, nearest
from components.settings.sections import (
    FEWEST_PILOTS,
    MOST_PILOTS,
    PILOTS_SHARE,
    BaselineSettings,
    EvaluationSettings,
    ExecutionSettings,
    FromMapping,
    LodeSettings,
    PilotSettings,
    RegistrySettings,
    RetrainingSettings,
    SweepSettings,
    TrainingSettings,
    ValidationSettings,
)
from components.storage.shown import shown
from components.tasks.names import TASKS

FINER_FAMILIES = 2  # schedulers of the sweep, the best, that a finer search goes into


class Settings(Section):
    """All of params.yaml."""

    task: str
    tasks: dict[str, OwnTaskSettings] = Field(default={})
    training: TrainingSettings = TrainingSettings()
    sweep: SweepSettings = SweepSettings()
    validation: ValidationSettings = ValidationSettings()
    pilots: PilotSettings = PilotSettings()
    baselines: BaselineSettings = BaselineSettings()
    lode: Annotated[LodeSettings, FromMapping()] = LodeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    execution: ExecutionSettings = ExecutionSettings()
    registry: RegistrySettings = RegistrySettings()

    @field_validator("execution", mode="before")
    @classmethod
    def _mode_alone(cls, value: Any) -> Any:
        """`execution: workers` is short for its mode."""
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("tasks")
    @classmethod
    def _named(cls, tasks: dict[str, OwnTaskSettings]) -> dict[str, OwnTaskSettings]:
        for name in tasks:
            check_name(name)
        return tasks

    @model_validator(mode="after")
    def _task_known(self) -> Settings:
        if self.task not in TASKS and self.task not in self.tasks:
            known = (*self.tasks, *TASKS)
            raise ValueError(f"task: unknown task {shown(self.task)}; {nearest(self.task, known)}")
        return self

    @property
    def own(self) -> OwnTaskSettings | None:
        """What `tasks` says of the task; None: it is of the catalog."""
        return self.tasks.get(self.task)

    @model_validator(mode="after")
    def _sections_agree(self) -> Settings:
        imported = self.own is not None and self.own.imported  # whose seeds are not the sweep's
        if self.lode.fit.held_out_seeds >= len(self.sweep.seeds) and not imported:
            raise ValueError(
                f"lode.fit.held_out_seeds = {self.lode.fit.held_out_seeds} leaves nothing of "
                f"sweep.seeds = {shown(self.sweep.seeds)} to fit; "
                f"at most {len(self.sweep.seeds) - 1}"
            )
        twice = sorted(set(self.sweep.schedulers) & set(self.baselines.schedulers))
        if twice:
            raise ValueError(
                f"baselines.schedulers: {', '.join(twice)} is in sweep.schedulers already, whose "
                "schedules are compared in any case"
            )
        self._can_be_run()
        never_falls = set(self.sweep.schedulers) == {"constant"}
        if MULTI_POWER_LAW in self.baselines.schedulers and never_falls:
            raise ValueError(
                f"baselines.schedulers: {MULTI_POWER_LAW} learns from the sweep what a falling "
                "rate gains, and sweep.schedulers has constant alone; add one that falls, such as "
                "cosine"
            )
        shared = sorted(set(self.sweep.seeds) & set(self.evaluation.seeds))
        if shared:
            raise ValueError(
                f"evaluation.seeds must be fresh, but {shown(shared)} are also in sweep.seeds"
            )
        return self

    def _can_be_run(self) -> None:
        """Nothing is asked of a task of the user's own that it cannot do."""
        own, asked = self.own, self.baselines.schedulers
        if own is None or own.python:
            return
        for name in asked if own.imported else ():
            raise ValueError(
                f"baselines.schedulers: {name} cannot be trained, as {self.task} has histories only"
            )
        inside = sorted(set(asked) & set(NEED_GRADIENTS))
        if inside:
            raise ValueError(
                f"baselines.schedulers: {', '.join(inside)} works inside the training loop, and "
                f"{self.task} is a command; a command is told its rates, so take of "
                f"{', '.join(sorted(set(BASELINES) - set(NEED_GRADIENTS)))}"
            )

    @property
    def sweep_runs(self) -> int:
        """How many runs the sweep has."""
        return self.sweep.runs

    @property
    def pilot_runs(self) -> int:
        """How many pilots at most; 0: none. A tiny sweep, as of a test, asks for none; beside one
        whose share is too little for a trial they are as few as tell anything."""
        if self.lode.controller == PAPER or (self.own and self.own.imported):
            return 0
        if self.pilots.runs is not None:
            return self.pilots.runs
        tiny = self.sweep_runs < FEWEST_PILOTS
        return 0 if tiny else max(FEWEST_PILOTS, self._share)

    @property
    def finer_runs(self) -> int:
        """How many runs a finer search has at most: as many as the pilots; without pilots as many
        as they would be; at least every sweep seed at a new peak of each of its schedulers."""
        return max(self.pilot_runs or self._share, FINER_FAMILIES * len(self.sweep.seeds))

    @property
    def _share(self) -> int:
        return max(self.sweep_runs // PILOTS_SHARE, min(self.sweep.saved, MOST_PILOTS))

    def digest(self) -> str:
        """SHA-256 (hex) of all settings; equal for equal settings, whatever the file's layout."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
