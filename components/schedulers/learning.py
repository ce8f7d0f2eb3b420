"""Learning a policy offline: whole child trainings by the project's own loop, PPO in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.schedulers import gns, ppo, rl_controller
from components.schedulers.controlled import Controlled, Exploring
from components.schedulers.policy import Learned, Policy, PolicyError, load_policy
from components.storage.checkpoints import read_checkpoint, write_checkpoint
from components.tasks.catalog import Task
from components.tasks.datasets import Data
from components.training.history import DIVERGED
from components.training.loop import train
from components.training.scheduler import Price

CHILD_SEEDS = 10**6  # child trainings have seeds from here on: nobody's sweep or evaluation
POINTS = 10  # log points of a child: enough to notice a divergence, and cheap


@dataclass(frozen=True)
class Method:
    """A learned scheduler: its policy, its schedulers frozen and exploring, and its PPO.

    Attributes:
        episodes: child trainings by default. per_update: how many of them PPO sees at once.
    """

    policy: type[Policy]
    frozen: type[Controlled]
    exploring: type[Exploring]
    settings: ppo.PPO
    episodes: int
    per_update: int


METHODS: dict[str, Method] = {
    "rl-controller": Method(
        rl_controller.RLPolicy,
        rl_controller.RLController,
        rl_controller.ExploringRL,
        rl_controller.SETTINGS,
        rl_controller.EPISODES,
        rl_controller.EPISODES_PER_UPDATE,
    ),
    "gns": Method(
        gns.GNSPolicy,
        gns.GNS,
        gns.ExploringGNS,
        gns.SETTINGS,
        gns.EPISODES,
        gns.EPISODES_PER_UPDATE,
    ),
}


def load(scheduler: str, folder: Path, task: str) -> Learned:
    """As `policy.load_policy`, for a scheduler by name."""
    return load_policy(METHODS[scheduler].policy, folder, scheduler=scheduler, task=task)


def frozen(
    scheduler: str,
    folder: Path,
    *,
    task: str,
    initial_lr: float,
    updates: int,
    digest: str | None = None,
) -> Controlled:
    """The scheduler of a learned policy.

    Args:
        initial_lr: the rate that the policy starts from; choose it as a constant rate.
        digest: the policy must have this one; None: any.

    Raises:
        PolicyError: no such policy, damaged, of another task, or not of that digest.
    """
    found = load(scheduler, folder, task)
    if digest is not None and digest != found.digest:
        raise PolicyError(
            f"{folder}: learned again since this run was named after it; start again what made it"
        )
    spent = found.learning["learning_updates"]
    price = Price(learning_updates=spent, note="and validation passes while it decides")
    return METHODS[scheduler].frozen(found.policy, initial_lr, updates=updates, price=price)


def learn(
    scheduler: str,
    task: Task,
    data: Data,
    *,
    updates: int,
    lr_range: tuple[float, float],
    episodes: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    of: Mapping[str, Any] | None = None,
    on_episode: Callable[[dict[str, float]], None] = lambda row: None,
) -> tuple[Policy, dict[str, Any]]:
    """Learn a policy for `task`; the same arguments give the same policy on a CPU.

    Args:
        scheduler: a name of `METHODS`.
        data: test samples are never looked at. Its device is that of the child trainings.
        updates: N of a child training; choose that of the runs to be scheduled.
        lr_range: child trainings start at rates drawn log-uniformly from it.
        episodes: child trainings, 1 or more; what they cost is in the summary.
        seed: of everything drawn.
        checkpoint: file written after every PPO update. One left there by a killed learning with
            the same arguments is continued, any other is ignored; removed at the end.
        of: what else the learning is of, JSON-able (which data); known to the checkpoint only.
        on_episode: told `episode` (1 …), `initial_lr`, `val_metric` (the best) and `reward`.

    Returns:
        The policy, in evaluation mode, and the summary: `learning_updates` spent, the arguments,
        and what `on_episode` was told.

    Raises:
        PolicyError: impossible arguments.
    """
    if episodes < 1 or not 0 < lr_range[0] <= lr_range[1] or updates < 2:
        raise PolicyError(
            f"{episodes} episodes of {updates} updates on learning rates {lr_range[0]:g} to "
            f"{lr_range[1]:g}: at least 1 episode, 2 updates and 0 < lowest <= highest are needed"
        )
    arguments = {
        "scheduler": scheduler,
        "task": task.name,
        "updates": updates,
        "seed": seed,
        "episodes": episodes,
        "lr_range": list(lr_range),
    }
    learning = _Learning(METHODS[scheduler], task, data, arguments | {"of": dict(of or {})})
    if checkpoint is not None:
        learning.resume(checkpoint)
    while len(learning.told) < episodes:
        for row in learning.iterate():
            on_episode(row)
        if checkpoint is not None:
            learning.keep(checkpoint)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    summary = arguments | {"learning_updates": learning.spent, "history": learning.told}
    return learning.policy.eval(), summary


class _Learning:
    """The state of a learning. What is drawn depends on seed and episode only, so that there is
    no generator to save."""

    def __init__(self, method: Method, task: Task, data: Data, arguments: dict[str, Any]) -> None:
        self._method, self._task, self._data, self._arguments = method, task, data, arguments
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._drawn(0))
            self.policy: Policy = method.policy.create(task.network(), arguments["lr_range"])
        self.optimizer = self.policy.optimizer()
        self.told: list[dict[str, float]] = []
        self.spent = 0

    def iterate(self) -> list[dict[str, float]]:
        """Some child trainings and an update; what is to be told of them."""
        self.policy.train()
        begin = len(self.told)
        count = min(self._method.per_update, self._arguments["episodes"] - begin)
        episodes = [self._episode(begin + i) for i in range(count)]
        generator = torch.Generator().manual_seed(self._drawn(1, begin))
        ppo.update(self.policy, self.optimizer, episodes, self._method.settings, generator)
        return self.told[begin:]

    def _episode(self, number: int) -> ppo.Episode:
        generator = torch.Generator().manual_seed(self._drawn(2, number))
        self.policy.reseed(self._drawn(3, number))
        low, high = np.log(self._arguments["lr_range"])
        share = float(torch.rand((), generator=generator))
        initial_lr = math.exp(low + share * (high - low))
        updates = self._arguments["updates"]
        child = self._method.exploring(
            self.policy, initial_lr, updates=updates, generator=generator
        )
        outcome = train(
            self._task,
            self._data,
            child,
            updates=updates,
            points=min(POINTS, updates),
            seed=CHILD_SEEDS + 1000 * self._arguments["seed"] + number,
        )
        child.finish(outcome.status == DIVERGED)
        self.spent += child.done
        episode = child.record.episode()
        best = outcome.best_metric if outcome.best_point else 0.0
        reward = float(episode.rewards.sum())
        self.told.append(
            dict(episode=number + 1, initial_lr=initial_lr, val_metric=best, reward=reward)
        )
        return episode

    def keep(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        state = {
            "arguments": self._arguments,
            "told": self.told,
            "spent": self.spent,
            "settings": self.policy.settings(),
        }
        tensors = {f"policy.{name}": w for name, w in self.policy.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": t for name, t in moments.items()}
        write_checkpoint(path, tensors, state)

    def resume(self, path: Path) -> None:
        """Take over a state that `keep` wrote with the same arguments; else change nothing."""
        found = read_checkpoint(path)
        if found is None:
            return
        tensors, state = found
        if state["arguments"] != self._arguments:
            return
        self.policy = self._method.policy(**state["settings"])
        self.told, self.spent = state["told"], state["spent"]
        mine = {name for name in tensors if name.startswith("policy.")}
        self.policy.load_state_dict({n.removeprefix("policy."): tensors[n] for n in mine})
        self.optimizer = self.policy.optimizer()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name in tensors.keys() - mine:
            _, i, key = name.split(".")
            moments.setdefault(int(i), {})[key] = tensors[name]
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})

    def _drawn(self, *what: int) -> int:
        """A seed that follows from the learning's and from what it is for."""
        sequence = np.random.SeedSequence([self._arguments["seed"], *what])
        return int(sequence.generate_state(1)[0])
