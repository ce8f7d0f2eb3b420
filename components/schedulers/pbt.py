"""Population-based training (Jaderberg et al. 2017, arXiv:1711.09846) of the learning rate.

`members` networks train side by side, each at a rate of its own. Every `INTERVAL` of the log points
those in the bottom quarter (by validation metric) copy weights, optimizer state and rate of one in
the top quarter, drawn uniformly; the copied rate is then drawn anew from the prior with probability
`RESAMPLE`, else multiplied by one of `FACTORS`. Quarter, factors and probability are Ray Tune's
defaults. Everybody waits for everybody (Ray's is asynchronous by default), which makes a run
repeatable. There are no bounds: factors may lead a rate out of the prior's range, as in Ray.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from components.tasks.catalog import Task
from components.tasks.datasets import Data
from components.training.history import COMPLETED
from components.training.loop import Outcome, log_points
from components.training.scheduler import Price, Scheduler, Training

QUANTILE = 0.25  # share of the population that copies, and share that is copied from
RESAMPLE = 0.25
FACTORS = (1.2, 0.8)
INTERVAL = 0.05  # share of the training between two exchanges
SEEDS_APART = 1000  # member i of a run with seed s trains with seed 1000 s + i


class PBTError(ValueError):
    """A population cannot be set up; the message names the setting and what is valid."""


class Population(Scheduler):
    """The settings of a population and, after `train_population`, its schedules.

    Args:
        lr_range: lowest and highest rate of the log-uniform prior; the sweep's range is a choice
            that gives every method the same knowledge.
        members: n, 2 or more; the result costs so many trainings.
        exploit: False leaves n independent trainings at constant rates.

    Attributes:
        population: JSON-able, after the training: `lrs` (T lists of n rates, those of the last
            update before each log point), `copies` ([log point, from, to]), `best` (index).

    Raises:
        PBTError: an impossible range or size.
    """

    def __init__(
        self, lr_range: tuple[float, float], members: int = 8, *, exploit: bool = True
    ) -> None:
        low, high = lr_range
        if not 0 < low <= high < math.inf or members < 2:
            raise PBTError(
                f"population of {members} on learning rates {low:g} to {high:g}: at least 2 "
                "members and 0 < lowest <= highest are needed; the range is that of sweep.peak_lrs"
            )
        self.lr_range, self.members, self.exploit = (low, high), members, exploit
        self.price = Price(run_factor=float(members), note="the whole population trains")
        self.population: dict[str, Any] = {"lrs": [], "copies": [], "best": None}

    def draw(self, rng: np.random.Generator) -> float:
        """A rate from the prior."""
        low, high = self.lr_range
        return float(math.exp(rng.uniform(math.log(low), math.log(high))))

    def explore(self, rate: float, rng: np.random.Generator) -> float:
        """What becomes of a copied rate."""
        if rng.random() < RESAMPLE:
            return self.draw(rng)
        return rate * float(rng.choice(FACTORS))


class Member(Scheduler):
    """One member as its training's scheduler: the rate in force, and a hold on what is copied.

    The rate is that of the optimizer's first group; the ratios of others to it are the task's and
    every member's.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def attach(self, training: Training) -> Optimizer:
        self._network, self._optimizer = training.network, super().attach(training)
        return self._optimizer

    def lr(self, step: int) -> float:
        return self.rate

    def copy_from(self, other: Member) -> None:
        """Take over weights, buffers, optimizer state and rate; nothing is shared afterwards."""
        self._network.load_state_dict(other._network.state_dict())
        # load_state_dict alone would keep the other's tensors
        self._optimizer.load_state_dict(copy.deepcopy(other._optimizer.state_dict()))
        self.rate = other.rate


class _Track:
    """A member's training, one log point at a time, under a random state of its own."""

    def __init__(
        self, task: Task, data: Data, rate: float, seed: int, updates: int, points: int
    ) -> None:
        self.member = Member(rate)
        self._points = log_points(
            task, data, self.member, seed=seed, updates=updates, points=points
        )
        self._device = data.device
        self._random = _random_state(self._device)
        self.outcome: Outcome

    @property
    def score(self) -> float:
        """The last validation metric; a diverged member is worse than any other."""
        return self.outcome.rows[-1]["val_metric"] if self.alive else -math.inf

    @property
    def alive(self) -> bool:
        return self.outcome.status == COMPLETED

    def advance(self) -> None:
        """Train to the next log point; dropout draws as if this member were alone."""
        _set_random_state(self._device, self._random)
        self.outcome = next(self._points)
        self._random = _random_state(self._device)

    def copy_from(self, other: _Track) -> None:
        """Go on from where `other` is: its past is this one's past from now on."""
        self.member.copy_from(other.member)
        mine, its = self.outcome, other.outcome
        mine.rows[:] = [dict(row) for row in its.rows]
        mine.status, mine.best_point = its.status, its.best_point
        mine.best_weights = its.best_weights  # never written to, only replaced


def train_population(
    task: Task,
    data: Data,
    population: Population,
    *,
    seed: int,
    updates: int,
    points: int,
    on_point: Callable[[dict[str, float]], None] = lambda row: None,
) -> Outcome:
    """Train a population; as `components.training.loop.train`, which every member goes through.

    Returns:
        The lineage of the member that is best in validation at the end: where a member copied
        another, the rows up to there are the other's. `elapsed_s` is the population's wall time
        divided by its size, so that `price.run_factor` makes the total of it.
    """
    rng = np.random.default_rng([seed, population.members])
    tracks = [
        _Track(task, data, population.draw(rng), SEEDS_APART * seed + i, updates, points)
        for i in range(population.members)
    ]
    interval, started = max(1, round(INTERVAL * points)), time.perf_counter()
    for point in range(1, points + 1):
        for track in tracks:
            track.advance()
        share = (time.perf_counter() - started) / len(tracks)
        for track in tracks:
            if track.alive:
                track.outcome.rows[-1]["elapsed_s"] = share
        population.population["lrs"].append([track.member.rate for track in tracks])
        best = _ranked(tracks)[0]
        if not tracks[best].alive:
            break  # nobody is left
        on_point(tracks[best].outcome.rows[-1])
        if population.exploit and point % interval == 0 and point < points:
            for source, target in _exchange(population, tracks, rng):
                population.population["copies"].append([point, source, target])
    population.population["best"] = best
    return tracks[best].outcome


def _exchange(
    population: Population, tracks: list[_Track], rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Let the worst copy the best; yields (from, to). Nobody copies a member that is copying."""
    count = math.ceil(QUANTILE * len(tracks))
    ranked = _ranked(tracks)
    for target in ranked[-count:]:
        source = int(rng.choice([i for i in ranked[:count] if tracks[i].alive]))
        tracks[target].copy_from(tracks[source])
        tracks[target].member.rate = population.explore(tracks[source].member.rate, rng)
        yield source, target


def _ranked(tracks: list[_Track]) -> list[int]:
    """Indices, best first; of equals the lower index first."""
    return sorted(range(len(tracks)), key=lambda i: (-tracks[i].score, i))


RandomState = tuple[torch.Tensor, torch.Tensor | None]


def _random_state(device: torch.device) -> RandomState:
    return torch.get_rng_state(), (
        torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    )


def _set_random_state(device: torch.device, state: RandomState) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
