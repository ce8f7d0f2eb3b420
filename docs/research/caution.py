"""Does leaving the plan pay? Runs under several cautions κ on screening seeds, against the plan.

    .venv/bin/python docs/research/caution.py --params params.yaml     # after `lode fit`

κ = inf follows the plan to the end, κ = 0 whatever the judge prefers. Prints test means, paired
differences from the plan and how often it was left.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from components.steps.all_steps import controller_settings

from components.evaluation.statistics import paired_difference
from components.lode.scheduler import load_scheduler
from components.runs.execute import load_data
from components.settings import load
from components.storage.workspace import Workspace
from components.tasks import catalog
from components.training.loop import evaluate, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--cautions", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--seeds", type=int, default=20, help="how many, from 200 on")
    options = parser.parse_args()
    settings, workspace = load(options.params), Workspace(options.params.resolve().parent)
    torch.set_num_threads(1)
    task, training = catalog.get(settings.task), settings.training
    data = load_data(settings.task, workspace.data, training.train_samples, "cpu")
    tests: dict[float, dict[int, float | None]] = {}
    for caution in (math.inf, *options.cautions):
        tests[caution], left = {}, []
        for seed in range(200, 200 + options.seeds):
            chosen = controller_settings(settings) | {"caution": caution}
            scheduler = load_scheduler(
                workspace.lode(settings.task),
                updates=training.updates,
                points=training.points,
                seed=seed,
                **chosen,
            )
            outcome = train(
                task, data, scheduler, seed=seed, updates=training.updates, points=training.points
            )
            outcome.network.load_state_dict(outcome.best_weights)
            tests[caution][seed] = evaluate(task, outcome.network, data.test)
            left.append(sum(d["kept"] is None for d in scheduler.decisions))
        values = [value for value in tests[caution].values() if value is not None]
        pair = paired_difference(tests[caution], tests[math.inf])
        print(
            f"κ = {caution:g}: {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}, minus the "
            f"plan {pair.mean:+.4f} ({pair.low or 0:+.4f} to {pair.high or 0:+.4f}), left "
            f"{np.mean(left):.1f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
