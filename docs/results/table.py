"""The comparison of one setting as Markdown: baselines, opponent, both controllers.

    .venv/bin/python docs/results/table.py --params params.yaml

Reads what `lode train` (once for each `lode.controller`) and `docs/research/opponent.py` left below
the settings' folder, for the evaluation's seeds.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from components.steps.all_steps import sweep_run_ids

from components.evaluation.accuracy import best_baseline
from components.evaluation.statistics import paired_difference, summarize
from components.evaluation.walltime import total_seconds
from components.settings import Settings, load
from components.storage.workspace import Workspace
from components.training.history import History, history_path, read_histories, read_history

OPPONENT = "finer search"


def rows(workspace: Workspace, task: str, seeds: set[int]) -> dict[tuple[str, float], list[Any]]:
    """(name, peak lr or 0) to the histories on the seeds."""
    found: dict[tuple[str, float], list[History]] = defaultdict(list)
    folders = {"": workspace.scheduled(task), OPPONENT: workspace.root / "data/opponent" / task}
    for where, folder in folders.items():
        for run in read_histories(folder) if folder.exists() else []:
            if run.meta["seed"] not in seeds:
                continue
            controller = (run.meta.get("controller") or {}).get("controller")
            name = f"LODE, {controller}" if controller else run.meta["scheduler"]
            name = f"{name} ({where})" if where else name
            found[name, run.meta["peak_lr"] or 0.0].append(run)
    return found


def searched(
    settings: Settings, workspace: Workspace, sweep: list[History]
) -> dict[str, tuple[int, float]]:
    """Runs of the sweep, of the pilots and of the finer search, and their seconds."""
    pilots = json.loads(workspace.pilot_summary(settings.task).read_text(encoding="utf-8"))
    opponent = workspace.root / "data/opponent" / settings.task
    finer = [
        run
        for run in (read_histories(opponent) if opponent.exists() else [])
        if run.meta["seed"] in settings.sweep.seeds
    ]
    return {
        "sweep": (len(sweep), total_seconds(sweep)),
        "pilots": (pilots["runs"], pilots["seconds"]),
        OPPONENT: (len(finer), total_seconds(finer)),
    }


def sweep_of(settings: Settings, workspace: Workspace) -> list[History]:
    folder = workspace.histories(settings.task)
    return [
        read_history(history_path(folder, run_id))
        for run_id in sweep_run_ids(settings.task, workspace)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    settings, workspace = load(options.params), Workspace(options.params.resolve().parent)
    task = settings.task
    sweep = sweep_of(settings, workspace)
    cost = searched(settings, workspace, sweep)
    pilots = json.loads(workspace.pilot_summary(task).read_text())
    found = rows(workspace, task, set(settings.evaluation.seeds))
    tests = {
        key: {r.meta["seed"]: r.meta["test_metric"] for r in runs} for key, runs in found.items()
    }
    ours = tests["LODE, default", 0.0]
    best = best_baseline(sweep)
    said = "; ".join(
        f"{name} {runs} runs, {seconds:.0f} s" for name, (runs, seconds) in cost.items()
    )
    print(
        f"{said}; pilots' gain {pilots['gain']}, adopted {pilots['adopted']}; "
        f"best of the sweep {best}\n"
    )
    print("| scheduler | peak lr | runs of search | test (%) | λ_max | default LODE minus it |")
    print("|---|---|---|---|---|---|")
    order = sorted(found, key=lambda k: -(summarize(tests[k].values()).mean or 0))
    for key in order:
        name, peak = key
        test = summarize(tests[key].values())
        sharp = summarize((r.meta.get("sharpness") or {}).get("lambda_max") for r in found[key])
        pair = paired_difference(ours, tests[key])
        low, high = (np.nan if v is None else 100 * v for v in (pair.low, pair.high))
        shown = f"{100 * (pair.mean or 0):+.2f} ({low:+.2f} to {high:+.2f})"
        more = "pilots" if name == "LODE, default" else OPPONENT if OPPONENT in name else None
        runs = cost["sweep"][0] + (cost[more][0] if more else 0)
        star = " **best of sweep**" if key == best else ""
        print(
            f"| {name}{star} | {peak or '–'} | {runs} | {100 * (test.mean or 0):.2f} ± "
            f"{100 * (test.std or 0):.2f} (n = {test.n}) | {sharp.mean or np.nan:.3g} ± "
            f"{sharp.std or np.nan:.2g} | {'' if tests[key] is ours else shown} |"
        )
    moved = [sum(d["kept"] is None for d in r.meta["decisions"]) for r in found["LODE, default", 0]]
    print(f"\nplan changed in {sum(m > 0 for m in moved)} of {len(moved)} runs, {sum(moved)} times")


if __name__ == "__main__":
    main()
