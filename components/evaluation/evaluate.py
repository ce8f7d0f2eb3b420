"""The comparison: histories in, an `Evaluation` out; and what is written of it.

The same input gives the same bytes: nothing here reads a clock or the machine it runs on; the date
and the commit that the page names are handed in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from components.evaluation.accuracy import scheduler_entry
from components.evaluation.downloads import write_downloads
from components.evaluation.errors import EvaluationError
from components.evaluation.figures import Drawn, draw
from components.evaluation.key_metrics import key_metrics
from components.evaluation.metric import Metric
from components.evaluation.notes import notes
from components.evaluation.page import write_page
from components.evaluation.ranking import best_configuration, configurations
from components.evaluation.results import (
    SCHEMA_VERSION,
    Decisions,
    Evaluation,
    FitSummary,
    LodeEntry,
    PilotResult,
    Price,
    Provenance,
    Setup,
    SweepEntry,
    SweptConfiguration,
    TrajectoryEntry,
    ValidationSummary,
)
from components.evaluation.rows import (
    Configuration,
    check_lengths,
    check_task,
    distinct,
    group_runs,
)
from components.evaluation.sharpness_series import sharpness_series
from components.evaluation.statistics import compare
from components.evaluation.trajectories import Trajectories
from components.evaluation.walltime import total_seconds
from components.schedulers.names import FINER_SEARCH, LODE, MULTI_POWER_LAW
from components.storage.files import atomic_path, write_text
from components.storage.typed import write_sealed
from components.training.history import History, digest

_TEXTS = ("run_id", "task", "scheduler", "status", "device")


@dataclass(frozen=True)
class Made:
    """By which command, when, from which code and with which settings; as of `Provenance`."""

    command: str = "make demo"
    date: str = ""
    commit: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


def evaluate(
    task: str,
    *,
    seeds: Sequence[int],
    sweep: Sequence[History],
    chosen: Mapping[str, Configuration],
    runs: Sequence[History],
    tuned: Sequence[History] = (),
    finer: Sequence[History] = (),
    fit: FitSummary | None = None,
    validation: ValidationSummary | None = None,
    pilots: PilotResult | None = None,
    trajectories: Trajectories | None = None,
    remarks: Sequence[str] = (),
    made: Made = Made(),
) -> Evaluation:
    """Compare LODE with the best configuration of every baseline, seed by seed.

    The best baseline is the row whose configuration validated best in the sweep and the tuning of
    further baselines. The finer search is not asked: it is an opponent of its own, shown with its
    own difference to LODE.

    Args:
        task: name in the catalog.
        seeds: the fresh seeds. A row may lack some: what pairs is compared, and it is said.
        sweep: the histories that the LODE learned from.
        chosen: by row of the table, the LODE's among them, its configuration: scheduler and peak
            lr. Two rows may have the same one and then share its runs.
        runs: on the fresh seeds; those of other configurations or seeds are left out.
        tuned, finer: the runs that tuned further baselines, and those of the finer search.
        fit: the summary of the LODE's fit. validation, pilots: what came of those steps.
        trajectories: a run of the sweep beside what the LODE predicts of it; None: not drawn.
        remarks: what else must be known of the rows; they come first among the notes.
        made: by what, from which code and when, for the page's last lines.

    Raises:
        EvaluationError: a scheduler has no run, a run is ambiguous or of another task or length,
            or the best configuration is no row of the table.
    """
    check_task(task, [*sweep, *tuned, *finer, *runs])
    rows = group_runs(runs, chosen, seeds)
    used = distinct(rows)
    check_lengths([*sweep, *tuned, *finer, *used])
    best = _best_baseline([*sweep, *tuned], chosen)
    tried = pilots if pilots and pilots.runs else None
    searched = _searched(chosen, sweep, [*sweep, *tuned], finer, tried)
    entries = {
        row: scheduler_entry(own, _price(own[0], searched[row])) for row, own in rows.items()
    }
    metric = Metric.of([*used, *sweep])
    found = Evaluation(
        schema=SCHEMA_VERSION,
        task=task,
        metric=metric.name,
        percent=metric.percent,
        lower=metric.lower,
        setup=_setup(used[0], seeds),
        best_baseline=best,
        schedulers=entries,
        comparisons=compare({row: entry.test_by_seed for row, entry in entries.items()}),
        sweep=_sweep_entry(sweep, chosen),
        lode=_lode_entry(rows[LODE], fit),
        validation=validation,
        provenance=_provenance(sweep, used, made),
        pilots=tried,
        trajectories=TrajectoryEntry(**trajectories.describe()) if trajectories else None,
        sharpness_series={
            row: series for row, own in rows.items() if (series := sharpness_series(own))
        },
    )
    return replace(found, notes=[*remarks, *notes(found), *_of_no_test(used, metric)])


def _of_no_test(runs: Sequence[History], metric: Metric) -> list[str]:
    """A script may have no test set; what stands in for it must be said."""
    without = sum(bool(run.meta.get("test_is_validation")) for run in runs)
    if not without:
        return []
    return [
        f"{without} of {len(runs)} runs logged no test metric: in its place stands their last "
        f"validation {metric.name}, which also chose the schedules, so it flatters them."
    ]


def write_evaluation(
    evaluation: Evaluation,
    sweep: Sequence[History],
    runs: Sequence[History],
    trajectories: Trajectories | None,
    report_dir: Path,
    schedules: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write `runs.parquet`, `figures/*.svg`, `downloads/*`, `index.html`, `metrics.json` and
    `evaluation.json` to a folder.

    Args:
        evaluation: what `evaluate` found. sweep, runs, trajectories: what it was given.
        schedules: files to take away, text by name; as of `write_downloads`.
    """
    chosen = {row: (e.scheduler, e.peak_lr) for row, e in evaluation.schedulers.items()}
    rows = group_runs(runs, chosen, evaluation.setup.seeds)
    _write_runs(sweep, distinct(rows), report_dir / "runs.parquet")
    drawn = Drawn(evaluation, rows, trajectories)
    draw(drawn, report_dir / "figures", report_dir / "downloads")
    write_downloads(evaluation, schedules, report_dir / "downloads")
    write_page(evaluation, report_dir)
    # without a seal: only people and `dvc metrics` read it
    write_text(report_dir / "metrics.json", json.dumps(key_metrics(evaluation), indent=1) + "\n")
    # last, so that its presence says that the rest is there
    write_sealed(report_dir / "evaluation.json", asdict(evaluation))


def _best_baseline(tuning: Sequence[History], chosen: Mapping[str, Configuration]) -> str:
    best = best_configuration(tuning)
    configuration = best.scheduler, best.peak_lr
    for row, other in chosen.items():
        if other == configuration and row not in (LODE, FINER_SEARCH):
            return row
    peak = "" if best.peak_lr is None else f" {best.peak_lr:g}"
    raise EvaluationError(
        f"the best configuration, {best.scheduler}{peak}, is not among those compared; "
        "run `lode train`"
    )


def _setup(run: History, seeds: Sequence[int]) -> Setup:
    meta = run.meta
    return Setup(meta["updates"], meta["points"], meta.get("train_samples"), sorted(seeds))


def _searched(
    chosen: Mapping[str, Configuration],
    sweep: Sequence[History],
    tuning: Sequence[History],
    finer: Sequence[History],
    pilots: PilotResult | None,
) -> dict[str, int]:
    """Runs that each row's configuration was chosen by, or that the LODE learned from."""
    own = Counter(h.meta["scheduler"] for h in tuning)
    counts = {row: own[scheduler] for row, (scheduler, _) in chosen.items()}
    counts[LODE] = len(sweep) + (pilots.runs if pilots else 0)
    counts[FINER_SEARCH] = len(sweep) + len(finer)
    counts[MULTI_POWER_LAW] = len(sweep)
    return counts


def _price(run: History, searched: int) -> Price:
    price = run.meta.get("price") or {"learning_updates": 0, "run_factor": 1.0, "note": ""}
    return Price(
        search=searched,
        learning=price["learning_updates"] / run.meta["updates"],
        factor=price["run_factor"],
        note=price["note"],
    )


def _sweep_entry(sweep: Sequence[History], chosen: Mapping[str, Configuration]) -> SweepEntry:
    best = {configuration for row, configuration in chosen.items() if row != FINER_SEARCH}
    return SweepEntry(
        runs=len(sweep),
        diverged=sum(not h.completed for h in sweep),
        seeds=sorted({int(h.meta["seed"]) for h in sweep}),
        seconds=total_seconds(sweep),
        configurations=[
            SweptConfiguration(**vars(c), chosen=(c.scheduler, c.peak_lr) in best)
            for c in configurations(sweep)
        ],
    )


def _lode_entry(runs: Sequence[History], fit: FitSummary | None) -> LodeEntry:
    digests = {h.meta.get("scheduler_digest") for h in runs}
    if len(digests) > 1:
        raise EvaluationError(
            f"the LODE runs were scheduled by {len(digests)} different LODEs or settings; "
            "move the older runs away and run `lode train`"
        )
    decisions = [one for h in runs for one in h.meta.get("decisions") or []]
    kept = Counter(one["kept"] for one in decisions if one.get("kept"))
    return LodeEntry(
        digest=digests.pop(),
        controller=runs[0].meta.get("controller"),
        decisions=Decisions(len(decisions), dict(sorted(kept.items()))),
        fit=fit,
    )


def _provenance(sweep: Sequence[History], runs: Sequence[History], made: Made) -> Provenance:
    versions: dict[str, set[str]] = {}
    for history in runs:
        for name, version in (history.meta.get("versions") or {}).items():
            versions.setdefault(name, set()).add(str(version))
    return Provenance(
        command=made.command,
        date=made.date,
        commit=made.commit,
        settings=dict(made.settings),
        devices=sorted({str(h.meta.get("device")) for h in runs}),
        threads=sorted({t for h in runs if (t := h.meta.get("threads")) is not None}),
        versions={name: sorted(found) for name, found in sorted(versions.items())},
        sweep_digest=digest(sweep),
        runs_digest=digest(runs),
    )


def _write_runs(sweep: Sequence[History], runs: Sequence[History], path: Path) -> None:
    """One row per run of the sweep and of the evaluation."""
    rows = [_row("sweep", h) for h in sorted(sweep, key=_order)]
    rows += [_row("evaluation", h) for h in runs]
    table = pd.DataFrame(rows)
    numbers = [name for name in table.columns if name not in ("stage", *_TEXTS)]
    # a column of nothing but None is a column of numbers all the same
    table[numbers] = table[numbers].apply(pd.to_numeric)
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def _order(history: History) -> tuple[str, float, int]:
    return history.meta["scheduler"], history.meta["peak_lr"] or 0.0, history.meta["seed"]


def _row(stage: str, history: History) -> dict[str, Any]:
    meta, points = history.meta, history.points
    kept = ("run_id", "task", "scheduler", "peak_lr", "seed", "updates", "points", "status")
    measured = ("test_metric", "best_val_metric", "best_point", "seconds_per_epoch")
    sharpness = meta.get("sharpness") or {}
    return {
        "stage": stage,
        **{key: meta.get(key) for key in (*kept, *measured)},
        "final_train_loss": float(points["train_loss"].iloc[-1]) if len(points) else None,
        "final_val_metric": float(points["val_metric"].iloc[-1]) if len(points) else None,
        "seconds": float(points["elapsed_s"].iloc[-1]) if len(points) else None,
        "lambda_max": sharpness.get("lambda_max"),
        "lambda_max_residual": sharpness.get("residual"),
        "device": meta.get("device"),
    }
