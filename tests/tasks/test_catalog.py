"""The catalog: names, networks, optimizers, metric, subsets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.tasks import catalog, names
from components.tasks.errors import DataError
from components.tasks.task import Task, correct, correct_share

FLOAT, INT = torch.float32, torch.int64
# task: a sample's shape and type, its logits' shape, parameters of the network, weight decay
EXPECTED = {
    "mnist1d-cnn": ((1, 40), FLOAT, (10,), 5_210, 1e-2),
    "digits-mlp": ((64,), FLOAT, (10,), 1_482, 1e-2),
    "fashion-mnist-small": ((1, 14, 14), FLOAT, (10,), 23_946, 1e-2),
    "fashion-mnist-cnn": ((1, 28, 28), FLOAT, (10,), 1_867_466, 1e-3),
    "fashion-mnist-resnet18": ((1, 28, 28), FLOAT, (10,), 11_177_034, 1e-4),
    "cifar100-resnet18": ((3, 32, 32), FLOAT, (100,), 11_220_132, 1e-2),
    "cifar100-resnet18-authors": ((3, 32, 32), FLOAT, (100,), 11_247_052, 1e-2),
    "imagenet-resnet34": ((3, 224, 224), FLOAT, (1000,), 21_797_672, 1e-4),
    "text-minigpt": ((64,), INT, (128, 64), 120_576, 1e-2),
    "tinystories-minigpt": ((256,), INT, (50_257, 256), 29_013_585, 0),
}
tasks = pytest.mark.parametrize("task", catalog.TASKS.values(), ids=lambda task: task.name)


def test_names_are_those_of_the_settings() -> None:
    assert tuple(catalog.TASKS) == names.TASKS == tuple(EXPECTED)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(catalog.UnknownTaskError, match=r"'mnist1d-cn'; did you mean 'mnist1d-cnn'"):
        catalog.get("mnist1d-cn")
    with pytest.raises(catalog.UnknownTaskError, match=r"'xyz'; known: mnist1d-cnn, digits-mlp"):
        catalog.get("xyz")


@tasks
def test_network(task: Task) -> None:
    shape, dtype, out, parameters, _ = EXPECTED[task.name]
    network = task.network()
    assert sum(p.numel() for p in network.parameters()) == parameters
    logits = network(torch.zeros(3, *shape, dtype=dtype))
    assert logits.shape == (3, *out) and logits.dtype == torch.float32
    y = torch.zeros(3, *out[1:], dtype=torch.int64)
    assert task.loss(logits, y).shape == torch.Size([])
    assert 0 <= task.metric(logits, y) <= 3  # a sample counts one, however many classes it has


@tasks
def test_seed_fixes_the_initial_weights(task: Task) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(task.network().parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_fashion_cnn_drops_out_in_training_only() -> None:
    network, x = catalog.get("fashion-mnist-cnn").network(), torch.rand(2, 1, 28, 28)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@tasks
def test_optimizer_follows_the_lr_set_by_the_loop(task: Task) -> None:
    """One update by hand: Adam's and AdamW's θ − lr (wd θ + g / (|g| + ε)), or Nesterov's."""
    weight_decay = EXPECTED[task.name][-1]
    parameter = torch.nn.Parameter(torch.tensor([2.0, -3.0]))
    optimizer = task.optimizer(iter([parameter]))
    optimizer.param_groups[0]["lr"] = 0.1
    parameter.grad = torch.tensor([0.5, 4.0])
    if isinstance(optimizer, torch.optim.SGD):  # m = g + wd θ; then θ − lr (m + 0.9 m)
        step = 1.9 * (parameter.grad + weight_decay * parameter.detach())
    else:
        step = weight_decay * parameter.detach() + 1
    expected = parameter.detach() - 0.1 * step
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), expected)
    assert optimizer.param_groups[0]["fused"]


def test_metric_is_a_sum_so_that_chunks_add_up() -> None:
    logits, y = torch.eye(4), torch.tensor([0, 1, 0, 3])
    assert correct(logits, y).item() == 3
    assert correct(logits[:2], y[:2]) + correct(logits[2:], y[2:]) == 3


def test_metric_of_several_classes_per_sample() -> None:
    y = torch.tensor([[0, 1, 2, 3], [3, 3, 3, 3], [1, 1, 1, 1]])
    logits = torch.eye(4)[torch.tensor([[0, 1, 2, 0], [3, 3, 3, 3], [0, 0, 0, 0]])].mT
    assert correct_share(logits, y).item() == 0.75 + 1 + 0
    parts = (correct_share(logits[i : i + 1], y[i : i + 1]) for i in range(3))
    assert [part.item() for part in parts] == [0.75, 1, 0]


def test_train_samples_takes_the_same_subset_of_the_training_split(datasets: Path) -> None:
    task = catalog.get("mnist1d-cnn")
    whole, part = catalog.load_data(task, datasets), catalog.load_data(task, datasets, 500)
    assert part.sizes == {"train": 500, "val": 1_000, "test": 10_000}
    assert torch.equal(part.train.x, whole.train.x[:500])
    assert torch.equal(part.train.y, whole.train.y[:500])
    assert torch.equal(part.val.x, whole.val.x) and torch.equal(part.test.x, whole.test.x)


@pytest.mark.parametrize("samples", [0, 99, 4_001])
def test_impossible_train_samples(datasets: Path, samples: int) -> None:
    message = rf"train_samples = {samples} is impossible for mnist1d-cnn: from 100 .* to 4000"
    with pytest.raises(DataError, match=message):
        catalog.load_data(catalog.get("mnist1d-cnn"), datasets, samples)
