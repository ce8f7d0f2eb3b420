"""What a task's metric can be: a value that no network reaches is of no run."""

from __future__ import annotations

import sys

LARGEST = sys.float_info.max  # as a bound it excludes infinity and nothing else
METRICS = ("test_metric", "best_val_metric")  # of the metadata


def metric_range(task: str) -> tuple[float, float]:
    """The smallest and the largest value of a task's metric: [0, 1] of a share, else any number."""
    # Importing the tasks imports torch: only where runs are judged.
    from components.tasks import catalog

    found = catalog.TASKS.get(task)
    return (0.0, 1.0) if found is not None and found.in_percent else (-LARGEST, LARGEST)


def metric_fault(name: str, bounds: tuple[float, float]) -> str:
    """`val_metric outside [0, 1]`."""
    low, high = bounds
    return f"{name} infinite" if high == LARGEST else f"{name} outside [{low:g}, {high:g}]"
