"""The sections of params.yaml, each typed and with its ranges; how to choose a value says each."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from components.lode.settings import (
    DEFAULT,
    POINTS,
    RATES,
    SEEDS,
    Architecture,
    Controller,
    ControllerSettings,
    FitSettings,
    JudgeSettings,
    Range,
)
from components.schedulers.names import BASELINES, PAPER_SCHEDULERS, PARAMETRIC_SCHEDULERS
from components.settings.section import Section, distinct, nearest
from components.storage.addresses import check_registry, check_store
from components.storage.shown import shown

FEWEST_PILOTS = 20  # below it the shares of components/pilots/budget.py leave too little of each
RACING_SHARE = 4  # one configuration in so many survives its first seed
PILOTS_SHARE = 4  # one pilot for so many runs of the sweep (docs/research/scheduler.md, entry 25)
# After a race, of the runs that it saved: so many were tried (entry 26), and of more the trial,
# which decides, would take none.
MOST_PILOTS = 60
MOST_RUNS = 10_000  # of a sweep: each is a file, and the fit holds all of them
MOST_SEEDS = 1_000

Seeds = list[Annotated[int, SEEDS]]
_Runs = Range(0, MOST_RUNS, "each is a training and a file")
_Samples = Range(1, 10**9, "no data set of the catalog has more")
_Apart = Range(1, POINTS.high, "log points between two measurements")
_Losses = Range(1e-12, 1e38, "float32 has no larger losses")
_Workers = Range(1, 1024, "each is a process with torch and the data")


class TrainingSettings(Section):
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


class SweepSettings(Section):
    """The runs the LODE learns from: schedulers × peak lrs × seeds (section 5.4, Table 4).

    `sampler`: `racing` trains every scheduler × peak lr on the first seed, and takes only the most
    promising quarter (every scheduler's best among them) to the others, at two fifths of the price;
    `grid`, the paper's, trains all on every seed; `tpe` asks Optuna for `trials` configurations.
    `racing` chose what the grid would have (docs/results/fewer-runs.md); take `grid` where every
    configuration's figure is wanted, or a LODE that foretells other runs as well as it can.
    `schedulers`: the paper's four; the other parametric ones may be added. `seeds`: five were
    enough to find better plans; a LODE that is to foretell other runs as well as the paper's Table
    A1 needs fifteen to thirty (docs/results/table-a1.md).
    """

    sampler: Literal["racing", "grid", "tpe"] = "racing"
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
            if name in set(BASELINES) - set(PARAMETRIC_SCHEDULERS):
                raise ValueError(
                    f"{name} is no function of the update alone, which a sweep's schedules are; "
                    "name it in baselines.schedulers"
                )
            if name not in PARAMETRIC_SCHEDULERS:
                raise ValueError(
                    f"unknown scheduler {shown(name)}; {nearest(name, PARAMETRIC_SCHEDULERS)}"
                )
        return distinct(names, "schedulers")

    @field_validator("peak_lrs", "seeds")
    @classmethod
    def _no_duplicates(cls, values: list[Any], info: ValidationInfo) -> list[Any]:
        return distinct(values, str(info.field_name))

    @property
    def runs(self) -> int:
        """How many runs it has."""
        if self.sampler == "racing":
            return self._grid + self.survivors * (len(self.seeds) - 1)
        return (self._grid if self.sampler == "grid" else self.trials) * len(self.seeds)

    @property
    def saved(self) -> int:
        """How many runs fewer than the grid a race has."""
        return self._grid * len(self.seeds) - self.runs if self.sampler == "racing" else 0

    @property
    def survivors(self) -> int:
        """Configurations that a race goes on with."""
        return max(len(self.schedulers), math.ceil(self._grid / RACING_SHARE))

    @property
    def _grid(self) -> int:
        return len(self.schedulers) * len(self.peak_lrs)

    @model_validator(mode="after")
    def _can_be_done(self) -> SweepSettings:
        if self.runs > MOST_RUNS:
            raise ValueError(
                f"configurations times seeds are {self.runs} runs, more than {MOST_RUNS}: each "
                "is a training and a file"
            )
        return self


class ValidationSettings(Section):
    """What a history must satisfy to teach the LODE.

    `max_train_loss`: far above the loss of an untrained network (ln 10 = 2.3 for ten classes);
    null: 100 and none below 0 where the metric is a share, as of a classifier, else any number.
    `max_quarantined`: the share of bad runs, in [0, 1], above which the pipeline stops.
    """

    max_train_loss: Annotated[float, _Losses] | None = None
    max_quarantined: Annotated[float, Range(0, 1, "a share")] = 0.2


class PilotSettings(Section):
    """Runs that try proposed schedules before the LODE is fitted (`components/pilots/campaign.py`).

    `runs`: how many at most; null: what a race saved of the grid's runs, 60 at most, or beside
    another sweep a quarter as many as it has; 20 at least. That is where the default controller's
    gain comes from; 0: none, and it starts from the sweep's best schedule.
    More try more schedules. The controller `paper` has none in any case.
    """

    runs: Annotated[int, _Runs] | None = None

    @field_validator("runs")
    @classmethod
    def _enough(cls, runs: int | None) -> int | None:
        if runs is not None and 0 < runs < FEWEST_PILOTS:
            raise ValueError(
                f"fewer than {FEWEST_PILOTS} runs tell nothing: half of them try schedules once, "
                "the others must show that the best was no luck; 0 turns pilots off, and LODE "
                "starts from the sweep's best schedule"
            )
        return runs


class BaselineSettings(Section):
    """What the LODE is compared with beyond the sweep's schedules.

    `schedulers`: each is tuned on the sweep's peak lrs and seeds, which costs as many runs as one
    schedule of the sweep (`rl-controller` and `gns` learn a policy before, `pbt` trains a
    population instead, `finer-search` takes as many as the pilots, `multi-power-law` none);
    docs/guides/schedulers.md says what each is and costs. Empty: none.
    """

    schedulers: list[str] = Field(default=[])

    @field_validator("schedulers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in BASELINES:
                raise ValueError(f"unknown baseline {shown(name)}; {nearest(name, BASELINES)}")
        return distinct(names, "schedulers")


class FromMapping:
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
    fit: Annotated[FitSettings, FromMapping()] = FitSettings()
    judge: Annotated[JudgeSettings, FromMapping()] = JudgeSettings()
    scheduler: Annotated[ControllerSettings, FromMapping()] = ControllerSettings()

    @property
    def architecture(self) -> Architecture:
        """What the LODE is built with, apart from what it is fitted and asked with."""
        return Architecture(**{f.name: getattr(self, f.name) for f in fields(Architecture)})


class EvaluationSettings(Section):
    """The comparison: fresh seeds (never the sweep's), sharpness λ_max at the end of each run.

    `sharpness_every`: λ_max and λ_min also on the way, so many log points apart, the first and the
    last among them (docs/results/sharpness.md has what that takes); null: at the end only.
    """

    seeds: Seeds = Field(default=list(range(100, 110)), min_length=2, max_length=MOST_SEEDS)
    sharpness: Literal["lanczos", "power", "none"] = "lanczos"
    sharpness_samples: Annotated[int, _Samples] = 1024
    sharpness_every: Annotated[int, _Apart] | None = None

    @field_validator("seeds")
    @classmethod
    def _no_duplicates(cls, seeds: list[int]) -> list[int]:
        return distinct(seeds, "seeds")


class ExecutionSettings(Section):
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


class RegistrySettings(Section):
    """`tracking_uri`: an MLflow database (`sqlite:///…`, `postgresql://…`) or server (`http…`)."""

    tracking_uri: str = Field("sqlite:///mlflow.db", pattern=r"^[^\x00-\x1f]{1,1000}$")

    @field_validator("tracking_uri")
    @classmethod
    def _lasts(cls, uri: str) -> str:
        check_registry(uri)
        return uri


class RetrainingSettings(Section):
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
