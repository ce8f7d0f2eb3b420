"""Extreme eigenvalues against dense matrices whose spectra are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from components.evaluation.lanczos import BASIS, BOTTOM, TOP, lanczos, power


def symmetric(spectrum: list[float], seed: int = 0) -> Tensor:
    """A matrix of these eigenvalues in a random basis, fp64."""
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(len(spectrum), len(spectrum), generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(square).Q
    return basis @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ basis.T


def start(size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    v = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (v / v.norm()).to(dtype)


def both(matrix: Tensor, tol: float = 1e-6, most: int = 2000):  # type: ignore[no-untyped-def]
    return lanczos(
        matrix.matmul,
        start(len(matrix), matrix.dtype),
        tol=tol,
        most=most,
        ends=(TOP, BOTTOM),
    )


@settings(max_examples=40)
@given(
    spectrum=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60),
    seed=st.integers(0, 99),
)
def test_both_ends_of_any_spectrum(spectrum: list[float], seed: int) -> None:
    top, bottom = both(symmetric(spectrum, seed))
    radius = max(map(abs, spectrum))
    assert top and bottom
    assert top.value == pytest.approx(max(spectrum), abs=1e-5 * radius + 1e-12)
    assert bottom.value == pytest.approx(min(spectrum), abs=1e-5 * radius + 1e-12)
    assert max(top.residual, bottom.residual) <= 1e-6


@pytest.mark.parametrize(
    "spectrum",
    [
        [-9.0, *np.linspace(-1, 1, 60), 3.0],  # the negative one is larger in magnitude
        [*[0.0] * 6, *np.linspace(-5, -0.0931, 12)],  # 0 is the largest, and manifold
        [*np.linspace(-1e-6, 1e-6, 200), 100.0],  # one outlier
        [7.0] * 50,
        [0.0] * 50,
        [2.0],
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spectra_that_lead_astray(spectrum: list[float], dtype: torch.dtype) -> None:
    top, bottom = both(symmetric(spectrum).to(dtype), tol=1e-3)
    radius = max(map(abs, spectrum))
    assert top and top.value == pytest.approx(max(spectrum), abs=1e-3 * radius)
    assert bottom and bottom.value == pytest.approx(min(spectrum), abs=1e-3 * radius)


@given(most=st.integers(1, 60), seed=st.integers(0, 20))
@settings(max_examples=30)
def test_an_eigenvalue_lies_within_the_residual(most: int, seed: int) -> None:
    """However early it is stopped, and over restarts."""
    spectrum = np.sort(np.random.default_rng(seed).normal(size=150))
    matrix = symmetric(spectrum.tolist(), seed)
    for found in both(matrix, tol=0.5, most=most):
        if found:
            radius = abs(spectrum).max()
            assert abs(spectrum - found.value).min() <= found.residual * radius * (1 + 1e-9)


def test_restarts_hold_what_was_found() -> None:
    """A crowded end takes more products than the basis has vectors."""
    products = 0
    spectrum = np.linspace(0, 1, 400)
    matrix = symmetric(spectrum.tolist())

    def product(v: Tensor) -> Tensor:
        nonlocal products
        products += 1
        return matrix @ v

    (top,) = lanczos(product, start(400), tol=1e-6, most=1000, ends=(TOP,))
    assert top and top.value == pytest.approx(1.0, abs=1e-5)
    assert 2 * BASIS < products < 400


def test_what_did_not_come_to_the_tolerance_is_none() -> None:
    crowded = symmetric([1.0, *np.linspace(-1, -1.001, 400)])
    top, bottom = both(crowded, tol=1e-7, most=12)
    assert top and top.value == pytest.approx(1.0) and bottom is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_products_that_are_not_finite(value: float) -> None:
    def product(v: Tensor) -> Tensor:
        return torch.full_like(v, value)

    with pytest.raises(FloatingPointError):
        lanczos(product, start(5, torch.float32), tol=1e-3, most=9, ends=(TOP,))
    with pytest.raises(FloatingPointError):
        power(product, start(5, torch.float32), tol=1e-3, most=9)


def test_power_finds_the_largest_magnitude_and_keeps_its_sign() -> None:
    matrix = symmetric([-9.0, *np.linspace(-1, 1, 20), 3.0])
    found = power(matrix.matmul, start(len(matrix)), tol=1e-6, most=200)
    assert found.value == pytest.approx(-9.0) and found.residual <= 1e-6
    early = power(matrix.matmul, start(len(matrix)), tol=1e-6, most=2)
    assert early.residual > 1e-3, "its last estimate, which its residual judges"
