"""A population on three blobs: who copies what from whom, and what is told of it afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.schedulers.parametric import Parametric
from components.schedulers.pbt import (
    FACTORS,
    Member,
    PBTError,
    Population,
    _Track,
    train_population,
)
from components.tasks.datasets import Data, Split
from components.tasks.task import Task, correct
from components.training.history import DIVERGED
from components.training.loop import Outcome, evaluate, train
from components.training.scheduler import Scheduler

N, T = 80, 20


def blobs(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (count,), generator=generator)
    return Split(torch.eye(3)[y] + 0.6 * torch.randn(count, 3, generator=generator), y)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )


DATA = Data(blobs(130, 0), blobs(90, 1), blobs(60, 2))
TASK = Task(
    name="blobs",
    title="three blobs",
    network=network,
    load=lambda folder: DATA,
    optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1.0),
    batch_size=32,
    loss=nn.CrossEntropyLoss(),
    metric=correct,
)


def run(population: Population, seed: int = 0, task: Task = TASK) -> Outcome:
    return train_population(task, DATA, population, seed=seed, updates=N, points=T)


def facts(outcome: Outcome) -> list[tuple[float, ...]]:
    return [
        (row["point"], row["step"], row["train_loss"], row["val_metric"], row["lr"])
        for row in outcome.rows
    ]


def test_without_exploit_it_is_independent_trainings_to_the_bit() -> None:
    population = Population((1e-4, 0.1), 4, exploit=False)
    outcome = run(population, seed=3)
    rates = population.population["lrs"][0]
    assert population.population["lrs"] == [rates] * T and population.population["copies"] == []
    alone = [
        train(
            TASK,
            DATA,
            Parametric("constant", peak_lr=rate, updates=N),
            seed=3000 + i,
            updates=N,
            points=T,
        )
        for i, rate in enumerate(rates)
    ]
    ends = [one.rows[-1]["val_metric"] for one in alone]
    best = population.population["best"]
    assert best == ends.index(max(ends))
    assert facts(outcome) == facts(alone[best])
    assert outcome.best_point == alone[best].best_point
    for name, tensor in alone[best].network.state_dict().items():
        assert torch.equal(outcome.network.state_dict()[name], tensor)
        assert torch.equal(outcome.best_weights[name], alone[best].best_weights[name])


def test_the_same_seed_gives_the_same_population_and_another_seed_does_not() -> None:
    first, again, other = (Population((1e-4, 0.3)) for _ in range(3))
    assert facts(run(first)) == facts(run(again))
    assert first.population == again.population
    run(other, seed=1)
    assert other.population != first.population


def test_copies_follow_the_ranking_and_mutate_the_rate() -> None:
    population = Population((1e-4, 0.3), 8)
    outcome = run(population)
    lrs, copies = np.array(population.population["lrs"]), population.population["copies"]
    assert lrs.shape == (T, 8)
    assert [point for point, _, _ in copies] == [p for p in range(1, T) for _ in range(2)]
    for point, source, target in copies:
        before, after = lrs[point - 1, source], lrs[point, target]
        mutated = any(after == before * factor for factor in FACTORS)
        assert mutated or 1e-4 <= after <= 0.3
    assert [row["point"] for row in outcome.rows] == list(range(1, T + 1))
    # The rates of the result are those of its ancestors, followed backwards through the copies.
    holder, lineage = population.population["best"], []
    for point in range(T, 0, -1):
        lineage.append(lrs[point - 1, holder])
        holder = next((s for p, s, t in copies if p == point - 1 and t == holder), holder)
    assert [row["lr"] for row in outcome.rows] == lineage[::-1]
    times = [row["elapsed_s"] for row in outcome.rows]
    assert times == sorted(times)


def test_the_best_weights_are_those_of_the_lineages_best_point() -> None:
    outcome = run(Population((1e-4, 1.0)), seed=2)
    metrics = [row["val_metric"] for row in outcome.rows]
    assert outcome.best_point == metrics.index(max(metrics)) + 1
    outcome.network.load_state_dict(outcome.best_weights)
    assert evaluate(TASK, outcome.network, DATA.val) == max(metrics)


def test_a_copy_shares_nothing_with_its_source() -> None:
    first, second = (_Track(TASK, DATA, rate, seed, N, T) for rate, seed in ((0.1, 0), (1e-3, 1)))
    for track in (first, second):
        track.advance()
    second.copy_from(first)

    def state(member: Member) -> list[Tensor]:
        moments = [t for s in member._optimizer.state.values() for t in s.values()]
        return [*member._network.state_dict().values(), *moments]

    pairs = list(zip(state(first.member), state(second.member), strict=True))
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)
    assert second.member.rate == 0.1 and facts(second.outcome) == facts(first.outcome)
    kept = [tensor.clone() for tensor in state(second.member)]
    rows = facts(second.outcome)
    first.advance()
    assert all(torch.equal(a, b) for a, b in zip(kept, state(second.member), strict=True))
    assert facts(second.outcome) == rows


PLAIN = replace(
    TASK,
    network=lambda: nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 3)),  # products overflow
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
)


def test_a_diverged_member_is_replaced() -> None:
    class OneTooFast(Population):
        drawn = 0

        def draw(self, rng: np.random.Generator) -> float:
            self.drawn += 1
            return 1e38 if self.drawn == 1 else 0.01

    population = OneTooFast((0.01, 0.01), 4)
    outcome = run(population, task=PLAIN)
    assert outcome.status == "completed" and len(outcome.rows) == T
    assert population.population["copies"][0][2] == 0


def test_a_population_that_diverges_as_a_whole_says_so() -> None:
    outcome = run(Population((1e38, 1e38), 2), task=PLAIN)
    assert outcome.status == DIVERGED and len(outcome.rows) < T


@pytest.mark.parametrize(("lr_range", "members"), [((0, 1), 8), ((1, 0.1), 8), ((0.1, 1), 1)])
def test_an_impossible_population_is_refused(lr_range: tuple[float, float], members: int) -> None:
    with pytest.raises(PBTError, match=r"at least 2 members and 0 < lowest <= highest"):
        Population(lr_range, members)


def test_its_price_is_its_size() -> None:
    population: Scheduler = Population((0.1, 1), 5)
    assert population.price.run_factor == 5
