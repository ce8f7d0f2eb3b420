"""What the pilots' finalist does on fresh seeds, whether it was adopted or not.

    .venv/bin/python docs/research/finalist.py --params params.yaml

After `lode pilot`. Trains the finalist and the sweep's best configuration on the evaluation's
seeds, and prints the gain that the pilots' confirmation had estimated beside the one found here:
what a looser or a stricter guard would have won or lost. Histories go to `data/finalists/<task>`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from components.steps.all_steps import evaluation_template

from components.evaluation.statistics import paired_difference
from components.runs.job import Job
from components.runs.pool import run_all
from components.runs.progress import progress
from components.schedulers.plan import plan_digest
from components.settings import load
from components.storage.workspace import Workspace
from components.training.history import History


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    settings, workspace = load(options.params), Workspace(options.params.resolve().parent)
    task = settings.task
    pilots = json.loads(workspace.pilot_summary(task).read_text(encoding="utf-8"))
    template = replace(
        evaluation_template(settings, workspace),
        histories=workspace.root / "data" / "finalists" / task,
    )
    plan, baseline = tuple(pilots["finalist"]), pilots["baseline"]
    ways = {
        "finalist": {"scheduler": "plan", "peak_lr": None, "scheduler_digest": plan_digest(plan)},
        "baseline": {"scheduler": baseline["scheduler"], "peak_lr": baseline["peak_lr"]},
    }
    seeds = settings.evaluation.seeds
    jobs = [
        replace(
            template,
            spec=replace(template.spec, seed=seed, **way),  # type: ignore[arg-type]
            plan=plan if name == "finalist" else (),
        )
        for name, way in ways.items()
        for seed in seeds
    ]
    done = _run(jobs, f"finalist {task}")
    ours, theirs = done[: len(seeds)], done[len(seeds) :]
    gain = pilots["gain"]
    print(
        f"{baseline['scheduler']} {baseline['peak_lr']:g}; pilots: gain {_points(gain['mean'])} ± "
        f"{_points(gain['error'])} (n = {gain['n']}), {'' if pilots['adopted'] else 'not '}adopted"
    )
    for name in ("best_val_metric", "test_metric"):
        a, b = ({h.meta["seed"]: h.meta[name] for h in runs} for runs in (ours, theirs))
        pair = paired_difference(a, b)
        print(
            f"{name}: {_points(pair.mean)} ({_points(pair.low)} to {_points(pair.high)}), "
            f"n = {pair.n}"
        )


def _points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:+.2f}"


def _run(jobs: list[Job], title: str) -> list[History]:
    with progress(title, len(jobs)) as advance:
        return run_all(jobs, on_history=lambda job, history: advance(1, history.describe()))


if __name__ == "__main__":
    main()
