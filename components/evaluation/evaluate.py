"""The comparison as a step: histories in; evaluation.json, runs.parquet, figures and page out.

The same input gives the same bytes: nothing here reads a clock or the machine it runs on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.evaluation.accuracy import LODE, SchedulerResult, results
from components.evaluation.errors import EvaluationError
from components.evaluation.ranking import (
    best_configuration,
    best_configurations,
    configurations,
)
from components.evaluation.statistics import paired_difference
from components.evaluation.trajectories import Trajectories
from components.evaluation.walltime import relative_cost, total_seconds
from components.schedulers.names import label
from components.storage.files import atomic_path, write_text
from components.training.history import History, HistoryError, digest, read_histories

SCHEMA_VERSION = 3  # of evaluation.json; raised when the report needs what older files lack
# A mean that falls by more than this from best to last point is no noise of the best point.
COLLAPSE = 0.05
_TEXTS = ("run_id", "task", "scheduler", "status", "device")


def evaluate(
    task: str,
    sweep_dir: Path,
    scheduled_dir: Path,
    lode_dir: Path,
    report_dir: Path,
    *,
    seeds: Sequence[int],
    sweep_runs: Collection[str] | None = None,
    scheduled_runs: Collection[str] | None = None,
    baseline_dir: Path | None = None,
    baseline_runs: Collection[str] = (),
    trajectories: Trajectories | None = None,
    command: str = "make demo",
) -> dict[str, Any]:
    """Compare LODE with the best configuration of every baseline and write the report.

    Writes `evaluation.json`, `runs.parquet`, `figures/*.svg` and `index.html` to `report_dir`.

    Args:
        task: name in the catalog; histories of another task are an error.
        sweep_dir, scheduled_dir: histories of the sweep; of the runs on the fresh seeds.
        lode_dir: the fitted LODE, `config.json` with its `fit` summary beside the weights.
        report_dir: where `validation.json` and `pilots.json` are read, if there, and the report
            written.
        seeds: the fresh seeds that every scheduler must have been trained with.
        sweep_runs, scheduled_runs: run ids to use of each folder; None: all. Runs of former
            settings may lie in the same folders.
        baseline_dir, baseline_runs: histories that tuned further baselines, and which of them.
        trajectories: a run of the sweep beside what the LODE predicts of it; None: not drawn.
        command: what made all this, for the page's last lines.

    Returns:
        What evaluation.json holds.

    Raises:
        EvaluationError: schedulers, seeds or the LODE are missing, or a run is ambiguous.
        HistoryError: a folder is empty or a history unreadable.
    """
    from components.evaluation import report

    sweep = _read(sweep_dir, task, sweep_runs, "lode sweep")
    tuned = list(sweep)
    if baseline_dir and baseline_runs:
        tuned += _read(baseline_dir, task, baseline_runs, "lode baselines")
    runs = _comparable(_read(scheduled_dir, task, scheduled_runs, "lode train"), tuned, seeds)
    config = _lode_config(lode_dir)
    report_dir = Path(report_dir)
    validation = _read_json(report_dir / "validation.json")
    evaluation = _summary(task, sweep, tuned, runs, config, validation, seeds, command)
    pilots = _read_json(report_dir / "pilots.json")
    evaluation["pilots"] = pilots if pilots and pilots["runs"] else None
    _add_prices(evaluation, tuned, runs)
    evaluation["trajectories"] = trajectories.describe() if trajectories else None
    if trajectories is None:
        evaluation["notes"].append(
            "No prediction is drawn: the LODE's weights are missing, or the best baseline's "
            "configuration has no completed run."
        )
    _write_runs(sweep, runs, report_dir / "runs.parquet")
    report.draw(evaluation, sweep, runs, trajectories, report_dir / "figures")
    report.write_page(evaluation, report_dir)
    # last, so that its presence says that the rest is there
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(report_dir / "evaluation.json", text + "\n")
    return evaluation


def _read(folder: Path, task: str, run_ids: Collection[str] | None, command: str) -> list[History]:
    try:
        histories = read_histories(Path(folder))
    except HistoryError as error:
        if Path(folder).is_dir() and any(Path(folder).glob("*.parquet")):
            raise
        raise EvaluationError(f"{folder}: no histories; run `{command}` first") from error
    if run_ids is not None:
        histories = [h for h in histories if h.run_id in set(run_ids)]
        absent = sorted(set(run_ids) - {h.run_id for h in histories})
        if absent:
            raise EvaluationError(
                f"{folder}: {len(absent)} of {len(set(run_ids))} runs are missing, "
                f"e.g. {absent[0]}; run `{command}`"
            )
    foreign = sorted({h.meta["task"] for h in histories} - {task})
    if foreign:
        raise EvaluationError(
            f"{folder}: holds runs of {', '.join(foreign)}, expected {task}; move them out"
        )
    return histories


def _comparable(
    runs: Sequence[History], tuned: Sequence[History], seeds: Sequence[int]
) -> list[History]:
    """One run per scheduler (at its chosen configuration) and seed, in that order."""
    untuned = sorted({h.meta["scheduler"] for h in runs if h.meta["peak_lr"] is None} - {LODE})
    wanted = {**best_configurations(tuned), **dict.fromkeys(untuned), LODE: None}
    found: dict[tuple[str, int], History] = {}
    for run in runs:
        scheduler, peak_lr = run.configuration
        key = (scheduler, int(run.meta["seed"]))
        if scheduler not in wanted or peak_lr != wanted[scheduler] or key[1] not in set(seeds):
            continue  # of former settings
        if key in found:
            raise EvaluationError(
                f"{run.describe()} is there twice ({found[key].run_id}, {run.run_id}), from "
                "different settings or LODEs; delete the older file and run `lode train`"
            )
        found[key] = run
    missing = [_missing(name, wanted[name], seeds, found, runs) for name in wanted]
    if any(missing):
        raise EvaluationError(
            "the comparison lacks " + "; ".join(filter(None, missing)) + "; run `lode train`"
        )
    chosen = [found[name, seed] for name in wanted for seed in sorted(seeds)]
    lengths = {(h.meta["updates"], h.meta["points"]) for h in [*tuned, *chosen]}
    if len(lengths) > 1:
        shown = ", ".join(f"{n} updates and {t} points" for n, t in sorted(lengths))
        raise EvaluationError(
            f"runs of different lengths cannot be compared: {shown}; move out those of the "
            "former settings, or run `lode sweep` and `lode train` again"
        )
    return chosen


def _missing(
    scheduler: str,
    peak_lr: float | None,
    seeds: Sequence[int],
    found: Mapping[tuple[str, int], History],
    runs: Sequence[History],
) -> str:
    """`onecycle 0.05 seeds 101, 102`, or nothing if all seeds are there."""
    absent = [seed for seed in sorted(seeds) if (scheduler, seed) not in found]
    if not absent:
        return ""
    peak = "" if peak_lr is None else f" {peak_lr:g}"
    text = f"{scheduler}{peak} seeds {', '.join(map(str, absent))}"
    own = (h.meta["peak_lr"] for h in runs if h.meta["scheduler"] == scheduler)
    others = sorted({lr for lr in own if lr is not None and lr != peak_lr})
    if others and peak_lr is not None:
        text += f" (it was trained at {', '.join(f'{lr:g}' for lr in others)}, but the sweep's "
        text += f"best is {peak_lr:g})"
    return text


def _lode_config(folder: Path) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    config = _read_json(path)
    if config is None:
        raise EvaluationError(f"{path}: no LODE; run `lode fit` first")
    return config


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EvaluationError(
            f"{path}: not JSON ({error}); delete it and run its step again"
        ) from None
    if not isinstance(content, dict):
        raise EvaluationError(f"{path}: expected a JSON object; delete it and run its step again")
    return content


def _summary(
    task: str,
    sweep: Sequence[History],
    tuned: Sequence[History],
    runs: Sequence[History],
    config: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    seeds: Sequence[int],
    command: str,
) -> dict[str, Any]:
    by_scheduler = results(runs)
    best = best_configuration(tuned).scheduler
    meta = runs[0].meta
    summary: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "task": task,
        "metric": "accuracy",
        "setup": {
            "updates": meta["updates"],
            "points": meta["points"],
            "train_samples": meta.get("train_samples"),
            "seeds": sorted(seeds),
        },
        "best_baseline": best,
        "schedulers": {
            name: _scheduler_entry(result, by_scheduler[best])
            for name, result in by_scheduler.items()
        },
        "comparisons": _comparisons(by_scheduler),
        "sweep": _sweep_entry(sweep),
        "lode": _lode_entry(config, runs),
        "validation": _validation_entry(validation),
        "provenance": _provenance(sweep, runs, command),
    }
    summary["notes"] = _notes(summary, by_scheduler)
    return summary


def _scheduler_entry(result: SchedulerResult, reference: SchedulerResult) -> dict[str, Any]:
    entry = asdict(result)
    del entry["scheduler"]
    entry["test_by_seed"] = {str(seed): value for seed, value in result.test_by_seed.items()}
    entry["relative_cost"] = relative_cost(result.seconds_per_epoch, reference.seconds_per_epoch)
    return entry


def _add_prices(
    evaluation: dict[str, Any], tuned: Sequence[History], runs: Sequence[History]
) -> None:
    """What each scheduler cost before and in a run, in trainings of N updates.

    `search`: runs that chose its peak learning rate, or that the LODE learned from. `learning`:
    what its policy took. `factor`: trainings paid for one result.
    """
    updates = evaluation["setup"]["updates"]
    pilots = evaluation["pilots"]["runs"] if evaluation["pilots"] else 0
    for name, entry in evaluation["schedulers"].items():
        own = next(h for h in runs if h.meta["scheduler"] == name)
        price = own.meta.get("price") or {"learning_updates": 0, "run_factor": 1.0, "note": ""}
        searched = sum(h.meta["scheduler"] == name for h in tuned)
        entry["price"] = {
            "search": evaluation["sweep"]["runs"] + pilots if name == LODE else searched,
            "learning": price["learning_updates"] / updates,
            "factor": price["run_factor"],
            "note": price["note"],
        }


def _comparisons(by_scheduler: Mapping[str, SchedulerResult]) -> dict[str, Any]:
    """Paired differences of every pair, `first − second`, as `{first: {second: …}}`.

    LODE against each baseline is what the comparison is for; the pairs of baselines say which of
    the table's rows can be told apart.
    """
    return {
        first: {
            second: asdict(
                paired_difference(
                    by_scheduler[first].test_by_seed, by_scheduler[second].test_by_seed
                )
            )
            for second in by_scheduler
            if second != first
        }
        for first in by_scheduler
    }


def _sweep_entry(sweep: Sequence[History]) -> dict[str, Any]:
    chosen = best_configurations(sweep)
    return {
        "runs": len(sweep),
        "diverged": sum(not h.completed for h in sweep),
        "seeds": sorted({int(h.meta["seed"]) for h in sweep}),
        "seconds": total_seconds(sweep),
        "configurations": [
            {**asdict(c), "chosen": chosen[c.scheduler] == c.peak_lr} for c in configurations(sweep)
        ],
    }


def _validation_entry(validation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What became of the sweep's histories before the LODE saw them."""
    if validation is None:
        return None
    bad = [
        {
            "run": f"{run['run']} ({run['run_id']})",
            "reasons": [reason["problem"] for reason in run["reasons"]],
        }
        for run in validation.get("quarantined", [])
    ]
    return {
        "accepted": len(validation.get("accepted", [])),
        "quarantined": bad,
        "outside": len(validation.get("outside", [])),
    }


def _lode_entry(config: Mapping[str, Any], runs: Sequence[History]) -> dict[str, Any]:
    own = [h for h in runs if h.meta["scheduler"] == LODE]
    digests = {h.meta.get("scheduler_digest") for h in own}
    if len(digests) > 1:
        raise EvaluationError(
            f"the LODE runs were scheduled by {len(digests)} different LODEs or settings; "
            "delete the older runs and run `lode train`"
        )
    decisions = [one for h in own for one in h.meta.get("decisions") or []]
    kept = Counter(one["kept"] for one in decisions if one.get("kept"))
    return {
        "digest": digests.pop(),
        "controller": own[0].meta.get("controller"),
        "decisions": {"total": len(decisions), "kept": dict(sorted(kept.items()))},
        "fit": config.get("fit"),
    }


def _provenance(sweep: Sequence[History], runs: Sequence[History], command: str) -> dict[str, Any]:
    versions: dict[str, set[str]] = {}
    for history in runs:
        for name, version in (history.meta.get("versions") or {}).items():
            versions.setdefault(name, set()).add(str(version))
    threads = {h.meta["threads"] for h in runs if h.meta.get("threads") is not None}
    return {
        "command": command,
        "devices": sorted({str(h.meta.get("device")) for h in runs}),
        "threads": sorted(threads),
        "versions": {name: sorted(found) for name, found in sorted(versions.items())},
        "sweep_digest": digest(sweep),
        "runs_digest": digest(runs),
    }


def _notes(summary: Mapping[str, Any], by_scheduler: Mapping[str, SchedulerResult]) -> list[str]:
    """What a reader must know before believing the table."""
    notes = [
        f"Every LODE run ends as {label(name)}'s (peak lr {r.peak_lr:g}) of that seed: LODE kept "
        "the best schedule of its sweep, and what it is ahead of or behind others is that "
        "schedule's doing."
        for name, r in by_scheduler.items()
        if name != LODE and r.peak_lr is not None and _same_runs(r, by_scheduler[LODE])
    ]
    notes += [
        f"{r.diverged} of {len(r.test_by_seed)} {label(name)} runs diverged; they have no test "
        "result, so its mean is over the others and its comparisons leave those seeds out."
        for name, r in by_scheduler.items()
        if r.diverged
    ]
    for name, r in by_scheduler.items():
        best, last = r.validation.mean, r.final_validation.mean
        if best is not None and last is not None and best - last > COLLAPSE:
            notes.append(
                f"The {label(name)} runs end at {100 * last:.1f} % validation accuracy, far below "
                f"the {100 * best:.1f} % of their best points, whose weights the table reports."
            )
    if summary["lode"]["fit"] is None:
        notes.append("The LODE's config.json has no `fit` summary: its errors are not shown.")
    if len(summary["provenance"]["devices"]) > 1:
        notes.append(
            "The runs come from different hardware, so their seconds per epoch do not compare: "
            + ", ".join(summary["provenance"]["devices"])
        )
    return notes


def _same_runs(one: SchedulerResult, other: SchedulerResult) -> bool:
    """Equal to the last bit, in validation too: a test set of few samples has equals by chance."""
    completed = one.validation.mean is not None  # two that always diverged have nothing in common
    same = one.test_by_seed == other.test_by_seed and one.validation == other.validation
    return completed and same


def _write_runs(sweep: Sequence[History], runs: Sequence[History], path: Path) -> None:
    """One row per run of the sweep and of the evaluation."""
    import pandas as pd

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
        **{key: meta.get(key) for key in kept},
        **{key: meta.get(key) for key in measured},
        "final_train_loss": float(points["train_loss"].iloc[-1]) if len(points) else None,
        "final_val_metric": float(points["val_metric"].iloc[-1]) if len(points) else None,
        "seconds": float(points["elapsed_s"].iloc[-1]) if len(points) else None,
        "lambda_max": sharpness.get("lambda_max"),
        "lambda_max_residual": sharpness.get("residual"),
        "device": meta.get("device"),
    }
