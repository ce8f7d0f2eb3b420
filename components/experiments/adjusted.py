"""p-values of the differences that a page of docs shows, adjusted for their number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import click
from scipy import stats

from components.evaluation.notation import MINUS, p_value
from components.evaluation.statistics import CONFIDENCE, holm
from components.evaluation.tables import Table
from components.experiments.command import Command, ExperimentError

_NUMBER = rf"[+{MINUS}-]?\d+(?:\.\d+)?"
_INTERVAL = re.compile(rf"({_NUMBER}) \(({_NUMBER}) to ({_NUMBER})\)")


@dataclass(frozen=True)
class Shown:
    """A difference as printed: what it is of, its mean and 95 % interval."""

    name: str
    mean: float
    low: float
    high: float


@click.command(cls=Command)
@click.argument("page", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--seeds", required=True, help="n behind each difference, or one for all: 40,40,20.")
@click.option("--under", default="", help="Only below the first line that contains this text.")
def main(page: Path, seeds: str, under: str) -> None:
    """Print p-values of all differences in the first table of PAGE, adjusted for their number.

    Differences are cells like `+0.23 (+0.05 to +0.41)`: mean and Student's 95 % interval, from
    which the paired t test's p-value follows as exactly as they are printed. Adjusted by Holm's
    method for all of the table together.

    \b
    .venv/bin/python -m components.experiments.adjusted README.md --seeds 40,20,40,20 --under Points
    """
    found = differences(page.read_text(encoding="utf-8"), under)
    if not found:
        raise ExperimentError(f"{page}: no difference like `+0.23 (+0.05 to +0.41)` in a table")
    try:
        numbers = [int(n) for n in seeds.split(",")]
        click.echo(adjusted_table(found, numbers * len(found) if len(numbers) == 1 else numbers))
    except ValueError as error:
        raise ExperimentError(f"--seeds {seeds}: {error}") from None


def differences(text: str, under: str = "") -> list[Shown]:
    """Those of the first table that has any, row by row."""
    found: list[Shown] = []
    for line in dropwhile(lambda line: under not in line, text.splitlines()):
        if not line.startswith("|"):
            if found:
                break
            continue
        name = line.strip("|").split("|")[0].strip()
        for mean, low, high in _INTERVAL.findall(line.replace("*", "")):  # bold or not
            found.append(Shown(name, *map(_number, (mean, low, high))))
    return found


def adjusted_table(found: Sequence[Shown], seeds: Sequence[int]) -> str:
    """A row per difference, with its p-value and the adjusted one.

    Raises:
        ValueError: there are not as many seeds as differences.
    """
    pairs = list(zip(found, seeds, strict=True))
    p_values = [p_of(one, n) for one, n in pairs]
    rows = [
        (one.name, f"{one.mean:+.2f}".replace("-", MINUS), str(n), p_value(p), p_value(adjusted))
        for (one, n), p, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    ]
    return Table.of(("of", "difference", "n", "p", "p, adjusted"), rows).markdown()


def p_of(shown: Shown, n: int) -> float:
    """Two-sided p-value of Student's t test behind a mean of n differences and its interval."""
    reach = (shown.high - shown.low) / 2
    if reach == 0:
        return 1.0 if shown.mean == 0 else 0.0
    error = reach / float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    return 2 * float(stats.t.sf(math.fabs(shown.mean) / error, n - 1))


def _number(text: str) -> float:
    return float(text.replace(MINUS, "-"))


if __name__ == "__main__":
    main()
