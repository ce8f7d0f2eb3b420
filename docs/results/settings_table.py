"""Several settings side by side as Markdown: test accuracy and λ_max of every scheduler, and costs.

    .venv/bin/python docs/results/settings_table.py M500/params.yaml …

Reads what `table.py` reads, of every folder, and names the columns as the folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from table import OPPONENT, rows, searched, sweep_of

from components.evaluation.statistics import summarize
from components.settings import load
from components.storage.workspace import Workspace
from components.training.history import History


def cell(runs: list[History]) -> str:
    """Mean ± standard deviation in per cent and, in brackets, the mean λ_max."""
    test = summarize(run.meta["test_metric"] for run in runs)
    sharp = summarize((run.meta.get("sharpness") or {}).get("lambda_max") for run in runs)
    if test.mean is None or test.n < len(runs):
        raise SystemExit(f"{runs[0].describe()} and its like: {test.n} of {len(runs)} were tested")
    said = f"{100 * test.mean:.2f} ± {100 * (test.std or 0):.2f}"
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
    cost = searched(settings, workspace, sweep_of(settings, workspace))
    for name, (count, seconds) in cost.items():
        found[f"runs of the {name}, their seconds"] = f"{count}, {seconds:.0f}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    options = parser.parse_args()
    columns = {path.resolve().parent.name: column(path) for path in options.params}
    order = [
        "fresh seeds",
        "LODE, default",
        "LODE, paper",
        OPPONENT,
        "onecycle",
        "constant",
        "exp-decay",
        "cosine",
    ]
    names = dict.fromkeys([*order, *(name for one in columns.values() for name in one)])
    print("| | " + " | ".join(columns) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for name in names:
        print(f"| {name} | " + " | ".join(one.get(name, "–") for one in columns.values()) + " |")


if __name__ == "__main__":
    main()
