"""What a scheduler costs: seconds per epoch, as the runs measured it (the paper's Table 5)."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.statistics import Summary, summarize
from components.training.history import History


def seconds_per_epoch(histories: Sequence[History]) -> Summary:
    """Mean ± std over runs of the seconds an epoch took: training and scheduling, not validation.

    A diverged run stopped early and often mid-epoch, so only completed runs count.
    """
    return summarize(h.meta.get("seconds_per_epoch") for h in histories if h.completed)


def decision_shares(histories: Sequence[History]) -> Summary:
    """Mean ± std over runs of the share of an epoch's seconds in which the scheduler decided.

    Measured inside each run, so it means the same however busy the machine was. Runs of scripts
    and of earlier versions do not know it.
    """

    def share(history: History) -> float | None:
        decided, epoch = (
            history.meta.get(key) for key in ("decision_seconds", "seconds_per_epoch")
        )
        if decided is None or not epoch:
            return None
        return float(decided / (epoch * history.points["epoch"].iloc[-1]))

    return summarize(share(h) for h in histories if h.completed)


def total_seconds(histories: Sequence[History]) -> float:
    """Training seconds of all runs together, i.e. on one worker: what a sweep costs."""
    return float(sum(h.points["elapsed_s"].iloc[-1] for h in histories if len(h.points)))
