"""Replications of a setting, each with its own sweep, pilots and fit, as Markdown.

    .venv/bin/python docs/results/replicates_table.py ../r1/params.yaml ../r2/params.yaml …

Reads what `lode train` and `docs/research/opponent.py` left below each settings' folder, for the
evaluation's seeds. The last line is over replications: mean of the differences with Student's
interval, so that it says what another sweep, other pilots and another fit may bring; the lines
above are over the seeds of the final training only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from table import OPPONENT, rows

from components.evaluation.accuracy import best_baseline
from components.evaluation.statistics import PairedDifference, paired_difference
from components.settings import load
from components.steps import sweep_run_ids
from components.training.history import history_path, read_history
from components.workspace import Workspace


def interval(pair: PairedDifference) -> str:
    if pair.mean is None or pair.low is None or pair.high is None:
        return "–"
    return f"{100 * pair.mean:+.2f} ({100 * pair.low:+.2f} to {100 * pair.high:+.2f})"


def one(params: Path) -> tuple[str, float, float | None]:
    """The row of a replication, and its two differences in the units of the metric."""
    settings, workspace = load(params), Workspace(params.resolve().parent)
    task, folder = settings.task, workspace.histories(settings.task)
    sweep = [read_history(history_path(folder, i)) for i in sweep_run_ids(task, workspace)]
    pilots = json.loads(workspace.pilot_summary(task).read_text(encoding="utf-8"))
    found = rows(workspace, task, set(settings.evaluation.seeds))
    tests = {key: {r.meta["seed"]: r.meta["test_metric"] for r in runs}
             for key, runs in found.items()}  # fmt: skip
    ours, best = tests["LODE, default", 0.0], best_baseline(sweep)
    gain = paired_difference(ours, tests[best])
    others = [key for key in tests if OPPONENT in key[0]]
    finer = paired_difference(ours, tests[others[0]]) if others else None
    if others and f"{best[0]} ({OPPONENT})" == others[0][0] and best[1] == others[0][1]:
        shown = f"{interval(gain)}, the same"
    else:
        shown = interval(finer) if finer else "not run"
    assert gain.mean is not None
    error, estimate = pilots["gain"]["error"], pilots["gain"]["mean"]
    seeds = f"{min(settings.sweep.seeds)}–{max(settings.sweep.seeds)}"
    said = "–" if estimate is None else f"{100 * estimate:+.2f} ± {100 * error:.2f}"
    row = (
        f"| {seeds} | {best[0]} {best[1]:g} | {said} | "
        f"{'adopted' if pilots['adopted'] else 'refused'} | {interval(gain)} | {shown} |"
    )
    return row, gain.mean, finer.mean if finer else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    print("| sweep seeds | the sweep's best | pilots' gain | plan | minus the sweep's best | "
          "minus the finer search's |\n|---|---|---|---|---|---|")  # fmt: skip
    gains, finer = [], []
    for params in parser.parse_args().params:
        row, gain, other = one(params)
        print(row)
        gains.append(gain)
        finer += [] if other is None else [other]
    over = [interval(paired_difference(dict(enumerate(v)), dict.fromkeys(range(len(v)), 0.0)))
            for v in (gains, finer) if v]  # fmt: skip
    print(f"| **all** (n = {len(gains)}) | | | | **{over[0]}** | {over[-1] if finer else '–'} |")
    print(f"\nstandard deviation over replications: {100 * np.std(gains, ddof=1):.2f}"
          if len(gains) > 1 else "")  # fmt: skip


if __name__ == "__main__":
    main()
