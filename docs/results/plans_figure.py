"""Draw the plans that pilots found beside the sweep's best schedules, a panel each, as SVG.

.venv/bin/python docs/results/plans_figure.py --out plans.svg ../r1/params.yaml …
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

from components.settings import load
from components.storage.workspace import Workspace

matplotlib.use("svg")
from matplotlib import pyplot as plt


def draw(axes: plt.Axes, params: Path) -> None:
    settings, workspace = load(params), Workspace(params.resolve().parent)
    pilots = json.loads(workspace.pilot_summary(settings.task).read_text(encoding="utf-8"))
    best = pilots["baseline"]
    share = [100 * k / (len(best["plan"]) - 1) for k in range(len(best["plan"]))]
    name = f"{best['scheduler']} {best['peak_lr']:g}"
    axes.plot(
        share, best["plan"], color="#8a8a8a", dashes=(4, 2), label=f"{name}, the sweep's best"
    )
    verdict = "plan" if pilots["adopted"] else "finalist, refused"
    axes.plot(share, pilots["finalist"], color="#1f5fbf", linewidth=2, label=f"LODE's {verdict}")
    axes.set_title(f"{settings.task}, {settings.training.updates} updates", fontsize=10)
    axes.set(xlabel="training (%)", ylim=(0, None), xlim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.55))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("plans.svg"))
    options = parser.parse_args()
    plt.rcParams["svg.hashsalt"] = "plans"
    size = (3.6 * len(options.params), 3.4)
    figure, panels = plt.subplots(1, len(options.params), figsize=size, squeeze=False)
    for axes, params in zip(panels[0], options.params, strict=True):
        draw(axes, params)
    panels[0][0].set_ylabel("learning rate")
    figure.tight_layout()
    figure.savefig(options.out, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
