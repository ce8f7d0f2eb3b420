"""Replications of a setting, each with its own sweep, pilots and fit, as Markdown.

    .venv/bin/python docs/results/replicates_table.py ../r1/params.yaml ../r2/params.yaml …

Reads what `lode train` and `docs/research/opponent.py` left below each settings' folder, for the
evaluation's seeds. The last line is over replications: mean of the differences with Student's
interval, so that it says what another sweep, other pilots and another fit may bring; the lines
above are over the seeds of the final training only. The line before it is over those seeds as
well, of every seed's mean over the replications: how sure these plans' mean is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from table import OPPONENT, rows, sweep_of

from components.evaluation.accuracy import best_baseline
from components.evaluation.statistics import PairedDifference, paired_difference
from components.settings import load
from components.storage.workspace import Workspace


def interval(pair: PairedDifference) -> str:
    if pair.mean is None or pair.low is None or pair.high is None:
        return "–"
    return f"{100 * pair.mean:+.2f} ({100 * pair.low:+.2f} to {100 * pair.high:+.2f})"


Differences = dict[int, float]  # seed to LODE minus another, in the units of the metric


def one(params: Path) -> tuple[str, Differences, Differences | None]:
    """The row of a replication; differences to the sweep's best and to the finer search's."""
    settings, workspace = load(params), Workspace(params.resolve().parent)
    task, sweep = settings.task, sweep_of(settings, workspace)
    pilots = json.loads(workspace.pilot_summary(task).read_text(encoding="utf-8"))
    found = rows(workspace, task, set(settings.evaluation.seeds))
    tests = {
        key: {r.meta["seed"]: r.meta["test_metric"] for r in runs} for key, runs in found.items()
    }
    ours, best = tests["LODE, default", 0.0], best_baseline(sweep)
    gain = paired_difference(ours, tests[best])
    others = [key for key in tests if OPPONENT in key[0]]
    theirs = tests[others[0]] if others else None
    finer = paired_difference(ours, theirs) if theirs else None
    if others and f"{best[0]} ({OPPONENT})" == others[0][0] and best[1] == others[0][1]:
        shown = f"{interval(gain)}, the same"
    else:
        shown = interval(finer) if finer else "not run"
    error, estimate = pilots["gain"]["error"], pilots["gain"]["mean"]
    seeds = f"{min(settings.sweep.seeds)}–{max(settings.sweep.seeds)}"
    said = "–" if estimate is None else f"{100 * estimate:+.2f} ± {100 * error:.2f}"
    row = (
        f"| {seeds} | {best[0]} {best[1]:g} | {said} | "
        f"{'adopted' if pilots['adopted'] else 'refused'} | {interval(gain)} | {shown} |"
    )
    return row, difference(ours, tests[best]), difference(ours, theirs) if theirs else None


def difference(ours: dict[int, float | None], theirs: dict[int, float | None]) -> Differences:
    pairs = {seed: (ours[seed], theirs[seed]) for seed in ours.keys() & theirs.keys()}
    return {s: a - b for s, (a, b) in pairs.items() if a is not None and b is not None}


def above_zero(differences: Differences) -> str:
    return interval(paired_difference(differences, dict.fromkeys(differences, 0.0)))


def over_seeds(replications: list[Differences]) -> Differences:
    """Mean over the replications of every seed that all of them have."""
    seeds = set.intersection(*(set(one) for one in replications))
    return {seed: float(np.mean([one[seed] for one in replications])) for seed in sorted(seeds)}


def over_replications(replications: list[Differences]) -> Differences:
    return {i: float(np.mean(list(one.values()))) for i, one in enumerate(replications)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    print(
        "| sweep seeds | the sweep's best | pilots' gain | plan | minus the sweep's best | "
        "minus the finer search's |\n|---|---|---|---|---|---|"
    )
    gains: list[Differences] = []
    finer: list[Differences] = []
    for params in parser.parse_args().params:
        row, gain, other = one(params)
        print(row)
        gains.append(gain)
        finer += [] if other is None else [other]
    for name, over in (("seeds", over_seeds), ("replications", over_replications)):
        cells = [above_zero(over(found)) if found else "–" for found in (gains, finer)]
        print(f"| **all {len(gains)}, over {name}** | | | | **{cells[0]}** | {cells[1]} |")
    print(
        f"\nstandard deviation over replications: "
        f"{100 * np.std(list(over_replications(gains).values()), ddof=1):.2f}"
        if len(gains) > 1
        else ""
    )


if __name__ == "__main__":
    main()
