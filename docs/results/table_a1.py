"""Table A1 of fitted LODEs as Markdown, beside two yardsticks.

    .venv/bin/python docs/results/table_a1.py ../r1/params.yaml ../r2/params.yaml …

Reads what `lode sweep` and `lode fit` left below each settings' folder. A row's first three cells
are relative MSE on held-out runs with 5 % / 50 % of them seen, the fourth that of the metric on
fitted runs (the paper says of none that they were held out). The last two are of the sweep's
validation metric, in the same unit: the error of predicting each run by the mean of its
configuration's other seeds (what seeds scatter; a LODE, which sees the run, may do better), and
the variance of the noise from one log point to the next (a sixth of the mean squared second
difference; with few points, curvature is in it too).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from table import sweep_of

from components.lode.model import LODE
from components.settings import Settings, load
from components.storage.workspace import Workspace


def floors(settings: Settings, workspace: Workspace) -> tuple[float, float]:
    """Error of the same configuration's other seeds, and noise between log points."""
    runs = [run for run in sweep_of(settings, workspace) if run.completed]
    by = defaultdict(list)
    for run in runs:
        series = run.points["val_metric"].to_numpy(np.float64)
        by[run.meta["scheduler"], run.meta["peak_lr"]].append(series)
    groups = [np.stack(group) for group in by.values() if len(group) > 1]
    together = np.concatenate(groups)
    errors = []
    for group in groups:
        others = (group.sum(0) - group) / (len(group) - 1)
        errors.extend(((others - group) ** 2).mean(1))
    noise = (np.diff(together, 2, axis=1) ** 2).mean() / 6
    return float(np.mean(errors) / together.var()), float(noise / together.var())


def row(params: Path) -> str:
    settings, workspace = load(params), Workspace(params.resolve().parent)
    table = LODE.load(workspace.lode(settings.task)).config.fit["table_a1"]
    order = [("held_out", name) for name in ("train_loss", "log_lr", "val_metric")]
    cells = [
        " / ".join(f"{table[share][part][name]['mean']:.3f}" for share in ("5%", "50%"))
        for part, name in [*order, ("fitted", "val_metric")]
    ]
    cells += [f"{floor:.3f}" for floor in floors(settings, workspace)]
    runs = table["5%"]["held_out"]["train_loss"]["runs"]
    return f"| {params.parent.name} | {runs} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    print(
        "| folder | held-out runs | train loss | learning rate (log) | validation metric | "
        "the same, fitted | other seeds | noise |\n" + 8 * "|---" + "|"
    )
    for params in parser.parse_args().params:
        print(row(params))


if __name__ == "__main__":
    main()
