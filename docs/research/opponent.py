"""The honest opponent: the best baseline after a finer search that costs as much as the pilots.

    .venv/bin/python docs/research/opponent.py --params params.yaml

After `lode sweep` and `lode validate`. Takes the sweep's two best schedulers, sweeps each over 10
peak learning rates from 0.4 to 2.5 times its best one, on the sweep's seeds, as many runs as the
default grid of 20 configurations; takes the best configuration of both sweeps by mean validation
metric, and trains it on the evaluation's fresh seeds. Histories go to `data/opponent/<task>`.
`--baselines` trains the evaluation's baselines instead, which `lode train` does too.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from components.steps.all_steps import evaluation_template, sweep_plan, sweep_run_ids

from components.evaluation.accuracy import best_configurations, configurations, ranked_baselines
from components.runs.job import Job
from components.runs.pool import run_all
from components.runs.progress import progress
from components.settings import load
from components.storage.workspace import Workspace
from components.training.history import History, history_path, read_history

FAMILIES, PEAKS, REACH = 2, 10, 2.5


def finer(sweep: list[History]) -> list[tuple[str, float]]:
    """The configurations of the finer search."""
    factors = np.geomspace(1 / REACH, REACH, PEAKS)
    families = ranked_baselines(sweep)[:FAMILIES]
    return [(name, float(f"{best * f:.3g}")) for name, best in families for f in factors]


def run(jobs: list[Job], title: str) -> list[History]:
    with progress(title, len(jobs)) as advance:
        return run_all(jobs, on_history=lambda job, history: advance(1, history.describe()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--baselines", action="store_true")
    options = parser.parse_args()
    settings, workspace = load(options.params), Workspace(options.params.resolve().parent)
    folder = workspace.histories(settings.task)
    ids = sweep_run_ids(settings.task, workspace)
    sweep = [read_history(history_path(folder, run_id)) for run_id in ids]
    fresh = evaluation_template(settings, workspace)
    if options.baselines:
        wanted = list(best_configurations(sweep).items())
    else:
        plan = sweep_plan(settings, workspace)
        into = workspace.root / "data" / "opponent" / settings.task
        template = replace(plan.template, histories=into)
        jobs = [
            job
            for configuration in finer(sweep)
            for job in replace(plan, template=template).jobs(*configuration)
        ]
        searched = run(jobs, f"finer search {settings.task}")
        both = configurations([*sweep, *searched])
        best = max(both, key=lambda c: (c.diverged == 0, c.validation.mean or 0.0))
        wanted = [(best.scheduler, best.peak_lr)]
        fresh = replace(fresh, histories=into)
        print(
            f"{len(jobs)} runs; best: {best.scheduler} {best.peak_lr:g} {best.validation.mean:.4f}"
        )
    specs = [
        replace(fresh.spec, scheduler=name, peak_lr=peak_lr, seed=seed)
        for name, peak_lr in wanted
        for seed in settings.evaluation.seeds
    ]
    done = run([replace(fresh, spec=spec) for spec in specs], f"fresh seeds {settings.task}")
    tests = {
        name: [h.meta["test_metric"] for h in done if h.meta["scheduler"] == name]
        for name, _ in wanted
    }
    for (name, peak_lr), values in zip(wanted, tests.values(), strict=True):
        numbers = np.array([v for v in values if v is not None])
        print(f"{name} {peak_lr:g}: test {numbers.mean():.4f} ± {numbers.std(ddof=1):.4f}")


if __name__ == "__main__":
    main()
