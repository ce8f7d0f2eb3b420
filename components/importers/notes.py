"""What the user should know of runs that come in all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.importers.configurations import Run, differences
from components.importers.shapes import warm_up
from components.storage.shown import cut

MOST = 8  # parameters named in one line


def differing(
    runs: Sequence[Run], configuration: Mapping[str, tuple[str, float]], known: set[str]
) -> list[str]:
    """Of parameters, other than `known`, that differ between runs of one configuration."""
    found = differences(runs, configuration, known)
    told = ", ".join(f"{cut(key, 40)} ({count})" for key, count in list(found.items())[:MOST])
    return [
        f"within a configuration these differ, as if by chance alone: {told}; tell them apart with "
        "--group, or take one value with --match"
    ] * bool(found)


def hidden_warm_up(runs: Sequence[Run], updates: int, points: int) -> list[str]:
    """Of a warm-up that no log point shows."""
    rises = [warm_up(run.log.rows) for run in runs if run.completed]
    hidden = [rise for rise in rises if 0 < rise < updates / points]
    if not hidden:
        return []
    return [
        f"a warm-up of {min(hidden)} updates ends before the first log point (update "
        f"{round(updates / points)}), where the LODE does not see it; --points "
        f"{-(-updates // min(hidden))} shows it, or keep it in your script"
    ]
