"""The LODE as a scheduler: what a training loop drives.

Two controllers decide, every μ log points, on the rest of the run: `paper` is Algorithm 1 as
printed (`algorithm1.decide`), `default` is ours (`control.improve`), which begins with a plan for
the whole run and leaves it only for a gain that its judge can be believed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.lode.algorithm1 import Decision, Model, decide
from components.lode.budget import Change, check_budget, log_steps_after, replan, stretched
from components.lode.control import improve
from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.opening import Opening, every_update
from components.lode.settings import (
    CONTROLLERS,
    DEFAULT,
    PAPER,
    SHARES,
    ControllerSettings,
    OutOfRangeError,
    window_points,
)
from components.storage.typed import typed
from components.training.run import log_steps
from components.training.scheduler import Scheduler

# N, the updates done at each log point, and what the run follows if nothing is decided: at the log
# points, and in every update.
Lengths = tuple[int, list[int], tuple[np.ndarray, np.ndarray]]


class LODEScheduler(Scheduler):
    """The learning rates of one run, decided by a LODE every μ log points.

    `paper`: up to log point μ the run follows the best configuration of the sweep; a rate is held
    from one log point to the next, and the history has it at the latter. `default`: the run begins
    as its judge says, and rates are linear between log points. In both a plan is always kept for
    the whole rest of the run, so when nothing better is found, or the observations are not finite,
    it simply goes on.

    Args:
        lode: a fitted LODE with an initial schedule.
        judge: the fitted judge; the `default` controller needs it.
        controller: `default` or `paper`.
        updates, points: N and T of the run. Both may differ from the fit's: the plan is then
            stretched, and a warning says so where N differs.
        mu, n, sigma, horizon, caution: see `ControllerSettings`; lengths in shares of the run.
            `horizon` is only the paper's, `caution` only ours.
        seed: of the latent noise.

    Attributes:
        updates, points: N and T of the run as it is now; `settings` has those it began with.
        steps: updates done at each log point, 1 … T.
        budgets: how `set_total_steps` changed them.
        mu: μ in log points of this run.
        decisions: JSON-able, one per decision: the fields of `Decision` with `lrs` cut to the rates
            at the μ log points that follow (fewer at the end), whatever decided them.

    Raises:
        LODEError: impossible lengths, an unknown controller, or a LODE without an initial schedule.
    """

    def __init__(
        self,
        lode: Model,
        *,
        updates: int,
        points: int,
        judge: Judge | None = None,
        controller: str = DEFAULT,
        mu: float = ControllerSettings.mu,
        n: int = ControllerSettings.n,
        sigma: float = ControllerSettings.sigma,
        horizon: float | None = ControllerSettings.horizon,
        caution: float = ControllerSettings.caution,
        seed: int = 0,
    ) -> None:
        self.settings: dict[str, Any] = {
            "controller": controller,
            "updates": updates,
            "points": points,
            "mu": mu,
            "n": n,
            "sigma": sigma,
            "horizon": horizon,
            "caution": caution,
            "seed": seed,
        }
        _check(self.settings, lode, judge)
        self.lode, self.judge = lode, judge
        self.mu = window_points(mu, points)
        self._lowest = lode.config.channels.lowest_lr
        self._begins = _opening(lode, judge if controller == DEFAULT else None)
        self._opening = (
            self._begins.plan(updates, points, self._lowest),
            self._begins.rates(updates, points, self._lowest),
        )
        self.budgets: list[Change] = []
        self._take_lengths(self._lengths(()))
        self._plan, self._lrs = self._otherwise
        self._observed: list[list[float]] = []
        # Where the judge's state is known: going on from there gives the bits of a new start.
        self._known: tuple[int, torch.Tensor] | None = None
        self.decisions: list[dict[str, Any]] = []
        self._at_first: tuple[float, float] | None = None  # what `expected` says until a decision

    def lr(self, step: int) -> float:
        """Learning rate of update `step` (0-based): positive and finite."""
        return float(self._lrs[min(max(step, 0), len(self._lrs) - 1)])

    def observe(
        self, point: int, train_loss: float, val_metric: float, lr: float, *, decide: bool = True
    ) -> None:
        """Tell what was logged at log point `point` (1 … T), in order; may change the plan.

        Args:
            decide: False where more points are about to be told, so that only the last of them that
                a decision is due at has one.

        Raises:
            LODEError: `point` is not the one after the last.
        """
        expected = len(self._observed) + 1
        if point != expected or point > self.points:
            raise LODEError(f"log point {point} observed where {expected} of {self.points} was due")
        self._observed.append([float(train_loss), float(val_metric), float(lr)])
        if decide and self.due(point):
            self._replan(point)

    @property
    def begins_with(self) -> np.ndarray:
        """(N,) rates of the run if nothing is ever decided, and its budget never changed."""
        return self._opening[1]

    def expected(self) -> tuple[float, float] | None:
        """The final metric that the plan in force is expected to have, with the standard deviation
        of that over the judge's members (`paper`: the chosen samples), as of the last decision;
        None: nobody knows yet."""
        changed = self.budgets[-1] if self.budgets else Change(0, self.updates)
        since = self.decisions[changed.decisions :]
        last = since[-1] if since else {}
        if not since and changed.expected is not None and changed.spread is not None:
            return changed.expected, changed.spread
        if last.get("predicted") is not None:
            left = last["kept"] is None and last["gain"] is not None
            return last["predicted"] + (last["gain"] if left else 0.0), last["spread"]
        if self.judge is None or self.settings["controller"] == PAPER:
            return None
        if self.budgets:
            return None  # stretched unjudged
        if self._at_first is None:
            final = self.judge.final_metric(self._plan[None])
            self._at_first = float(final.mean()), float(final.std())
        return self._at_first

    def due(self, point: int) -> bool:
        """Whether a decision is made at a log point."""
        return bool(point % self.mu == 0 and point < self.points)

    def open_again(self) -> None:
        """Take back what was decided: the rest of the run goes on as it would have begun, stretched
        where its budget was changed."""
        self._plan, self._lrs = self._otherwise

    def set_total_steps(self, steps: int, *, done: int | None = None, decide: bool = True) -> None:
        """Change the budget of a run that is under way; the same number changes nothing.

        What is done stays. The rest is planned anew (`budget.replan`), and decided on as before,
        every μ log points of the old distance. Under `paper`, or where what was observed is not
        finite, the plan in force is stretched over the rest. Resumed, a run is built with the
        updates that it began with; its state knows the others.

        Args:
            steps: N of the whole run, what is done included.
            done: updates done; None: those up to the last log point observed.
            decide: False stretches the plan.

        Raises:
            LODEError: `steps` is no whole number, no more than what is done, or more than 10 times
                what the run began with; the run has ended.
        """
        seen = self.steps[len(self._observed) - 1] if self._observed else 0
        done = max(seen, done or 0)
        check_budget(steps, done, self.updates, self.settings["updates"])
        if steps == self.updates:
            return
        change = Change(done, steps, len(self.decisions))
        lengths = self._lengths([*self.budgets, change])
        passed, points = self._passed(done), len(lengths[1])
        plan = stretched(self._plan, self.points, passed, points)
        observed = np.array(self._observed).reshape(-1, 3)
        judge = self.judge if self.settings["controller"] == DEFAULT else None
        if decide and judge is not None and np.isfinite(observed).all():
            again = self._begins.plan(steps, points, self._lowest)
            plan, said = self._planned(judge, observed, plan, again, passed, steps)
            change = replace(change, **said)
        given = self._lrs[:done]
        self.budgets.append(change)
        self._take_lengths(lengths)
        self._follow(plan)
        self._lrs[:done] = given

    def state_dict(self) -> dict[str, Any]:
        """JSON-able; restores bit for bit. The noise of a decision follows from seed and point,
        so there is no generator to save."""
        return {
            "settings": dict(self.settings),
            "plan": [float(lr) for lr in self._plan],
            "observed": [[v if math.isfinite(v) else None for v in row] for row in self._observed],
            "decisions": [dict(decision) for decision in self.decisions],
            "budgets": [asdict(change) for change in self.budgets],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            LODEError: the state is of a scheduler with other settings, or its plan is none.
            DamagedError: its changes of the budget are none.
        """
        if state["settings"] != self.settings:
            raise LODEError(
                f"state of a scheduler with {state['settings']}, this one has {self.settings}"
            )
        # None in states of before budgets could be changed.
        budgets = typed(tuple[Change, ...], state.get("budgets", ()), "budgets")
        lengths = self._lengths(budgets)
        plan = np.array(state["plan"], dtype=np.float64)
        if plan.shape != lengths[2][0].shape or not (np.isfinite(plan).all() and plan.min() > 0):
            raise LODEError("the state's plan is not one of this run's length in positive rates")
        self.budgets = list(budgets)
        self._take_lengths(lengths)
        if np.array_equal(plan, self._otherwise[0]):
            self.open_again()
        else:
            self._follow(plan)
        self._observed = [[math.nan if v is None else v for v in row] for row in state["observed"]]
        self._known = None
        self.decisions = [dict(decision) for decision in state["decisions"]]

    def _follow(self, plan: np.ndarray) -> None:
        """Make `plan` the one in force: (T,) rates of the intervals, or (T + 1,) at the points."""
        self._plan = np.maximum(plan, self._lowest)
        self._lrs = every_update(self._plan, self.updates, self.points, self.steps)

    def _passed(self, done: int) -> int:
        """Log points after so many updates."""
        return sum(end <= done for end in self.steps)

    def _lengths(self, budgets: Sequence[Change]) -> Lengths:
        """What follows from the changes of the budget; the scheduler stays as it is."""
        begun, points = self.settings["updates"], self.settings["points"]
        updates, steps, opening = begun, log_steps(begun, points), self._opening
        for change in budgets:
            old = len(steps)
            passed, steps = log_steps_after(steps, change.done, change.updates, begun / points)
            updates, plan = change.updates, stretched(opening[0], old, passed, len(steps))
            opening = plan, every_update(plan, updates, len(steps), steps)
        return updates, steps, opening

    def _take_lengths(self, lengths: Lengths) -> None:
        self.updates, self.steps, self._otherwise = lengths
        self.points = len(self.steps)

    def _planned(
        self,
        judge: Judge,
        observed: np.ndarray,
        plan: np.ndarray,
        again: np.ndarray,
        passed: int,
        steps: int,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        chosen = self.settings
        return replan(
            self.lode,
            judge,
            observed,
            plan,
            again,
            passed=passed,
            mu=self.mu,
            n=chosen["n"],
            sigma=chosen["sigma"],
            caution=chosen["caution"],
            rng=np.random.default_rng([chosen["seed"], len(observed), steps]),
            state=self._state(judge, observed) if len(observed) else None,
            unit=chosen["points"],
        )

    def _state(self, judge: Judge, observed: np.ndarray) -> torch.Tensor:
        """The judge's after what was observed, all of it finite."""
        if self._known is not None and self._known[0] == len(observed):
            return self._known[1]
        return judge.follow(
            observed, float(self._plan[0]), self.mu, self.settings["points"], self._known
        )

    def _replan(self, point: int) -> None:
        observed = np.array(self._observed)
        if self.judge is None or self.settings["controller"] == PAPER:
            observed = observed[-self.mu :]
        if np.isfinite(observed).all():
            decision = self._decide(point, observed)
        else:
            decision = Decision(point, kept="observations not finite")
        # The rates at the μ points that follow: a held plan has no rate at point 0.
        first = point + len(self._plan) - self.points
        ahead = slice(first, first + self.mu)
        if decision.lrs:
            decision = replace(decision, replaced=_floats(self._plan[ahead]))
            plan = self._plan.copy()
            plan[point:] = decision.lrs[: len(plan) - point]
            self._follow(plan)
        fields = asdict(replace(decision, lrs=_floats(self._plan[ahead])))
        self.decisions.append(
            {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}
        )

    def _decide(self, point: int, observed: np.ndarray) -> Decision:
        chosen = self.settings
        rng = np.random.default_rng([chosen["seed"], point])
        drawn = {"n": chosen["n"], "sigma": chosen["sigma"], "rng": rng}
        if self.judge is None or chosen["controller"] == PAPER:
            points, share = self.points, chosen["horizon"]
            horizon = None if share is None else max(1, round(share * points))
            return decide(self.lode, observed, point=point, points=points, horizon=horizon, **drawn)
        state = self._state(self.judge, observed)
        self._known = point, state
        return improve(
            self.lode,
            self.judge,
            observed,
            self._plan,
            mu=self.mu,
            caution=chosen["caution"],
            state=state,
            unit=chosen["points"] if self.budgets else None,
            **drawn,
        )


def load_scheduler(folder: Path, **settings: Any) -> LODEScheduler:
    """A scheduler of the LODE in `folder`, with its judge if the controller needs one.

    Args:
        settings: of `LODEScheduler`.

    Raises:
        LODEError: nothing there, or something damaged.
    """
    paper = settings.get("controller") == PAPER
    judge = None if paper else Judge.load(folder)
    return LODEScheduler(LODE.load(folder), judge=judge, **settings)


def _check(settings: dict[str, Any], lode: Model, judge: Judge | None) -> None:
    mu, points, updates, n, sigma, horizon, caution, controller = (
        settings[key]
        for key in ("mu", "points", "updates", "n", "sigma", "horizon", "caution", "controller")
    )
    for name, share in (("mu", mu), ("horizon", 1 if horizon is None else horizon)):
        try:
            SHARES.check(share)
        except OutOfRangeError as error:
            raise LODEError(f"{name} = {share} {error}") from None
    if not 2 <= points <= updates or n < 1 or not sigma >= 0 or not caution >= 0:
        raise LODEError(
            f"points = {points}, updates = {updates}, n = {n}, sigma = {sigma}, caution = "
            f"{caution}: 2 <= points <= updates, n >= 1, sigma >= 0 and caution >= 0 are needed"
        )
    if controller not in CONTROLLERS:
        raise LODEError(f"unknown controller {controller!r}; known: {', '.join(CONTROLLERS)}")
    if controller == DEFAULT and judge is None:
        raise LODEError(
            f"the {DEFAULT} controller needs a judge; run `lode fit`, or take `{PAPER}`"
        )
    if not len(lode.config.initial_schedule):
        raise LODEError("this LODE has no initial schedule; run `lode fit` again")
    fitted = lode.config.updates
    if fitted and fitted != updates:
        warnings.warn(
            f"this LODE was fitted on runs of {fitted} updates, this run has {updates}: its time "
            "is rescaled, and schedules that are best for one length need not be for the other",
            stacklevel=3,
        )


def _floats(rates: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, rates))


def _opening(lode: Model, judge: Judge | None) -> Opening:
    initial = lode.config.opening
    if judge is None:
        return initial
    return judge.config.opening or initial.linear
