"""Scripts of people who know nothing of this project but the two files of the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.runs.job import Job
from components.tasks.own import Command, OwnMetric
from components.training.run import RunSpec

ACCURACY = OwnMetric("accuracy", "maximize", percent=True)
LOSS = OwnMetric("val_loss", "minimize")

# Learns the better the nearer its rate is to 0.05; `{body}` is where a test has it misbehave.
PLAIN = """\
import json, math, os, random, signal, subprocess, sys, time
run = json.load(open(os.environ["LODE_RUN"]))
rng = random.Random(run["seed"])
loss, rows = 2.3, [["step", "train_loss", "val_metric", "lr"]]
for step in range(run["updates"]):
    lr = run["lr"][step]
    loss -= 3 / run["updates"] * loss * math.exp(-abs(math.log(max(lr, 1e-9) / 0.05)))
    loss += 0.001 * rng.gauss(0, 1)
    if step + 1 in run["log_steps"]:
        rows.append([step + 1, loss, math.exp(-abs(loss)), lr])
{body}
with open(run["history"], "w") as log:
    log.write("\\n".join(",".join(map(str, row)) for row in rows) + "\\n")
"""


def write_script(folder: Path, body: str = "", name: str = "train.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(PLAIN.replace("{body}", body), encoding="utf-8")
    return path


def job(root: Path, line: str = "python3 train.py", **changes: Any) -> Job:
    """A run of 40 updates and 20 points under a constant rate, in the folder `root`."""
    metric, timeout = changes.pop("metric", ACCURACY), changes.pop("timeout", 60.0)
    fields = {"task": "mine", "scheduler": "constant", "peak_lr": 0.05, "seed": 3}
    spec = RunSpec(**{**fields, "updates": 40, "points": 20, **changes})
    folder = changes.pop("folder", ".")
    own = Command(line, str(root), folder, metric, timeout)
    return Job(spec, root / "data" / "histories" / "mine", root / "data", own=own)
