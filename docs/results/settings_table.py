"""Several settings side by side as Markdown: test accuracy and λ_max of every scheduler, and costs.

    .venv/bin/python docs/results/settings_table.py M500/params.yaml …

Reads what `table.py` reads, of every folder, and names the columns as the folders.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from table import OPPONENT, rows

from components.evaluation.statistics import summarize
from components.evaluation.walltime import total_seconds
from components.settings import load
from components.steps import sweep_run_ids
from components.training.history import History, history_path, read_histories, read_history
from components.workspace import Workspace


def cell(runs: list[History]) -> str:
    """Mean ± standard deviation in per cent and, in brackets, the mean λ_max."""
    test = summarize(run.meta["test_metric"] for run in runs)
    sharp = summarize((run.meta.get("sharpness") or {}).get("lambda_max") for run in runs)
    said = f"{100 * (test.mean or 0):.2f} ± {100 * (test.std or 0):.2f}"
    return said + (f" ({sharp.mean:.3g})" if sharp.mean is not None else "")


def column(params: Path) -> dict[str, str]:
    settings, workspace = load(params), Workspace(params.resolve().parent)
    task, seeds = settings.task, set(settings.evaluation.seeds)
    found: dict[str, str] = {"fresh seeds": str(len(seeds))}
    for (name, peak), runs in rows(workspace, task, seeds).items():
        name = OPPONENT if OPPONENT in name else name
        if len(runs) != len(seeds):
            raise SystemExit(f"{params}: {name} {peak} has {len(runs)} of {len(seeds)} fresh seeds")
        if name in found:
            raise SystemExit(f"{params}: {name} was trained at several peak rates")
        found[name] = cell(runs)
    folder = workspace.histories(task)
    sweep = [read_history(history_path(folder, i)) for i in sweep_run_ids(task, workspace)]
    pilots = json.loads(workspace.pilot_summary(task).read_text())
    opponent = workspace.root / "data/opponent" / task
    finer = [run for run in (read_histories(opponent) if opponent.exists() else [])
             if run.meta["seed"] in settings.sweep.seeds]  # fmt: skip
    for label, runs, seconds in (
        ("the sweep", len(sweep), total_seconds(sweep)),
        ("the pilots", pilots["runs"], pilots["seconds"]),
        ("the finer search", len(finer), total_seconds(finer)),
    ):
        found[f"runs of {label}, their seconds"] = f"{runs}, {seconds:.0f}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    options = parser.parse_args()
    columns = {path.resolve().parent.name: column(path) for path in options.params}
    order = ["fresh seeds", "LODE, default", "LODE, paper", OPPONENT, "onecycle", "constant",
             "exp-decay", "cosine"]  # fmt: skip
    names = dict.fromkeys([*order, *(name for one in columns.values() for name in one)])
    print("| | " + " | ".join(columns) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for name in names:
        print(f"| {name} | " + " | ".join(one.get(name, "–") for one in columns.values()) + " |")


if __name__ == "__main__":
    main()
