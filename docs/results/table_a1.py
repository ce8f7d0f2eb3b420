"""Table A1 of fitted LODEs, a Markdown row each: relative MSE on held-out runs, 5 % / 50 % seen.

    .venv/bin/python docs/results/table_a1.py ../r1/params.yaml ../r2/params.yaml …

Reads `models/lode/<task>/config.json` below each settings' folder, as `lode fit` left it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from components.lode.model import LODE
from components.settings import load
from components.workspace import Workspace


def row(params: Path) -> str:
    settings = load(params)
    table = LODE.load(Workspace(params.resolve().parent).lode(settings.task)).config.fit["table_a1"]
    few, half = (table[share]["held_out"] for share in ("5%", "50%"))
    order = ("train_loss", "log_lr", "val_metric")
    cells = [f"{few[n]['mean']:.3f} / {half[n]['mean']:.3f}" for n in order]
    return f"| {params.parent.name} | {few['train_loss']['runs']} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    print("| folder | held-out runs | train loss | learning rate (log) | validation metric |")
    print("|---|---|---|---|---|")
    for params in parser.parse_args().params:
        print(row(params))


if __name__ == "__main__":
    main()
