"""Every setting of the pipeline, typed and checked before any work.

`load("params.yaml")` returns a frozen `Settings`; a missing file, an unknown key, a wrong type or
an impossible value raises `SettingsError`, whose message names the key, the value and what would
be valid.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from components.lode.settings import (
    DEFAULT,
    PAPER,
    POINTS,
    RATES,
    SEEDS,
    Architecture,
    Controller,
    ControllerSettings,
    FitSettings,
    JudgeSettings,
    OutOfRangeError,
    Range,
)
from components.schedulers.names import (
    BASELINES,
    FINER_SEARCH,
    PAPER_SCHEDULERS,
    PARAMETRIC_SCHEDULERS,
)
from components.storage.addresses import AddressError, check_registry, check_store
from components.storage.shown import cut, shown
from components.storage.strict_yaml import LARGEST, YamlError, read_yaml
from components.tasks.names import TASKS

FINER_FAMILIES = 2  # schedulers of the sweep, the best, that a finer search goes into
FEWEST_PILOTS = 20  # below it the shares of components/pilots/campaign.py leave too little of each
MOST_RUNS = 10_000  # of a sweep: each is a file, and the fit holds all of them
MOST_SEEDS = 1_000
MOST_FAULTS = 10  # named in one message

Seeds = list[Annotated[int, SEEDS]]
_Runs = Range(0, MOST_RUNS, "each is a training and a file")
_Samples = Range(1, 10**9, "no data set of the catalog has more")
_Losses = Range(1e-12, 1e38, "float32 has no larger losses")
_OF_ONE_VALUE = (AddressError, OutOfRangeError)  # and so shown beside it
_Workers = Range(1, 1024, "each is a process with torch and the data")


class SettingsError(ValueError):
    """params.yaml cannot be used; the message says which key, which value and what is valid."""


class _Section(BaseModel):
    # strict: "5" is not 5 and true is not 1, whatever pydantic would make of them
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _nearest(name: str, valid: tuple[str, ...]) -> str:
    name = cut(name, 60)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(valid)}"


def _distinct(values: list[Any], what: str) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} must be distinct")
    return values


class TrainingSettings(_Section):
    """One run: `updates` (N) optimizer updates, `points` (T) log points, evenly spread.

    Choose `points` so that a run's shape is visible (the paper logs 600, 100 is enough for short
    runs); `updates` must be at least `points`.
    """

    updates: Annotated[int, Range(10, 10**8, "at a thousand a second, more take days")] = 1000
    points: Annotated[int, POINTS] = 100
    train_samples: Annotated[int, _Samples] | None = None
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?)$")

    @model_validator(mode="after")
    def _points_fit(self) -> TrainingSettings:
        if self.points > self.updates:
            raise ValueError(
                f"points ({self.points}) must not exceed updates ({self.updates}): "
                "there is at most one log point per update"
            )
        return self


class SweepSettings(_Section):
    """The runs the LODE learns from: schedulers × peak lrs × seeds (section 5.4, Table 4).

    `schedulers`: the paper's four; `linear` and `warmup-stable-decay` may be added. `seeds`: five
    were enough to find better plans; a LODE that is to foretell other runs as well as the paper's
    Table A1 needs fifteen to thirty (docs/results/table-a1.md).
    """

    sampler: Literal["grid", "tpe"] = "grid"
    schedulers: list[str] = Field(default=list(PAPER_SCHEDULERS), min_length=1)
    peak_lrs: list[Annotated[float, RATES]] = Field(
        default=[1e-3, 5e-3, 1e-2, 5e-2, 1e-1], min_length=1, max_length=100
    )
    seeds: Seeds = Field(default=[0, 1, 2, 3, 4], min_length=1, max_length=MOST_SEEDS)
    trials: Annotated[int, Range(1, MOST_RUNS, "each is a configuration to train")] = 20
    workers: Annotated[int, _Workers] | None = None

    @field_validator("schedulers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in PARAMETRIC_SCHEDULERS:
                raise ValueError(
                    f"unknown scheduler {shown(name)}; {_nearest(name, PARAMETRIC_SCHEDULERS)}"
                )
        return _distinct(names, "schedulers")

    @field_validator("peak_lrs", "seeds")
    @classmethod
    def _no_duplicates(cls, values: list[Any], info: ValidationInfo) -> list[Any]:
        return _distinct(values, str(info.field_name))

    @property
    def runs(self) -> int:
        """How many runs it has."""
        grid = len(self.schedulers) * len(self.peak_lrs)
        return (grid if self.sampler == "grid" else self.trials) * len(self.seeds)

    @model_validator(mode="after")
    def _can_be_done(self) -> SweepSettings:
        if self.runs > MOST_RUNS:
            raise ValueError(
                f"configurations times seeds are {self.runs} runs, more than {MOST_RUNS}: each "
                "is a training and a file"
            )
        return self


class ValidationSettings(_Section):
    """What a history must satisfy to teach the LODE.

    `max_train_loss`: far above the loss of an untrained network (ln 10 = 2.3 for ten classes);
    null: 100 and none below 0 where the metric is a share, as of a classifier, else any number.
    `max_quarantined`: the share of bad runs, in [0, 1], above which the pipeline stops.
    """

    max_train_loss: Annotated[float, _Losses] | None = None
    max_quarantined: Annotated[float, Range(0, 1, "a share")] = 0.2


class PilotSettings(_Section):
    """Runs that try proposed schedules before the LODE is fitted (`components/pilots/campaign.py`).

    `runs`: how many at most; null: as many as the sweep has, which doubles the price and is where
    the default controller's gain comes from; 0: none, and it starts from the sweep's best schedule.
    The controller `paper` has none in any case.
    """

    runs: Annotated[int, _Runs] | None = None

    @field_validator("runs")
    @classmethod
    def _enough(cls, runs: int | None) -> int | None:
        if runs is not None and 0 < runs < FEWEST_PILOTS:
            raise ValueError(f"fewer than {FEWEST_PILOTS} runs tell nothing; 0 turns pilots off")
        return runs


class BaselineSettings(_Section):
    """What the LODE is compared with beyond the sweep's schedules.

    `schedulers`: each is tuned on the sweep's peak lrs and seeds, which costs as many runs as one
    schedule of the sweep (`rl-controller` and `gns` learn a policy before, `pbt` trains a
    population instead, `finer-search` takes as many as the pilots); docs/guides/schedulers.md says
    what each is and costs. Empty: none.
    """

    schedulers: list[str] = []

    @field_validator("schedulers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in BASELINES:
                raise ValueError(f"unknown baseline {shown(name)}; {_nearest(name, BASELINES)}")
        return _distinct(names, "schedulers")


class _FromMapping:
    """Lets pydantic make a dataclass from a section of a file, which strict mode takes for a wrong
    type; its fields stay as strict as they are."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        handler.resolve_ref_schema(schema)["strict"] = False  # type: ignore[index]
        return schema


@dataclass(frozen=True, kw_only=True)
class LodeSettings(Architecture):
    """Controller, architecture and solver; the fits and the decisions in sections of their own.

    `controller`: `default` begins with a plan found by pilots and leaves it only for a gain that
    its judge can be believed; `paper` is Algorithm 1 as printed, fitted on the sweep alone.
    How to choose the others says `components/lode/settings.py`.
    """

    controller: Controller = DEFAULT
    fit: Annotated[FitSettings, _FromMapping()] = FitSettings()
    judge: Annotated[JudgeSettings, _FromMapping()] = JudgeSettings()
    scheduler: Annotated[ControllerSettings, _FromMapping()] = ControllerSettings()

    @property
    def architecture(self) -> Architecture:
        """What the LODE is built with, apart from what it is fitted and asked with."""
        return Architecture(**{f.name: getattr(self, f.name) for f in fields(Architecture)})


class EvaluationSettings(_Section):
    """The comparison: fresh seeds (never the sweep's), sharpness λ_max at the end of each run."""

    seeds: Seeds = Field(default=list(range(100, 110)), min_length=2, max_length=MOST_SEEDS)
    sharpness: Literal["lanczos", "power", "none"] = "lanczos"
    sharpness_samples: Annotated[int, _Samples] = 1024

    @field_validator("seeds")
    @classmethod
    def _no_duplicates(cls, seeds: list[int]) -> list[int]:
        return _distinct(seeds, "seeds")


class ExecutionSettings(_Section):
    """Where runs are trained; it changes how fast results come, not what they are.

    `mode`: `local`, processes of this machine; `workers`, Prefect's work pool `gpu`, which takes
    `make deploy` and a worker on every machine; `dask`, a Dask cluster (`pip install
    lode-pipeline[dask]`). `runs_per_shard`: how many runs one worker is handed at a time, so that
    its start (some 10 s) is shared; what a killed worker had finished of them stays.
    `dask_address`: of the scheduler; null starts a cluster on this machine. `store`: an fsspec URL,
    e.g. `s3://bucket/lode` or `file:///mnt/share`, or an absolute path, through which histories and
    LODEs travel where workers do not see the workspace's folder; null: they do.
    """

    mode: Literal["local", "workers", "dask"] = "local"
    runs_per_shard: Annotated[int, Range(1, MOST_RUNS, "no sweep has more")] = 5
    dask_address: str | None = Field(None, min_length=1, max_length=500)
    store: str | None = Field(None, pattern=r"^[^\x00-\x1f]{1,500}$")

    @field_validator("store")
    @classmethod
    def _can_be_found_again(cls, store: str | None) -> str | None:
        if store is not None:
            check_store(store)
        return store


class RegistrySettings(_Section):
    """`tracking_uri`: an MLflow database (`sqlite:///…`, `postgresql://…`) or server (`http…`)."""

    tracking_uri: str = Field("sqlite:///mlflow.db", pattern=r"^[^\x00-\x1f]{1,1000}$")

    @field_validator("tracking_uri")
    @classmethod
    def _lasts(cls, uri: str) -> str:
        check_registry(uri)
        return uri


class RetrainingSettings(_Section):
    """When the nightly challenger replaces the champion (`docs/guides/retraining.md`).

    `seeds`: fresh seeds on which both are compared, every night others; 10 tell differences of
    half a point apart on the small tasks. More cost two runs each and refuse less by chance.
    `max_error`: largest relative MSE on held-out histories, mean over the three channels; 1 is what
    predicting the mean reaches, a good fit has 0.05 to 0.1. Above it no LODE is promoted at all.
    `tolerance`: a mean test metric lower than the champion's by more than this is refused, even
    where the seeds are too few to call it significant; it also bounds what one night may lose.
    `better_in`: where the challenger must be better, being no worse than noise in the other.
    `reconstruction` compares hundreds of values; `test_metric` only as many as there are seeds, and
    ties exactly where both follow the same plan, but it never lets the metric drift down.
    """

    seeds: Annotated[int, Range(2, MOST_SEEDS, "each costs two runs; one tells no chance")] = 10
    max_error: Annotated[float, Range(1e-12, 1e12, "predicting the mean reaches 1")] = 0.5
    tolerance: Annotated[float, Range(0, 1e12, "a difference of test metrics")] = 0.01
    better_in: Literal["reconstruction", "test_metric"] = "reconstruction"


class Settings(_Section):
    """All of params.yaml."""

    task: str
    training: TrainingSettings = TrainingSettings()
    sweep: SweepSettings = SweepSettings()
    validation: ValidationSettings = ValidationSettings()
    pilots: PilotSettings = PilotSettings()
    baselines: BaselineSettings = BaselineSettings()
    lode: Annotated[LodeSettings, _FromMapping()] = LodeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    execution: ExecutionSettings = ExecutionSettings()
    registry: RegistrySettings = RegistrySettings()

    @field_validator("execution", mode="before")
    @classmethod
    def _mode_alone(cls, value: Any) -> Any:
        """`execution: workers` is short for its mode."""
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("task")
    @classmethod
    def _task_known(cls, name: str) -> str:
        if name not in TASKS:
            raise ValueError(f"unknown task {shown(name)}; {_nearest(name, TASKS)}")
        return name

    @model_validator(mode="after")
    def _sections_agree(self) -> Settings:
        points, controller = self.training.points, self.lode.scheduler
        if controller.mu > points:
            raise ValueError(
                f"lode.scheduler.mu = {controller.mu} must not exceed training.points = {points}"
            )
        if controller.horizon is not None and controller.horizon > points:
            raise ValueError(
                f"lode.scheduler.horizon = {controller.horizon} must not exceed "
                f"training.points = {points}"
            )
        if self.lode.fit.held_out_seeds >= len(self.sweep.seeds):
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
        fewest = FINER_FAMILIES * len(self.sweep.seeds)
        if FINER_SEARCH in self.baselines.schedulers and self.pilot_runs < fewest:
            raise ValueError(
                f"baselines.schedulers: {FINER_SEARCH} takes as many runs as the pilots, of which "
                f"there are {self.pilot_runs or 'none'} (pilots.runs is too small, the sweep is "
                f"tiny, or the controller is paper); at least {fewest} are needed, every sweep "
                f"seed at a new peak of {FINER_FAMILIES} schedulers"
            )
        shared = sorted(set(self.sweep.seeds) & set(self.evaluation.seeds))
        if shared:
            raise ValueError(
                f"evaluation.seeds must be fresh, but {shown(shared)} are also in sweep.seeds"
            )
        return self

    @property
    def sweep_runs(self) -> int:
        """How many runs the sweep has."""
        return self.sweep.runs

    @property
    def pilot_runs(self) -> int:
        """How many pilots at most; 0: none. A tiny sweep, as of a test, asks for none."""
        if self.lode.controller == PAPER:
            return 0
        runs = self.sweep_runs if self.pilots.runs is None else self.pilots.runs
        return runs if runs >= FEWEST_PILOTS else 0

    def digest(self) -> str:
        """SHA-256 (hex) of all settings; equal for equal settings, whatever the file's layout."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path | str = "params.yaml", overrides: dict[str, Any] | None = None) -> Settings:
    """Read and check a settings file.

    Args:
        path: a YAML file as `params.yaml`.
        overrides: dotted keys that replace the file's values, e.g. `{"sweep.seeds": [0, 1]}`.

    Raises:
        SettingsError: file missing, not YAML, empty; key unknown, value of a wrong type or
            impossible.
    """
    path = Path(path)
    raw = _read(path)
    name = cut(str(path), 300)
    if not isinstance(raw, dict):
        raise SettingsError(f"{name}: empty or not a mapping; at least `task: …` must be there")
    for key, value in (overrides or {}).items():
        _override(raw, key, value)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        faults = [_explain(e) for e in error.errors()]
        if len(faults) > MOST_FAULTS:
            faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} faults more"]
        raise SettingsError(f"{name}: " + "\n  ".join(faults)) from None


def _read(path: Path) -> Any:
    name = cut(str(path), 300)
    try:
        with path.open(encoding="utf-8") as file:
            return read_yaml(file.read(LARGEST + 1), name)  # /dev/zero has no end
    except FileNotFoundError:
        raise SettingsError(
            f"{name}: no such file; run in the repository's root or name one with --params"
        ) from None
    except OSError as error:
        raise SettingsError(f"{name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: not UTF-8 text, at byte {error.start}") from None
    except YamlError as error:
        raise SettingsError(str(error)) from None
    except ValueError as error:  # a null character in its name
        raise SettingsError(f"{name!r}: not a file's name ({error})") from None


def _override(raw: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise SettingsError(f"{cut(dotted)}: {cut(section, 60)} is a value, not a section")
    raw[key] = value


def _explain(error: Any) -> str:
    where = cut(".".join(str(part) for part in error["loc"]))
    value = error["input"]
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        valid = _keys_at(error["loc"][:-1])
        return f"unknown key {where} = {shown(value)}; {_nearest(str(error['loc'][-1]), valid)}"
    if error["type"] == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and not isinstance(error["ctx"]["error"], _OF_ONE_VALUE):
        return f"{where}: {message}" if where else message
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value):
        message += f" (YAML reads {cut(value, 40)} as text: write 1.0e-3, with a point)"
    return f"{where} = {shown(value)}: {message[:1].lower()}{message[1:]}"


def _keys_at(location: tuple[Any, ...]) -> tuple[str, ...]:
    """The keys of a section: every one of them has a default."""
    section = Settings(task=TASKS[0]).model_dump()
    for part in location:
        section = section[part]
    return tuple(section)
