"""What somebody at a terminal is told at the end of an import."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from components.evaluation.metric import Metric
from components.evaluation.ranking import Configuration, configurations
from components.importers.request import Imported
from components.storage.shown import cut

MOST = 12  # lines of a list; the rest is counted


def report(result: Imported) -> str:
    """How many runs, configurations and seeds; what was left out and why; the ranking."""
    lines = [_head(result), f"  columns: {result.columns.describe()}"]
    lines += [f"  {note}" for note in result.notes]
    lines += _joined(result)
    lines += _left_out(result.left_out)
    lines += _ranking(result)
    return "\n".join(lines)


def _head(result: Imported) -> str:
    histories = result.histories
    diverged = sum(not one.completed for one in histories)
    found = len({one.configuration for one in histories})
    seeds = len({one.meta["seed"] for one in histories})
    what = "would come in" if result.written is None else "came in"
    listed = (
        f" of {result.listed} listed"
        if result.listed == result.matched
        else f" of {result.matched} that match ({result.listed} listed)"
    )
    text = (
        f"{result.target.task}: {len(histories)} runs {what}{listed}: {found} configurations, "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, N = {result.updates:,} updates, "
        f"T = {result.points} points"
    )
    if diverged:
        text += f"; {diverged} of them diverged"
    if result.written is not None:
        text += f"; {result.written} files new or changed in {result.target.folder}"
    return text


def _joined(result: Imported) -> list[str]:
    if not result.joined:
        return []
    lines = [f"  {len(result.joined)} joined to the run that has their beginning:"]
    shown = [f"    {run} to {trunk} at step {at:,}" for run, trunk, at in result.joined]
    return lines + _some(shown)


def _left_out(left_out: Mapping[str, str]) -> list[str]:
    if not left_out:
        return ["  nothing was left out"]
    groups: dict[str, list[str]] = defaultdict(list)
    for run, reason in left_out.items():
        groups[re.sub(r"\d[\d,.]*", "#", reason)].append(run)
    lines = [f"  {len(left_out)} left out:"]
    told = []
    for runs in sorted(groups.values(), key=len, reverse=True):
        reason = left_out[runs[0]]
        names = ", ".join(cut(run, 40) for run in runs[:3]) + (", …" if len(runs) > 3 else "")
        same = "" if all(left_out[run] == reason for run in runs) else " (or the like)"
        told.append(f"    {len(runs)}: {reason}{same}: {names}")
    return lines + _some(told)


def _ranking(result: Imported) -> list[str]:
    if not any(len(one.points) for one in result.histories):
        return ["  no run has logged a log point: nothing to rank"]
    ranked = sorted(configurations(result.histories), key=_worth, reverse=True)
    metric = Metric.of(result.histories)
    lines = [f"  best {metric.name}{metric.column} by configuration, {metric.better}:"]
    told = []
    for number, one in enumerate(ranked, 1):
        value = metric.spread(one.validation)
        runs = one.validation.n
        lost = f", {one.diverged} diverged" if one.diverged else ""
        peak = "" if one.peak_lr is None else f" peak {one.peak_lr:g}"
        told.append(f"    {number:2}. {value}  {one.scheduler}{peak} ({runs} runs{lost})")
    return lines + _some(told)


def _worth(one: Configuration) -> float:
    return float("-inf") if one.validation.mean is None else one.validation.mean


def _some(lines: list[str]) -> list[str]:
    if len(lines) <= MOST:
        return lines
    return [*lines[:MOST], f"    … and {len(lines) - MOST} more"]
