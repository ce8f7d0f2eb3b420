"""How the pilots' runs are shared out."""

from __future__ import annotations

from dataclasses import dataclass

from components.runs.comparison import FAMILIES

# Shares of the runs. The trial of the finalists takes half: it alone decides whether a plan is
# followed (docs/research/scheduler.md, entry 25). What trial, finer peaks and shapes leave is
# proposed by the LODE.
FINER_SHARE, EXPLORE_SHARE, TRIAL_SHARE = 0.08, 0.12, 0.48
FINALISTS = 2  # the judge's favourites, one of the sweep's own schedulers where it may be better
SWEEP_SEEDS_SHARE = 2 / 3  # of the trial: of seeds on which the baseline need not be run again
MOST_PAIRS = 10  # fresh pairs of a trial; its standard error is then .3 of a difference's spread


@dataclass(frozen=True)
class Budget:
    """How many runs: `finer` peaks of the sweep's schedulers, random shapes to `explore`, plans to
    `propose`; of the trial `paired`, sweep seeds that every finalist is run on (on one of them it
    was run before), and `pairs`, fresh seeds at most, for the best finalist and the baseline."""

    finer: int
    explore: int
    propose: int
    paired: int
    pairs: int

    @classmethod
    def of(cls, runs: int, seeds: int) -> Budget:
        """Share out so many runs, at least 20, beside a sweep of so many seeds."""
        trial = int(TRIAL_SHARE * runs)
        paired = min(seeds, 1 + int(SWEEP_SEEDS_SHARE * trial) // FINALISTS)
        again = FINALISTS * (paired - 1)
        pairs = min(MOST_PAIRS, (trial - again) // 2)
        even = 2 * FAMILIES  # below and above each scheduler's best peak as many
        finer = even * max(1, int(FINER_SHARE * runs / even))
        explore = int(EXPLORE_SHARE * runs)
        propose = runs - finer - explore - again - 2 * pairs
        return cls(finer, explore, propose, paired, pairs)

    @property
    def total(self) -> int:
        """Runs at most: a trial that is decided early leaves some."""
        tried = self.finer + self.explore + self.propose
        return tried + FINALISTS * (self.paired - 1) + 2 * self.pairs
