"""Learning rates of ours as a `torch.optim.lr_scheduler.LRScheduler` in anybody's training loop.

Registered models carry this file, so that it needs nothing but torch, numpy and the LODE's own.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from components.adapters.observations import Observations, Row, finite
from components.adapters.together import decided_by_the_first, processes
from components.lode.decisions import Move, moves
from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.plan_file import GOALS, MAXIMIZE, MINIMIZE, Goal
from components.lode.scheduler import LODEScheduler as Controller
from components.lode.settings import DEFAULT, PAPER
from components.storage.shown import shown
from components.tasks.rates import shares_of

FORMAT = 1  # of the state
Number = float | Tensor | None  # None: not measured
log = logging.getLogger(__name__)


class Fixed:
    """Rates of every update (N,), whatever the training reports.

    Raises:
        LODEError: one is not finite, or negative, or there is none.
    """

    def __init__(self, lrs: Sequence[float] | np.ndarray) -> None:
        self.lrs = np.asarray(lrs, dtype=np.float64)
        if self.lrs.ndim != 1 or not self.lrs.size or not np.isfinite(self.lrs).all():
            raise LODEError("rates are a list of finite numbers, one per update")
        if self.lrs.min() < 0:
            raise LODEError(f"a rate is {self.lrs.min():g}; none may be below 0")

    def lr(self, step: int) -> float:
        return float(self.lrs[min(max(step, 0), len(self.lrs) - 1)])


class RateScheduler(LRScheduler):
    """The learning rates of one run of N updates, at any optimizer.

    Called as torch's schedulers are, `step()` after each of the optimizer's updates:

    - gradient accumulation: once per update, not per batch; LBFGS's closures: once per `step`.
    - AMP: `scaler.step(optimizer); scaler.update(); scheduler.step()`, also where the scaler has
      skipped the update: N counts the attempts, or the run would end before its schedule.
    - a learning rate that is a tensor (`capturable`, steps under `torch.compile`) is filled in
      place.
    - several parameter groups keep the ratios that the optimizer was built with.

    `observe` tells a LODE how the training goes, right after `step()`:

    - at best at its log points, of which there are T (`at_log_point` says when); then a run gets
      the rates that the pipeline's own runs get.
    - more seldom, or between: at a log point passed by, loss and metric are taken from the line
      between the reports around it. A decision is due every μ log points, so what is reported more
      seldom than that has fewer decisions, each at the last point that is known; a warning says so
      once. What is never reported leaves the plan as it was at the start.
    - loss and metric may come in separate calls; None is what was not measured.
    - `train_loss` is the mean since the report before.

    Where a decision fails, or a report is not finite, the run goes back to what it would have begun
    with, the best schedule known before it, for good; a warning says so once.

    After N updates the last rate is held, and a warning says so once.

    With `torch.distributed`, every process calls `observe`; rank 0's values count, it decides, and
    the others have its rates.

    Args:
        optimizer: built with any rates; only their ratios matter.
        rates: a `Fixed` table of N rates, or a LODE's `components.lode.scheduler.LODEScheduler`.
        total_steps: N that the run begins with.
        goal: whether more or less of the metric is better. A LODE sees the negative of a metric of
            which less is better; `observe` takes it as it is.

    Attributes:
        decisions: of a LODE, one `Move` for each, as it is logged (INFO).
        total_steps, points: N and T as they are now; T = 0 where nothing is read.

    Raises:
        LODEError: rates for another number of updates, an unknown goal. RateError: the ratios of
            the optimizer's groups cannot be told.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rates: Fixed | Controller,
        *,
        total_steps: int,
        goal: Goal = MAXIMIZE,
    ) -> None:
        if goal not in GOALS:
            raise LODEError(f"goal is {goal!r}; known: {', '.join(GOALS)}")
        lengths = {total_steps, len(rates.lrs) if isinstance(rates, Fixed) else _length(rates)}
        if len(lengths) > 1 or total_steps < 1:
            raise LODEError(f"rates of {max(lengths)} updates, and total_steps = {total_steps}")
        self.total_steps, self.goal = total_steps, goal
        self._began_with = total_steps
        self._sign = -1.0 if goal == MINIMIZE else 1.0
        self._rates = rates
        self._controller = rates if isinstance(rates, Controller) else None
        self.points = 0 if self._controller is None else int(self._controller.settings["points"])
        self._seen = Observations(total_steps, self.points) if self.points else None
        self._made_at: list[int] = []  # updates done at each decision
        self._fallen = ""  # why nothing is decided any more
        self._told: set[str] = set()  # warnings that were given
        self._shares = _shares(optimizer)
        self._rate = self._applied = 0.0  # of the update that comes, and of the last one
        super().__init__(optimizer)
        _keep_rates(optimizer, self)

    # ------------------------------------------------------------- as torch's schedulers

    def get_lr(self) -> list[float | Tensor]:
        """By parameter group, for the update that comes."""
        self._rate = self._rates.lr(self.last_epoch)
        return [self._rate if share == 1 else self._rate * share for share in self._shares]

    def step(self, epoch: int | None = None) -> None:
        """After each update of the optimizer."""
        self._applied = self._rate
        super().step(epoch)
        if self._seen is not None and self.last_epoch > 0:
            self._seen.passed(self.last_epoch, self._applied)
        if self.last_epoch > self.total_steps:
            self._tell(
                "too long",
                f"update {self.last_epoch + 1} of a schedule for total_steps = {self.total_steps}: "
                "the last rate is held; give the number of updates that the run has",
            )

    def state_dict(self) -> dict[str, Any]:
        """JSON-able, and so among what a checkpoint of torch's may hold with weights only."""
        controller = self._controller
        return {
            "format": FORMAT,
            "total_steps": self._began_with,
            "goal": self.goal,
            "rates": fingerprint(self._rates),
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "shares": list(self._shares),
            "fallen": self._fallen,
            "made_at": list(self._made_at),
            "seen": None if self._seen is None else self._seen.state_dict(),
            "controller": None if controller is None else controller.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the state was taken, to the bit; the optimizer gets the rates of its next
        update, whether its own state is loaded before or after.

        Raises:
            LODEError: the state is of another LODE, schedule, length or optimizer.
        """
        self._check_state(state_dict)
        state = copy.deepcopy(state_dict)
        if self._controller is not None and self._seen is not None:
            self._controller.load_state_dict(state["controller"])
            self._seen.load_state_dict(state["seen"])
            self._take_lengths(self._controller)
        self.last_epoch, self._step_count = state["last_epoch"], state["step_count"]
        self._fallen, self._made_at = state["fallen"], state["made_at"]
        self._shares = [float(share) for share in state["shares"]]
        self.apply()

    def apply(self) -> None:
        """Give the optimizer the rates of the update that comes."""
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self._last_lr = [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def set_total_steps(self, steps: int) -> None:
        """Change the budget of the run: N updates in all, those done included.

        A LODE keeps what is done and plans the rest anew (`components.lode.scheduler`). The same
        number changes nothing. With `torch.distributed`, every process calls it.

        Raises:
            LODEError: no whole number, no more than what is done, or more than 10 times what the
                run began with; the run has ended; the rates are a fixed plan.
        """
        if self._controller is None:
            raise LODEError(
                f"total steps = {shown(steps)}: a fixed plan of {self.total_steps} updates is "
                "followed as it is; only a LODE plans anew: load its folder or its version"
            )
        if processes() > 1:
            self._take(decided_by_the_first(lambda: self._changed(steps)))
        else:
            self._change(steps)
        self.apply()

    @property
    def log_steps(self) -> list[int]:
        """Updates done at each log point; empty where nothing is read."""
        return [] if self._controller is None else list(self._controller.steps)

    def _changed(self, steps: int) -> dict[str, Any]:
        self._change(steps)
        return self.state_dict()

    def _change(self, steps: int) -> None:
        assert self._controller is not None
        done = self.last_epoch
        try:
            self._controller.set_total_steps(steps, done=done, decide=not self._fallen)
        except LODEError:
            raise
        except Exception as error:  # whatever it is, the training must go on
            self._fall_back(f"planning anew failed ({type(error).__name__}: {error})")
            self._controller.set_total_steps(steps, done=done, decide=False)
        self._take_lengths(self._controller)

    def _take_lengths(self, controller: Controller) -> None:
        assert self._seen is not None
        self.total_steps, self.points = controller.updates, controller.points
        self._seen.retime(controller.steps)

    # ------------------------------------------------------------- what a LODE is told

    @property
    def at_log_point(self) -> bool:
        """Whether the updates so far end at a log point: the best time to `observe`."""
        return self._seen is not None and self._seen.at_point(self.last_epoch)

    @property
    def decisions(self) -> list[Move]:
        if self._controller is None:
            return []
        return moves(self._controller.decisions, self._sign)

    @property
    def decided(self) -> list[dict[str, Any]]:
        """The same as a history keeps them: `LODEScheduler.decisions` of `components.lode`."""
        return [] if self._controller is None else self._controller.decisions

    def rate_of(self, step: int) -> float:
        """The first group's rate in update `step` (from 0): the last one done has the rate that it
        was done with, of any other it is that of the plan in force."""
        return self._applied if step == self.last_epoch - 1 else self._rates.lr(step)

    def observe(self, train_loss: Number = None, val_metric: Number = None) -> None:
        """Report mean train loss and validation metric after the updates so far.

        May change the rates from the next update on. Under a fixed plan nothing is read.

        Args:
            train_loss: mean since the report before; lower is better.
            val_metric: as the task has it, in the unit of the runs that the LODE was fitted on.

        Raises:
            LODEError: reported for these updates already.
        """
        if self._controller is None:
            return
        if processes() > 1:
            self._take(decided_by_the_first(lambda: self._observed(train_loss, val_metric)))
        else:
            self._observe(train_loss, val_metric)
        self.apply()

    def _observed(self, train_loss: Number, val_metric: Number) -> dict[str, Any]:
        self._observe(train_loss, val_metric)
        return self.state_dict()

    def _take(self, state: dict[str, Any]) -> None:
        """Do as rank 0 does; the count of updates is one's own."""
        mine = {"last_epoch": self.last_epoch, "step_count": self._step_count}
        self.load_state_dict(state | mine)

    def _observe(self, train_loss: Number, val_metric: Number) -> None:
        assert self._controller is not None and self._seen is not None
        if self._fallen:
            return
        loss, metric = _number(train_loss, "train_loss"), _number(val_metric, "val_metric")
        if not finite(loss, metric):
            self._fall_back(f"a report is not finite (train_loss {loss}, val_metric {metric})")
            return
        metric = None if metric is None else self._sign * metric
        rows = self._seen.add(self.last_epoch, train_loss=loss, val_metric=metric)
        due = [row.point for row in rows if self._controller.due(row.point)]
        if len(due) > 1:
            every = self.total_steps // self.points * self._controller.mu
            self._tell(
                "seldom",
                f"reports are {len(rows)} log points apart, and the LODE decides every "
                f"{self._controller.mu}: it decides more seldom; observe at least "
                f"every {every} updates, at best every {self.total_steps // self.points}",
            )
        try:
            for row in rows:
                self._tell_lode(row, decide=row.point in due[-1:])
        except Exception as error:  # whatever it is, the training must go on
            self._fall_back(f"a decision failed ({type(error).__name__}: {error})")

    def _tell_lode(self, row: Row, decide: bool) -> None:
        assert self._controller is not None
        self._controller.observe(**asdict(row), decide=decide)
        if decide:
            self._made_at.append(self.last_epoch)
            move = self.decisions[-1]
            said = {**asdict(move), "update": self.last_epoch, "changed": move.changed}
            log.info(
                "LODE decision update=%d %s", self.last_epoch, move.line(), extra={"lode": said}
            )

    def _fall_back(self, why: str) -> None:
        assert self._controller is not None
        self._fallen = why
        self._controller.open_again()
        self._tell(
            "fallen",
            f"after {self.last_epoch} updates {why}: the LODE decides no more in this run, which "
            "goes on under the best schedule known before it began",
        )

    def _tell(self, kind: str, message: str) -> None:
        """Once for each kind; a log, as a warning may be an error for somebody."""
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s", message)

    def _check_state(self, state: dict[str, Any]) -> None:
        mine = self.state_dict()
        missing = sorted(mine.keys() - state.keys())
        if missing or state["format"] != FORMAT:
            raise LODEError(f"no state of a scheduler of ours ({', '.join(missing) or 'format'})")
        for key, what in (
            ("total_steps", "runs of another length"),
            ("goal", "a metric with another goal"),
            ("rates", "another LODE or plan: load that, by its version instead of an alias"),
        ):
            if state[key] != mine[key]:
                raise LODEError(
                    f"the state is of {what} ({key} {state[key]!r}, here {mine[key]!r})"
                )
        if len(state["shares"]) != len(self.optimizer.param_groups):
            raise LODEError(
                f"the state is of an optimizer with {len(state['shares'])} parameter groups, this "
                f"one has {len(self.optimizer.param_groups)}"
            )


def controller_of(
    lode: LODE,
    judge: Judge | None,
    total_steps: int,
    points: int | None,
    seed: int,
    controller: dict[str, Any],
) -> Controller:
    """A LODE's controller of a run; `points`: None takes the fit's, or N of a shorter run.

    Raises:
        LODEError: impossible lengths, or no such setting.
    """
    judged = {"controller": DEFAULT if judge is not None else PAPER}
    if lode.config.solver == "dopri5" and find_spec("torchdiffeq") is None:
        raise LODEError("this LODE's solver, dopri5, needs torchdiffeq: pip install torchdiffeq")
    points = min(lode.config.points, total_steps) if points is None else points
    try:
        return Controller(
            lode, judge=judge, updates=total_steps, points=points, seed=seed, **judged | controller
        )
    except TypeError as error:  # a keyword that it does not have
        raise LODEError(f"no such setting of the controller ({error})") from None


def fingerprint(rates: Fixed | Controller) -> str:
    """16 hex digits of what the rates follow from: weights and what they begin with, or a table."""
    total = hashlib.sha256()
    if isinstance(rates, Fixed):
        total.update(rates.lrs.tobytes())
        return total.hexdigest()[:16]
    total.update(rates.begins_with.tobytes())
    for model in (rates.lode, rates.judge):
        if isinstance(model, nn.Module):
            for name, tensor in sorted(model.state_dict().items()):
                total.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return total.hexdigest()[:16]


def _length(rates: Controller) -> int:
    return int(rates.settings["updates"])


def _shares(optimizer: Optimizer) -> list[float]:
    """By parameter group, its rate in multiples of the first group's, as the optimizer was built:
    one that has been trained with still knows by `initial_lr`."""
    groups = optimizer.param_groups
    return shares_of([float(group.get("initial_lr", group["lr"])) for group in groups])


def _keep_rates(optimizer: Optimizer, scheduler: RateScheduler) -> None:
    """Whenever the optimizer's own state is loaded, its rates are the scheduler's all the same."""
    known = weakref.ref(scheduler)

    def again(_: Optimizer) -> None:
        found = known()
        if found is not None:
            found.apply()

    optimizer.register_load_state_dict_post_hook(again)


def _copied(lr: float | Tensor) -> float | Tensor:
    return lr.clone() if isinstance(lr, Tensor) else lr


def _number(value: Number, name: str) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several numbers
        raise LODEError(f"{name} is {shown(value)}, not a number") from None
