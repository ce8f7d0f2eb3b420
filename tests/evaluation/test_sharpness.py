"""λ_max and λ_min against dense Hessians and closed forms."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from components.evaluation.sharpness import sharpness
from components.tasks import catalog
from tests.evaluation.test_hessian import LOSS, Mean, dense


class Quadratic(nn.Module):
    """θ -> ½ Σ a_i θ_i², whatever the input: its Hessian is diag(a)."""

    def __init__(self, spectrum: list[float]) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(len(spectrum)))
        self.register_buffer("spectrum", torch.tensor(spectrum))

    def forward(self, x: Tensor) -> Tensor:
        return (0.5 * (self.spectrum * self.theta**2).sum()).expand(len(x), 1)


class Minus(nn.CrossEntropyLoss):
    def forward(self, prediction: Tensor, y: Tensor) -> Tensor:
        return -super().forward(prediction, y)


@pytest.fixture
def mlp() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 4))
    return model, torch.randn(50, 6), torch.randint(4, (50,))


def dense_spectrum(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """All eigenvalues, ascending, of the dense fp64 Hessian."""
    return torch.linalg.eigvalsh(dense(copy.deepcopy(model).double(), x.double(), y))


@pytest.mark.parametrize("method", ["lanczos", "power"])
@pytest.mark.parametrize("batch_size", [50, 16])  # 16: the last batch is smaller
def test_equals_the_dense_hessian(mlp, method: str, batch_size: int) -> None:
    model, x, y = mlp
    found = sharpness(
        model, LOSS, x, y, method=method, batch_size=batch_size, tol=1e-4, lowest=True
    )
    spectrum = dense_spectrum(model, x, y)
    assert found["lambda_max"] == pytest.approx(spectrum[-1].item(), rel=1e-3)
    assert 0 <= found["residual"] <= 1e-4 and found["matvecs"] > 1
    assert (found["method"], found["samples"]) == (method, 50)
    if method == "lanczos":
        assert found["lambda_min"] == pytest.approx(spectrum[0].item(), rel=1e-3)
        assert 0 <= found["residual_min"] <= 1e-4
    else:
        assert found["lambda_min"] is None and found["residual_min"] is None


def test_residual_bounds_the_error(mlp) -> None:
    """For a symmetric matrix some eigenvalue lies within ‖Hv − λv‖ of λ."""
    model, x, y = mlp
    found = sharpness(model, LOSS, x, y, method="power", max_matvecs=4, tol=1e-9)
    distance = (dense_spectrum(model, x, y) - found["lambda_max"]).abs().min().item()
    assert found["matvecs"] == 4
    assert 1e-9 < distance <= found["residual"] * abs(found["lambda_max"])


def test_fixed_set_is_the_first_samples(mlp) -> None:
    model, x, y = mlp
    part = sharpness(model, LOSS, x, y, samples=20)
    assert part["samples"] == 20
    assert part["lambda_max"] == sharpness(model, LOSS, x[:20], y[:20])["lambda_max"]
    assert part["lambda_max"] != sharpness(model, LOSS, x, y)["lambda_max"]


def test_lanczos_finds_the_algebraic_power_the_largest_magnitude() -> None:
    model, x, y = Quadratic([-9.0, *torch.linspace(-1, 1, 20).tolist(), 3.0]), *[torch.zeros(4)] * 2
    lanczos = sharpness(model, Mean(), x, y, lowest=True)
    power = sharpness(model, Mean(), x, y, method="power")
    assert lanczos["lambda_max"] == pytest.approx(3.0, rel=1e-3)
    assert lanczos["lambda_min"] == pytest.approx(-9.0, rel=1e-3)
    assert power["lambda_max"] == pytest.approx(-9.0, rel=1e-3)


def test_negative_definite() -> None:
    zero = torch.zeros(1)
    found = sharpness(Quadratic([-5.0, -4.0, -2.0]), Mean(), zero, zero, lowest=True)
    assert found["lambda_max"] == pytest.approx(-2.0, rel=1e-3)
    assert found["lambda_min"] == pytest.approx(-5.0, rel=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_a_largest_eigenvalue_of_zero(seed: int) -> None:
    """A shift of all logits changes nothing, so 0 is one; ARPACK said −0.0931 here."""
    torch.manual_seed(seed)
    model, x, y = nn.Linear(5, 3), torch.randn(40, 5), torch.randint(3, (40,))
    found = sharpness(model, Minus(), x, y, seed=seed, lowest=True)
    lowest = -dense_spectrum(model, x, y)[-1].item()  # the sign turned
    assert abs(found["lambda_max"]) < 1e-3 * abs(lowest)
    assert found["lambda_min"] == pytest.approx(lowest, rel=1e-3)
    assert max(found["residual"], found["residual_min"]) <= 1e-3


@pytest.mark.parametrize("method", ["lanczos", "power"])
def test_flat_everywhere(method: str) -> None:
    found = sharpness(Quadratic([0.0] * 12), Mean(), torch.zeros(1), torch.zeros(1), method=method)
    assert (found["lambda_max"], found["residual"]) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_leaves_the_model_as_it_was(mlp, dtype: torch.dtype) -> None:
    model, x, y = mlp
    model, x = model.to(dtype), x.to(dtype)
    model.train()
    model[3].eval()
    LOSS(model(x), y).backward()
    before = {name: (p.detach().clone(), p.grad.clone()) for name, p in model.named_parameters()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    precision = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    sharpness(model, LOSS, x, y)
    assert torch.equal(torch.rand(()), expected)
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == precision
    assert [module.training for module in model.modules()] == modes
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name][0]) and torch.equal(p.grad, before[name][1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(mlp, dtype: torch.dtype) -> None:
    model, x, y = mlp
    model, x = model.to(dtype), x.to(dtype)
    found = sharpness(model, LOSS, x, y, tol=1e-5)
    assert found["lambda_max"] == pytest.approx(dense_spectrum(model, x, y)[-1].item(), rel=1e-4)


def test_double_precision_stays(mlp) -> None:
    model, x, y = mlp
    found = sharpness(model.double(), LOSS, x.double(), y, tol=1e-12)
    assert found["lambda_max"] == pytest.approx(dense_spectrum(model, x, y)[-1].item(), rel=1e-10)


def test_as_a_preconditioner_sees_it(mlp) -> None:
    model, x, y = mlp
    scaling = [torch.rand_like(p) + 0.1 for p in model.parameters()]
    found = sharpness(model, LOSS, x, y, scaling=scaling, tol=1e-5)
    root = torch.cat([part.flatten() for part in scaling])
    seen = torch.linalg.eigvalsh(root[:, None] * dense(model, x, y) * root)
    assert found["preconditioned"] == pytest.approx(seen[-1].item(), rel=1e-3)
    assert found["residual_preconditioned"] <= 1e-5
    assert found["lambda_max"] == sharpness(model, LOSS, x, y, tol=1e-5)["lambda_max"]


def test_within_no_grad_and_autocast(mlp) -> None:
    model, x, y = mlp
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = sharpness(model, LOSS, x, y)
    assert found == sharpness(model, LOSS, x, y)


def test_seed_decides_the_start_and_nothing_more(mlp) -> None:
    model, x, y = mlp
    first, again, other = (sharpness(model, LOSS, x, y, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert other["lambda_max"] == pytest.approx(first["lambda_max"], rel=1e-3)
    assert other["residual"] != first["residual"]


@pytest.mark.parametrize("method", ["lanczos", "power"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(mlp, method: str, value: float) -> None:
    model, x, y = mlp
    model[0].weight.data[0, 0] = value
    model.train()
    found = sharpness(model, LOSS, x, y, method=method, lowest=True)
    for key in ("lambda_max", "residual", "lambda_min", "residual_min"):
        assert found[key] is None
    assert model.training and model[2].training


def test_lanczos_without_convergence() -> None:
    model = Quadratic(torch.linspace(1, 1.001, 400).tolist())
    found = sharpness(model, Mean(), torch.zeros(1), torch.zeros(1), tol=1e-7, max_matvecs=10)
    assert found["lambda_max"] is None and found["residual"] is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "lanzcos"}, "unknown method 'lanzcos'; known: lanczos, power"),
        ({"loss_fn": nn.CrossEntropyLoss(reduction="sum")}, "reduction='mean'"),
        ({"samples": 0}, "at least one sample"),
        ({"model": nn.ReLU()}, "no parameters that are trained"),
    ],
)
def test_impossible_arguments(mlp, changed: dict, message: str) -> None:
    model, x, y = mlp
    with pytest.raises(ValueError, match=message):
        sharpness(**{"model": model, "loss_fn": LOSS, "x": x, "y": y} | changed)


def test_the_real_task(datasets: Path) -> None:
    """The demo's own case: both methods agree where the largest eigenvalue is positive."""
    task = catalog.get("mnist1d-cnn")
    data = catalog.load_data(task, datasets)
    torch.manual_seed(0)
    network = task.network()
    optimizer = task.optimizer(network.parameters())
    optimizer.param_groups[0]["lr"] = 0.01
    for _ in range(30):
        optimizer.zero_grad()
        task.loss(network(data.train.x[:200]), data.train.y[:200]).backward()
        optimizer.step()
    split = data.train
    lanczos, power = (
        sharpness(network, task.loss, split.x, split.y, samples=512, method=method)
        for method in ("lanczos", "power")
    )
    assert lanczos["lambda_max"] > 1 and lanczos["residual"] < 1e-2
    assert lanczos["matvecs"] < 40
    assert power["lambda_max"] == pytest.approx(lanczos["lambda_max"], rel=1e-2)
