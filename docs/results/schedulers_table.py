"""The evaluation of one setting, all schedulers, as Markdown.

    .venv/bin/python docs/results/schedulers_table.py --params params.yaml

Reads reports/<task>/evaluation.json, which `lode evaluate` left below the settings' folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from components.settings import load
from components.storage.workspace import Workspace


def _price(price: dict[str, Any]) -> str:
    parts = [f"{price['search']}"] if price["search"] else []
    parts += [f"{price['learning']:g} to learn"] if price["learning"] else []
    parts += [f"× {price['factor']:g} per result"] if price["factor"] != 1 else []
    return ", ".join(parts)


def _difference(difference: dict[str, Any] | None) -> str:
    if difference is None:
        return ""
    mean, low, high = (100 * difference[key] for key in ("mean", "low", "high"))
    said = f"{mean:+.2f} ({low:+.2f} to {high:+.2f})".replace("-", "−")
    return f"**{said}**" if low > 0 or high < 0 else said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    settings, workspace = load(options.params), Workspace(options.params.resolve().parent)
    path = workspace.reports(settings.task) / "evaluation.json"
    evaluation = json.loads(path.read_text())
    print("| scheduler | peak lr | test (%) | λ_max | search (runs) | LODE minus it (points) |")
    print("|---|---|---|---|---|---|")
    rows = evaluation["schedulers"].items()
    for name, row in sorted(rows, key=lambda row: -row[1]["test"]["mean"]):
        test, sharpness = row["test"], row["sharpness"]
        against = evaluation["comparisons"]["lode"].get(name)
        print(
            f"| `{name}` | {row['peak_lr'] or ''} "
            f"| {100 * test['mean']:.2f} ± {100 * test['std']:.2f} "
            f"| {sharpness['mean']:.3g} ± {sharpness['std']:.2g} | {_price(row['price'])} "
            f"| {_difference(against)} |"
        )


if __name__ == "__main__":
    main()
