"""How the pilots' runs are shared out."""

from __future__ import annotations

from dataclasses import dataclass

from components.runs.comparison import FAMILIES

# Shares of the runs; there are two rounds of proposals, and what is left is the confirmation's,
# about a quarter: it alone decides whether a plan is followed, so it has most seeds.
FINER_SHARE, EXPLORE_SHARE, PROPOSE_SHARE, SCREEN_SHARE = 0.08, 0.12, 0.125, 0.05
FINALISTS = 3  # one of the sweep's own schedulers at a finer peak, and the judge's two favourites


@dataclass(frozen=True)
class Budget:
    """How many runs: `finer` peaks of the sweep's schedulers, random shapes to `explore`, `propose`
    (in each of two rounds), and seeds of the two trials: `screen` for every finalist, `confirm`
    for the best one and for the baseline."""

    finer: int
    explore: int
    propose: int
    screen: int
    confirm: int

    @classmethod
    def of(cls, runs: int) -> Budget:
        """Share out so many runs, at least 20."""
        even = 2 * FAMILIES  # below and above each scheduler's best peak as many
        finer = even * max(1, int(FINER_SHARE * runs / even))
        explore, propose = int(EXPLORE_SHARE * runs), int(PROPOSE_SHARE * runs)
        screen = max(1, int(SCREEN_SHARE * runs))
        left = runs - finer - explore - 2 * propose - FINALISTS * screen
        return cls(finer, explore + left % 2, propose, screen, left // 2)

    @property
    def total(self) -> int:
        tried = self.finer + self.explore + 2 * self.propose
        return tried + FINALISTS * self.screen + 2 * self.confirm
