"""The two learned controllers on three blobs: what they see, do, cost, learn and leave on disk."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.schedulers import learning
from components.schedulers.controlled import Controlled
from components.schedulers.gns import ExploringGNS, GNSPolicy
from components.schedulers.policy import Moments, Policy, PolicyError, load_policy, save_policy
from components.schedulers.rl_controller import (
    FACTOR,
    WORST_LOSS,
    ExploringRL,
    RLController,
    RLPolicy,
)
from components.tasks.datasets import Data, Split
from components.tasks.task import Task, correct
from components.training.loop import Outcome, evaluate, train

N, T, RANGE = 40, 10, (1e-3, 0.1)
NAMES = ("rl-controller", "gns")


def blobs(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    return Split(torch.eye(3)[y] + 0.3 * torch.randn(count, 3, generator=generator), y)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


DATA = Data(blobs(130, 0), blobs(60, 1), blobs(60, 2))
TASK = Task(
    name="blobs",
    title="three blobs",
    network=network,
    load=lambda folder: DATA,
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    batch_size=32,
    loss=nn.CrossEntropyLoss(),
    metric=correct,
)


def learned(name: str, **changes: Any) -> tuple[Policy, dict[str, Any]]:
    arguments = {"updates": N, "lr_range": RANGE, "episodes": 2, **changes}
    return learning.learn(name, TASK, DATA, **arguments)


def weights(policy: Policy) -> list[np.ndarray]:
    return [tensor.numpy().copy() for tensor in policy.state_dict().values()]


def same(a: Policy, b: Policy) -> bool:
    equal = all(np.array_equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))
    return equal and a.settings() == b.settings()


def run(scheduler: Controlled, task: Task = TASK, updates: int = N) -> Outcome:
    return train(task, DATA, scheduler, seed=5, updates=updates, points=updates)


def facts(outcome: Outcome) -> list[tuple[float, float, float]]:
    return [(row["train_loss"], row["val_metric"], row["lr"]) for row in outcome.rows]


@pytest.mark.parametrize("name", NAMES)
def test_learning_changes_the_policy_and_repeats_itself(name: str) -> None:
    torch.rand(3)  # whatever the process drew before
    policy, summary = learned(name)
    torch.rand(5)
    again, _ = learned(name)
    assert same(policy, again)
    assert summary["learning_updates"] == 2 * N and len(summary["history"]) == 2
    assert all(RANGE[0] <= row["initial_lr"] <= RANGE[1] for row in summary["history"])
    with torch.random.fork_rng():
        other, _ = learned(name, seed=1)
    assert not same(policy, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_learning_goes_on_to_the_same_policy(name: str, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def die(row: dict[str, float]) -> None:
        if row["episode"] == 6:
            raise KilledError

    told: list[float] = []
    begun: list[float] = []
    whole, summary = learned(name, episodes=6)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        learned(name, episodes=6, checkpoint=path, on_episode=die)
    kept = path.read_bytes()
    learned(
        name,
        episodes=6,
        checkpoint=path,
        of={"data_digest": "another"},
        on_episode=lambda row: begun.append(row["episode"]),
    )
    assert begun[0] == 1, "the data are others"
    path.write_bytes(kept)
    resumed, again = learned(
        name, episodes=6, checkpoint=path, on_episode=lambda row: told.append(row["episode"])
    )
    assert same(whole, resumed) and again == summary
    assert told and 1 not in told, "it began anew"
    assert not path.exists()
    path.write_bytes(b"nonsense")
    assert same(learned(name, checkpoint=path)[0], learned(name)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_comes_back_from_its_two_files(name: str, tmp_path: Path) -> None:
    policy, summary = learned(name)
    save_policy(policy, tmp_path, scheduler=name, task="blobs", learning=summary)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "policy.safetensors"]
    state = torch.get_rng_state()
    scheduler = learning.frozen(name, tmp_path, task="blobs", initial_lr=0.05, updates=N)
    assert torch.equal(state, torch.get_rng_state()), "loading took from the run's draws"
    assert same(policy, scheduler.policy)
    assert scheduler.price.learning_updates == 2 * N and scheduler.price.run_factor == 1
    fresh = learning.METHODS[name].frozen(policy, 0.05, updates=N)
    assert facts(run(scheduler)) == facts(run(fresh))
    found = learning.load(name, tmp_path, "blobs")
    assert json.loads((tmp_path / "config.json").read_text())["digest"] == found.digest
    with pytest.raises(PolicyError, match="learned again"):
        learning.frozen(name, tmp_path, task="blobs", initial_lr=0.05, updates=N, digest="0" * 16)


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "config.json").unlink(),
            r"config.json: no such file.*lode learn",
        ),
        (lambda folder: (folder / "policy.safetensors").unlink(), r"policy.safetensors: no such"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config.json: damaged"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config.json: damaged"),
        (
            lambda folder: (folder / "policy.safetensors").write_bytes(pickle.dumps(Trap())),
            r"policy.safetensors: not the weights.*lode learn",
        ),
        (lambda folder: (folder / "config.json").write_bytes(pickle.dumps(Trap())), "damaged"),
    ],
)
def test_a_damaged_policy_names_the_file_and_the_remedy(
    damage: Any, said: str, tmp_path: Path
) -> None:
    policy = RLPolicy.create(network(), RANGE)
    save_policy(policy, tmp_path, scheduler="rl-controller", task="blobs", learning={})
    damage(tmp_path)
    with pytest.raises(PolicyError, match=said):
        load_policy(RLPolicy, tmp_path, scheduler="rl-controller", task="blobs")


def test_a_policy_of_another_task_or_network_is_refused(tmp_path: Path) -> None:
    policy = RLPolicy.create(network(), RANGE)
    save_policy(policy, tmp_path, scheduler="rl-controller", task="blobs", learning={})
    with pytest.raises(PolicyError, match=r"rl-controller on blobs, asked for .* on digits-mlp"):
        load_policy(RLPolicy, tmp_path, scheduler="rl-controller", task="digits-mlp")
    wide = replace(TASK, network=lambda: nn.Linear(3, 3))
    with pytest.raises(PolicyError, match=r"another network than blobs.*lode learn"):
        run(RLController(policy, 0.1, updates=N), wide)


class Fixed(RLPolicy):
    """Always the same action."""

    action = 0.0

    def act(self, observation: torch.Tensor) -> float:
        self.shown = [*getattr(self, "shown", []), observation]
        return self.action


def fixed(action: float, bounds: tuple[float, float] = RANGE) -> Fixed:
    policy = Fixed.create(network(), bounds)
    policy.action = action
    return policy


def rates(action: float, initial_lr: float) -> list[float]:
    outcome = run(RLController(fixed(action), initial_lr, updates=300), updates=300)
    return [row["lr"] for row in outcome.rows]


def test_the_action_scales_the_rate_every_k_updates_within_bounds() -> None:
    up, down = rates(100.0, 0.05), rates(-100.0, 1e-3)
    assert up[0] == up[2] == 0.05 and up[3] == up[5] == pytest.approx(0.05 * FACTOR)  # k = 3
    assert max(up) == up[-1] == 0.1, "not held at the upper bound"
    ratios = np.array(up[1:]) / np.array(up[:-1])
    assert ratios.max() <= FACTOR + 1e-12
    assert min(down) == down[-1] == 1e-5, "not held at the lower bound"
    still = RLController(fixed(0.0), 0.05, updates=N)
    assert {row["lr"] for row in run(still).rows} == {0.05}
    gns = learning.METHODS["gns"].frozen(GNSPolicy.create(network(), RANGE), 0.05, updates=N)
    moved = np.array([row["lr"] for row in run(gns).rows])
    assert moved[0] == 0.05 and 0 < np.abs(moved[1:] / moved[:-1] - 1).max() <= 0.1


def test_a_policy_that_changes_nothing_leaves_the_training_as_it_was() -> None:
    """The looks at the validation data take nothing from the child's draws."""
    from components.schedulers.parametric import Parametric

    constant = run(Parametric("constant", peak_lr=0.05, updates=N))  # type: ignore[arg-type]
    assert facts(run(RLController(fixed(0.0), 0.05, updates=N))) == facts(constant)


def test_the_controller_sees_its_seven_statistics() -> None:
    policy = fixed(0.0)
    outcome = run(RLController(policy, 0.05, updates=4), updates=4)
    assert len(policy.shown) == 3
    again = [run_to(step) for step in range(4)]  # networks after 0 … 3 updates
    for i, shown in enumerate(policy.shown):
        with torch.no_grad():
            then, now = (again[i + j].eval()(DATA.val.x) for j in range(2))
        head = again[i + 1][3].weight.detach()
        expected = [
            outcome.rows[i]["train_loss"],
            float(TASK.loss(now, DATA.val.y)),
            float(now.var()),
            float((now - then).var()),
            float(head.mean()),
            float(head.var()),
            0.05,
        ]
        assert shown.tolist() == pytest.approx(expected, rel=1e-5)


def run_to(steps: int) -> Any:
    if steps == 0:
        torch.manual_seed(5)
        return network()
    return train(
        TASK, DATA, RLController(fixed(0.0), 0.05, updates=99), seed=5, updates=steps, points=1
    ).network


def test_moments_are_those_of_numpy_and_survive_json() -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 4))
    moments = Moments.of(4)
    for row in x:
        moments.add(torch.tensor(row))
    moments.add(torch.tensor([np.nan, 1, 1, 1]))
    back = Moments(**json.loads(json.dumps(moments.to_dict())))
    assert back.mean.numpy() == pytest.approx(x.mean(0))
    assert back.std.numpy() == pytest.approx(x.std(0))
    wild = back.standardise(torch.tensor([np.nan, 1e9, -1e9, float(x[:, 3].mean())]))
    assert wild.tolist() == pytest.approx([0, 10, -10, 0], abs=1e-5)


def explored(kind: Any, policy: Policy, lr: float, task: Task = TASK) -> Any:
    child = kind(policy.train(), lr, updates=N, generator=torch.Generator().manual_seed(1))
    outcome = train(task, DATA, child, seed=5, updates=N, points=10)
    child.finish(outcome.status == "diverged")
    return child, outcome


def test_gns_rewards_add_up_to_what_the_score_has_gained() -> None:
    child, outcome = explored(ExploringGNS, GNSPolicy.create(network(), RANGE), 0.05)
    torch.manual_seed(5)
    before, after = (evaluate(TASK, n, DATA.val) for n in (network(), outcome.network))
    rewards = child.record.episode().rewards
    assert len(rewards) == N - 1
    assert float(rewards.sum()) == pytest.approx(10 * (after**2 - before**2), abs=1e-4)


def test_the_controllers_reward_is_minus_the_next_validation_loss() -> None:
    policy = RLPolicy.create(network(), RANGE)
    child, _ = explored(ExploringRL, policy, 0.05)
    episode = child.record.episode()
    assert episode.observations.shape == (N - 1, 7) and (episode.rewards < 0).all()
    assert policy.observations.count == N - 1 == policy.returns.count


class Exploding(nn.Module):
    reduction = "mean"

    def forward(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        factor = float("inf") if len(y) < 60 else 1.0  # in training only
        return nn.functional.cross_entropy(logits, y) * factor


def test_blowing_up_early_does_not_pay() -> None:
    sums = []
    for task in (TASK, replace(TASK, loss=Exploding())):
        policy = RLPolicy.create(network(), RANGE)
        policy.returns = Moments([0.0], [100.0], 100)  # rewards in units of about one loss
        child, outcome = explored(ExploringRL, policy, 0.05, task)
        sums.append(float(child.record.episode().rewards.sum()))
    assert outcome.status == "diverged" and len(outcome.rows) == 0
    assert sums[1] < sums[0] and sums[1] < -(N - 10) * WORST_LOSS / 20
    child, _ = explored(
        ExploringGNS, GNSPolicy.create(network(), RANGE), 0.05, replace(TASK, loss=Exploding())
    )
    assert float(child.record.episode().rewards.sum()) < 0


@pytest.mark.parametrize("change", [{"episodes": 0}, {"lr_range": (0.1, 0.01)}, {"updates": 1}])
def test_an_impossible_learning_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="at least 1 episode, 2 updates"):
        learned("gns", **change)
