"""What an evaluation found, typed: page, terminal, Prefect artifact and docs are drawn from it.

Plain types only, so that `dataclasses.asdict` gives the JSON of the files and a reader gives the
objects back (components/steps/results.py). Metrics and their errors are as histories have them
(accuracies are fractions), learning rates absolute, times seconds, costs trainings of N updates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from components.evaluation.metric import Metric
from components.evaluation.ranking import Configuration
from components.evaluation.sharpness_series import SharpnessSeries
from components.evaluation.statistics import Comparison, Summary

SCHEMA_VERSION = 6  # of evaluation.json; raised when the report needs what older files lack


@dataclass(frozen=True)
class Setup:
    """What every run of the comparison had: updates, log points, training samples (None: all of the
    task's) and the fresh seeds, ascending."""

    updates: int
    points: int
    train_samples: int | None
    seeds: list[int]


@dataclass(frozen=True)
class Price:
    """What a row of the table cost before and in a run.

    Attributes:
        search: runs that chose its configuration, or that the LODE learned from.
        learning: what learning its policy took, in trainings of N updates.
        factor: trainings paid for one result. note: how that is counted.
    """

    search: int
    learning: float
    factor: float
    note: str


@dataclass(frozen=True)
class SchedulerEntry:
    """One row of the table: a configuration on the fresh seeds.

    Attributes:
        scheduler, peak_lr: the configuration behind the row. `scheduler` is the row's name, but for
            a finer search: there it is what the search found best. `peak_lr` is None where there is
            none (LODE, PBT).
        test_by_seed: test metric at the best validation point; None where the run has no result,
            since it diverged or its metric is not finite.
        test, validation: mean ± std over the completed runs, at the best validation point.
        final_validation: the validation metric of the same runs at their last point.
        sharpness: λ_max at the end of the completed runs; `sharpness_residual`: the largest
            residual of the eigenpairs.
        seconds_per_epoch: over the completed runs.
        diverged: number of runs without a result.
    """

    scheduler: str
    peak_lr: float | None
    test_by_seed: dict[str, float | None]
    test: Summary
    validation: Summary
    final_validation: Summary
    sharpness: Summary
    sharpness_residual: float | None
    seconds_per_epoch: Summary
    diverged: int
    price: Price


@dataclass(frozen=True)
class SweptConfiguration(Configuration):
    """A configuration of the sweep; `chosen`: it is its scheduler's best."""

    chosen: bool = False

    @property
    def runs(self) -> int:
        """How many it has, those that diverged among them."""
        return self.validation.n + self.diverged


@dataclass(frozen=True)
class SweepEntry:
    """The sweep: its runs, how many diverged, its seeds, training seconds of all runs together, and
    every configuration, by scheduler and peak lr."""

    runs: int
    diverged: int
    seeds: list[int]
    seconds: float
    configurations: list[SweptConfiguration]


@dataclass(frozen=True)
class ErrorEntry:
    """Relative error of predictions: mean ± std over so many runs."""

    mean: float
    std: float
    runs: int


TableA1 = dict[str, dict[str, dict[str, ErrorEntry]]]


@dataclass(frozen=True)
class RankEntry:
    """The run picked after seeing 5 % of each: its `rank` (1 is best) `of` so many by final
    validation metric, its own `metric` and the `best` there is."""

    rank: int
    of: int
    metric: float
    best: float


@dataclass(frozen=True)
class Rank:
    """The same among all runs, and among those held out of the fit."""

    all: RankEntry | None = None
    held_out: RankEntry | None = None


@dataclass(frozen=True)
class FitSummary:
    """What a LODE's config.json says of its fit; older ones say less.

    Attributes:
        settings: of the fit, by name.
        histories: completed runs that were there, of which `fitted` were learned from and
            `held_out` judged by; `diverged`: runs that were left out.
        best_update, best_error: when the error on the held-out runs was least, and that error.
        errors: (update, error) of every look at them.
        table_a1: by share seen (`5%`), part (`fitted`, `held_out`) and channel. by_scheduler: the
            same over the runs of each scheduler, pilots' under `plan`.
    """

    settings: dict[str, int | float | None] = field(default_factory=dict)
    histories: int | None = None
    fitted: int | None = None
    held_out: int | None = None
    diverged: int | None = None
    best_update: int | None = None
    best_error: float | None = None
    errors: list[tuple[int, float]] = field(default_factory=list)
    table_a1: TableA1 = field(default_factory=dict)
    by_scheduler: dict[str, TableA1] = field(default_factory=dict)
    rank: Rank = field(default_factory=Rank)


@dataclass(frozen=True)
class Decisions:
    """How often a LODE was asked over all its runs, and how often it kept its plan, by reason."""

    total: int
    kept: dict[str, int]


@dataclass(frozen=True)
class LodeEntry:
    """The LODE that scheduled the runs: digest, settings of its controller, decisions, fit."""

    digest: str | None
    controller: dict[str, str | int | float | bool | None] | None
    decisions: Decisions
    fit: FitSummary | None


@dataclass(frozen=True)
class Quarantined:
    """A run the LODE never saw, `constant 0.1 seed 2 (<run id>)`, and why."""

    run: str
    reasons: list[str]


@dataclass(frozen=True)
class ValidationSummary:
    """What became of the sweep's histories before the LODE saw them.

    Attributes:
        accepted: how many it learned from. outside: runs in the folder of no declared sweep.
    """

    accepted: int
    quarantined: list[Quarantined]
    outside: int


@dataclass(frozen=True)
class ValidationReport:
    """What the suite said: `counts` of runs by what became of them (`runs`, `accepted`,
    `quarantined`, …), and how many of its expectations were met."""

    counts: dict[str, int]
    met: int
    expectations: int
    quarantined: list[Quarantined]


@dataclass(frozen=True)
class BaselinePlan:
    """The sweep's best schedule: its configuration, and its learning rates at log points 0..T."""

    scheduler: str
    peak_lr: float
    plan: list[float]


@dataclass(frozen=True)
class Finalist:
    """Learning rates at log points 0..T, and what they gained over the baseline on the sweep's
    seeds (validation metric); None where a run diverged."""

    plan: list[float]
    gained: float | None


@dataclass(frozen=True)
class Gain:
    """Validation metric of the finalist less the baseline's: mean over n seeds and its standard
    error; None where a finalist's run diverged or there are fewer than two seeds."""

    mean: float | None = None
    error: float | None = None
    n: int = 0


@dataclass(frozen=True)
class PilotResult:
    """What pilots.json holds; `PilotResult()` means that there were none.

    Attributes:
        runs, diverged, seconds: what the pilots were and took. run_ids: of all, sorted.
        budget: runs by what they were for.
        peaks: the range that explored shapes' peak learning rates lie in.
        finalist: the plan that was tried beside the baseline to the end; gain: what came out.
        plan: the same as `finalist` if it was `adopted`, otherwise empty.
    """

    runs: int = 0
    diverged: int = 0
    seconds: float = 0.0
    run_ids: list[str] = field(default_factory=list)
    budget: dict[str, int] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    baseline: BaselinePlan | None = None
    finalists: list[Finalist] = field(default_factory=list)
    finalist: list[float] = field(default_factory=list)
    gain: Gain = field(default_factory=Gain)
    adopted: bool = False
    plan: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TrajectoryEntry:
    """Which run's prediction is drawn, and how many of its points the LODE saw, by per cent."""

    run_id: str
    scheduler: str
    peak_lr: float | None
    seed: int
    held_out: bool
    observed_points: dict[str, int]


@dataclass(frozen=True)
class Provenance:
    """What made this: the command, where the runs ran and with what, digests of the histories.

    Attributes:
        date: of the evaluation, UTC, `2026-11-28 09:12`. commit: the code's, `-dirty` with changes
            that are not committed. Both are empty where whoever evaluated did not say.
        settings: what the comparison depends on, by key of params.yaml, as JSON.
    """

    command: str
    devices: list[str]
    threads: list[int]
    versions: dict[str, list[str]]
    sweep_digest: str
    runs_digest: str
    date: str = ""
    commit: str = ""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """What evaluation.json holds: LODE compared with baselines on fresh seeds.

    Attributes:
        metric, percent, lower: what the metric is called, whether it is a share shown in per cent,
            and whether less of it is better (numbers here are then its negative).
        best_baseline: the row, finer search aside, whose configuration validated best.
        schedulers: by row, the LODE last.
        comparisons: paired differences of the test metric, `first - second`, by first and second
            row; adjusted p-values are for all comparisons of the first.
        pilots, validation, trajectories: None where there were none.
        notes: what a reader must know before believing the table.
        sharpness_series: by row, what was measured over training; empty where nothing was.
    """

    schema: int
    task: str
    metric: str
    setup: Setup
    best_baseline: str
    schedulers: dict[str, SchedulerEntry]
    comparisons: dict[str, dict[str, Comparison]]
    sweep: SweepEntry
    lode: LodeEntry
    validation: ValidationSummary | None
    provenance: Provenance
    notes: list[str] = field(default_factory=list)
    pilots: PilotResult | None = None
    trajectories: TrajectoryEntry | None = None
    percent: bool = True
    lower: bool = False
    sharpness_series: dict[str, SharpnessSeries] = field(default_factory=dict)

    @property
    def shown(self) -> Metric:
        """How the metric is called and written."""
        return Metric(self.metric, self.percent, self.lower)
