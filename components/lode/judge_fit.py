"""Fit the judge to a sweep's histories and the pilots'."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from components.lode.errors import LODEError
from components.lode.fit_data import check
from components.lode.judge import Judge, JudgeConfig, Scales, edges, held, means
from components.lode.opening import Opening, with_start
from components.lode.settings import JudgeSettings
from components.training.history import History
from components.training.threads import one_thread

# Share of the configurations, the best, on which the judge's error is measured: plans are as good,
# and what it thinks of runs that fail to train does not matter for them.
GOOD = 0.25
# The metric counts twice and the last two intervals thrice, since what a schedule is chosen by is
# where the metric ends. Chosen, not tuned.
METRIC_WEIGHT, LAST_WEIGHT, LAST = 2.0, 3.0, 2
# AdamW's; 0.03 ranked unseen schedules no better (docs/research/scheduler.md, entry 3).
WEIGHT_DECAY = 1e-3
# Of the squared shifts of the state that a run's seed explains: so weak that luck goes there
# rather than into the schedules, so strong that schedules do not. Chosen, not tuned.
SHIFT_PENALTY = 5e-4
SEEN = 0.5  # share of the runs that a step shows in part: a plan is judged before a run and in it
CHECK_EVERY = 50  # updates between reports of progress, a second or two of work


@dataclass(frozen=True)
class Runs:
    """What is fitted: `lrs` (the mean between log points), `losses`, `metrics`, each (R, T), in
    original units; `seeds` and `groups` (R,): of equal group are runs of one configuration."""

    lrs: np.ndarray
    losses: np.ndarray
    metrics: np.ndarray
    seeds: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, histories: Sequence[History]) -> Runs:
        """Of the completed histories.

        Raises:
            LODEError: there is none, or as of `components.lode.fit_data.check`.
        """
        done = [history for history in histories if history.completed]
        if not done:
            raise LODEError("no completed run to fit a judge on; run `lode sweep` first")
        check(done)
        loss, metric, lr = np.moveaxis(np.stack([h.series() for h in done]), -1, 0).copy()
        names = [(*h.configuration, h.meta.get("scheduler_digest")) for h in done]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return cls(
            held(with_start(lr)),
            loss,
            metric,
            np.array([h.meta["seed"] for h in done]),
            np.array([numbers[name] for name in names]),
        )


def fit_judge(
    runs: Runs,
    settings: JudgeSettings = JudgeSettings(),
    *,
    opening: Opening = Opening(),
    progress: Callable[[int], None] = lambda updates: None,
) -> Judge:
    """Fit a judge; the same runs and settings give the same weights on one machine.

    Every member is fitted without its own part of the configurations, with weights drawn anew (a
    Bayesian bootstrap). During the fit a run's seed shifts the initial state, so that lucky seeds
    are not taken for good schedules; the judge that comes out is of the average seed.

    Args:
        opening: kept in the judge's config, for the scheduler to start with.
        progress: told how many updates were done since the last call.

    Raises:
        LODEError: fewer than two configurations, or a loss that is no longer finite.
    """
    groups = len(np.unique(runs.groups))
    if groups < 2:
        raise LODEError("a judge compares configurations; these histories have only one")
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        config = JudgeConfig(
            Scales.measure(runs.lrs, runs.losses, runs.metrics),
            members=min(settings.members, groups),
            histories=len(runs.seeds),
        )
        fitting = _Fitting(Judge(config), runs, settings)
        for update in range(settings.updates):
            fitting.step()
            if (update + 1) % CHECK_EVERY == 0 or update + 1 == settings.updates:
                progress(update % CHECK_EVERY + 1)
        judge = fitting.judge.eval()
        error = fitting.error()
    judge.config = replace(config, error=error, opening=opening)
    return judge


class _Fitting:
    def __init__(self, judge: Judge, runs: Runs, settings: JudgeSettings) -> None:
        self.judge, self.runs = judge, runs
        self.rng = np.random.default_rng(settings.seed)
        members, (count, points) = judge.config.members, runs.lrs.shape
        bounds = edges(points)
        self.widths = np.diff(bounds) / points
        scales = judge.config.scales
        binned = [means(x, bounds) for x in (runs.lrs, runs.losses, runs.metrics)]
        self.finals = binned[2][:, -1]
        self.drive = self._tensor(scales.drive(binned[0]))
        self.observed = self._tensor(scales.observation(binned[1], binned[2]))
        # The part of a configuration; drawn, so that neighbours of the grid lie in several.
        order = self.rng.permutation(len(np.unique(runs.groups)))
        self.part = (order % members)[runs.groups]
        drawn = self.rng.exponential(size=(members, count))
        drawn *= self.part != np.arange(members)[:, None]
        self.weights = self._tensor(drawn / drawn.mean(1, keepdims=True))
        seeds = np.unique(runs.seeds)
        self.seed = torch.as_tensor(np.searchsorted(seeds, runs.seeds))
        self.shift = nn.Parameter(torch.zeros(members, len(seeds), judge.config.width))
        self.emphasis = torch.tensor([1.0, METRIC_WEIGHT]).repeat(len(self.widths), 1)
        self.emphasis[-LAST:] *= LAST_WEIGHT
        parameters = [*judge.parameters(), self.shift]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=settings.peak_lr, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.peak_lr, settings.updates, cycle_momentum=False
        )

    def step(self) -> None:
        h = self.judge.start + self.shift[:, self.seed]
        predicted, _ = self.judge(h, self.drive, self.widths, self.observed, self._seen())
        error = nn.functional.smooth_l1_loss(
            predicted, self.observed.expand_as(predicted), reduction="none"
        )
        loss = ((error * self.emphasis).mean((2, 3)) * self.weights).mean()
        loss = loss + SHIFT_PENALTY * self.shift.square().sum()
        if not math.isfinite(loss.item()):
            raise LODEError("the judge's loss is no longer finite; lower lode.judge.peak_lr")
        self.optimizer.zero_grad()
        loss.backward()
        self._clip()
        self.optimizer.step()
        self.schedule.step()

    def _clip(self) -> None:
        """Each member's gradient to a norm of at most 1: a common norm would let a member feel the
        part that it must not see."""
        gradients = [p.grad for p in self.judge.parameters() if p.grad is not None]
        square = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
        factor = (1.0 / (square.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))

    def _seen(self) -> torch.Tensor:
        """A share `SEEN` of the runs is seen up to a random interval, the others not at all."""
        count, intervals = len(self.drive), len(self.widths)
        until = self.rng.integers(1, max(intervals, 2), count) * (self.rng.random(count) < SEEN)
        return self._tensor(np.arange(intervals) < until[:, None])

    @torch.no_grad()
    def error(self) -> float:
        """As `JudgeConfig.error` says: over the best `GOOD` of the configurations, each by its
        mean over seeds, by the one member that has not seen it."""
        y, _ = self.judge(self.judge.fresh(len(self.drive)), self.drive, self.widths)
        predicted = self.judge.config.scales.to_metric(y[:, :, -1, 1].double().numpy())
        predicted = predicted[self.part, np.arange(len(self.part))]
        count = np.bincount(self.runs.groups)
        true = np.bincount(self.runs.groups, self.finals) / count
        off = np.bincount(self.runs.groups, predicted) / count - true
        good = true >= np.quantile(true, 1 - GOOD)
        return float(np.sqrt(np.mean(off[good] ** 2)))

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(x), dtype=torch.float32)
