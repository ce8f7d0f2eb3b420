"""Regret after so many runs paid: of one strategy over its games, and several as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.notation import NONE
from components.evaluation.tables import Table

LOOKS = (7, 14, 25, 50, 100)  # run-equivalents at which a table looks, unless told others


@dataclass(frozen=True)
class Curve:
    """Regret (games, budget) of a strategy after 1, 2, … run-equivalents."""

    strategy: str
    regrets: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        found: np.ndarray = np.nanmean(self.regrets, 0)
        return found

    @property
    def error(self) -> np.ndarray:
        """Standard error over the games, which share one pool."""
        found: np.ndarray = np.nanstd(self.regrets, 0, ddof=1) / np.sqrt(len(self.regrets))
        return found


def table(curves: Sequence[Curve], budget: int, looks: Sequence[int] = LOOKS) -> Table:
    """Mean ± standard error where it is looked; a dash beyond what a strategy paid."""
    own = [at for at in looks if at <= budget]
    rows = [
        [curve.strategy, str(len(curve.regrets)), *(_cell(curve, at) for at in own)]
        for curve in curves
    ]
    return Table.of(("strategy", "games", *(f"{at} runs" for at in own)), rows)


def _cell(curve: Curve, at: int) -> str:
    if at > curve.regrets.shape[1]:
        return NONE
    return f"{curve.mean[at - 1]:.4f} ± {curve.error[at - 1]:.4f}"
