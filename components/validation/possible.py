"""What a task's loss and metric can be: a value that no network reaches is of no run."""

from __future__ import annotations

import sys

from components.tasks.own import OwnMetric

LARGEST = sys.float_info.max  # as a bound it excludes infinity and nothing else
MOST_LOSS = 100.0  # ln 10 = 2.3 is what guessing costs among ten classes
METRICS = ("test_metric", "best_val_metric")  # of the metadata


def metric_range(task: str, own: OwnMetric | None = None) -> tuple[float, float]:
    """The smallest and the largest value of a task's metric in its histories: [0, 1] of a share
    ([−1, 0] where they hold its negative), else any number.

    Args:
        own: of a task of the user's own; None: it is of the catalog.
    """
    if not _is_share(task, own):
        return -LARGEST, LARGEST
    return (-1.0, 0.0) if own is not None and own.sign < 0 else (0.0, 1.0)


def loss_range(
    task: str, most: float | None = None, own: OwnMetric | None = None
) -> tuple[float, float]:
    """Of a task's training loss, `most` where somebody has said how much is too much: [0, 100] of a
    classifier's cross-entropy, else any number: a density's may be negative, a squared error is as
    large as its unit makes it."""
    low, high = (0.0, MOST_LOSS) if own is None and _is_share(task) else (-LARGEST, LARGEST)
    return low, high if most is None else most


def _is_share(task: str, own: OwnMetric | None = None) -> bool:
    if own is not None:
        return own.percent
    # Importing the tasks imports torch: only where runs are judged.
    from components.tasks import catalog

    found = catalog.TASKS.get(task)
    return found is not None and found.in_percent


def range_fault(name: str, bounds: tuple[float, float]) -> str:
    """`val_metric outside [0, 1]`."""
    low, high = bounds
    if high == LARGEST:
        return f"{name} infinite"
    return f"{name} above {high:g}" if low == -LARGEST else f"{name} outside [{low:g}, {high:g}]"
