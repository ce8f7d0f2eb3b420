"""All tasks' results in the layout of the paper's Table 1, and what was not run said so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.evaluation.errors import EvaluationError
from components.schedulers.names import LODE, label

NOT_RUN = "not run"
# The paper's columns and rows first, in its order; what else was evaluated follows.
COLUMNS = {
    "fashion-mnist-cnn": "Fashion-MNIST CNN",
    "fashion-mnist-resnet18": "Fashion-MNIST ResNet18",
    "cifar100-resnet18": "CIFAR-100 ResNet18",
    "imagenet-resnet34": "ImageNet ResNet34",
    "tinystories-minigpt": "TinyStories transformer",
}
ROWS = (
    "constant",
    "cosine",
    "onecycle",
    "exp-decay",
    "hypergradient",
    "rl-controller",
    "schedule-free",
    LODE,
)


def overview(reports: Path, *, markdown: bool = False) -> str:
    """Table 1 (test metric in %, mean ± std over seeds) from `<reports>/<task>/evaluation.json`.

    Raises:
        EvaluationError: an evaluation.json is not readable.
    """
    found = {path.parent.name: _read(path) for path in sorted(reports.glob("*/evaluation.json"))}
    tasks = [*COLUMNS, *(task for task in found if task not in COLUMNS)]
    others = {name for e in found.values() for name in e["schedulers"]} - set(ROWS)
    rows = [*ROWS[:-1], *sorted(others), LODE]
    table = [["Scheduler", *(COLUMNS.get(task, task) for task in tasks)]]
    table += [[label(name), *(_cell(found.get(task), name) for task in tasks)] for name in rows]
    table.append(["seeds", *(_seeds(found.get(task)) for task in tasks)])
    return _markdown(table) if markdown else _text(table)


def _read(path: Path) -> dict[str, Any]:
    try:
        evaluation: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        evaluation["schedulers"], evaluation["setup"]["seeds"]
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: unreadable ({error}); run `lode evaluate` again") from None
    return evaluation


def _cell(evaluation: Mapping[str, Any] | None, scheduler: str) -> str:
    entry = evaluation["schedulers"].get(scheduler) if evaluation else None
    if entry is None:
        return NOT_RUN
    mean, std = entry["test"]["mean"], entry["test"]["std"]
    if mean is None:
        return "diverged"
    return f"{100 * mean:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")


def _seeds(evaluation: Mapping[str, Any] | None) -> str:
    return str(len(evaluation["setup"]["seeds"])) if evaluation else ""


def _markdown(table: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def _text(table: list[list[str]]) -> str:
    """Tasks as blocks of a few columns each, so that lines stay within a terminal's 80."""
    blocks = []
    for first in range(1, len(table[0]), 2):
        columns = [[row[0], *row[first : first + 2]] for row in table]
        widths = [max(len(row[i]) for row in columns) for i in range(len(columns[0]))]
        blocks.append(
            "\n".join(
                "  ".join(
                    cell.ljust(width) if i == 0 else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                ).rstrip()
                for row in columns
            )
        )
    return "\n\n".join(blocks)
