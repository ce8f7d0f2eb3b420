"""Validation of a sweep: structural faults stop, bad runs are quarantined, nothing is deleted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.storage.typed import write_sealed
from components.tasks.own import OwnMetric
from components.validation import docs
from components.validation.checks import Checker, Outcome
from components.validation.errors import ValidationError
from components.validation.tables import Sampler, Sweep, Tables, read_tables
from components.validation.verdict import ValidationResult, decide

REPORT = "validation.json"
ACCEPTED = "accepted.json"
# What later steps depend on: a changed limit that accepts the same runs leaves it as it is.
DEPENDED_ON = ("success", "stopped_by", "histories_digest", "accepted")
DOCS = "data_docs"


def validate(
    folder: Path,
    *,
    report_dir: Path,
    task: str,
    schedulers: list[str],
    peak_lrs: list[float],
    seeds: list[int],
    updates: int,
    points: int,
    train_samples: int | None = None,
    data_digest: str | None = None,
    sampler: Sampler = "grid",
    max_train_loss: float | None = None,
    max_quarantined: float = 0.2,
    metric: OwnMetric | None = None,
    imported: bool = False,
) -> ValidationResult:
    """Check the histories of a sweep with Great Expectations.

    Writes `<report_dir>/validation.json` (identical bytes for identical histories and settings),
    `<report_dir>/accepted.json`, the part of it that later steps depend on, and
    `<report_dir>/data_docs/index.html`, also when it stops.

    Args:
        folder: `data/histories/<task>`; read, never changed.
        report_dir: `reports/<task>`.
        task, schedulers, peak_lrs, seeds, updates, points, train_samples, data_digest, sampler: the
            declared sweep; other runs of the task in the folder are counted and set aside.
        max_train_loss: as of `Sweep`.
        max_quarantined: stop when a larger share of the runs, in [0, 1], is bad.
        metric, imported: as of `Sweep`.

    Raises:
        ValidationError: the folder is empty, or a structural fault: unreadable file, foreign
            schema or task, duplicates, incomplete grid, a scheduler without a good
            run, too many bad runs. All faults are named in one message. Or the pages cannot be
            written; then the report of before is still there.
    """
    declared = Sweep(
        task,
        tuple(schedulers),
        tuple(peak_lrs),
        tuple(seeds),
        updates,
        points,
        train_samples,
        data_digest,
        sampler,
        max_train_loss,
        max_quarantined,
        metric,
        imported,
    )
    folder, report_dir = Path(folder), Path(report_dir)
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        first = "lode import" if imported else "lode sweep"
        raise ValidationError(f"{folder}: no histories to validate; run `{first}` first")
    tables = read_tables(paths, declared)
    if imported and not len(tables.runs):
        raise ValidationError(_other_lengths(folder, declared, tables))
    checker = Checker()
    result = decide(tables, declared, checker)
    docs.write(checker, result, report_dir / DOCS)
    # last: where these are, all was written
    report = _report(result, declared, tables)
    write_sealed(report_dir / REPORT, report)
    write_sealed(report_dir / ACCEPTED, _depended_on(report))
    if not result.success:
        faults = "\n  - ".join(result.stops)
        raise ValidationError(
            f"validation of {folder} stopped:\n  - {faults}\n"
            f"all rows: {report_dir / REPORT}, pages: {report_dir / DOCS / 'index.html'}"
        )
    return result


def _other_lengths(folder: Path, declared: Sweep, tables: Tables) -> str:
    found = Counter((h.meta["updates"], h.meta["points"]) for h in tables.outside).most_common(3)
    there = ", ".join(f"{count} of {n} updates and {t} points" for (n, t), count in found)
    return (
        f"{folder}: no run of training.updates = {declared.updates} and training.points = "
        f"{declared.points}; there are {there or 'none that can be read'}: set both accordingly"
    )


def _report(result: ValidationResult, declared: Sweep, tables: Tables) -> dict[str, Any]:
    """validation.json: no times, no ids, no paths, so equal input gives equal bytes."""
    return {
        "task": result.task,
        "success": result.success,
        "stopped_by": list(result.stops),
        "counts": {
            "files": result.files,
            "unreadable": int(tables.files["problem"].notna().sum()),
            "runs": len(tables.runs),
            "points": result.points,
            "accepted": len(result.accepted),
            "quarantined": len(result.quarantined),
            "outside_sweep": len(result.outside),
        },
        "declared": asdict(declared),
        "histories_digest": result.histories_digest,
        "accepted": list(result.accepted),
        "quarantined": [asdict(bad) for bad in result.quarantined],
        "outside_sweep": list(result.outside),
        "expectations": [_expectation(outcome) for outcome in result.outcomes],
    }


def _depended_on(report: dict[str, Any]) -> dict[str, Any]:
    """accepted.json: which runs are good and which are not, whatever the reasons."""
    bad = [{"run_id": one["run_id"]} for one in report["quarantined"]]
    return {key: report[key] for key in DEPENDED_ON} | {"quarantined": bad}


def _expectation(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "failed_rows": len(outcome.rows)}
