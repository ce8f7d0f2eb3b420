"""The plane of the LODE's states, and the figure of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.evaluation.latent_space import LatentSpace, by_pca, by_umap, draw
from components.evaluation.metric import Metric

R, K, D = 6, 12, 5


def space(states: np.ndarray) -> LatentSpace:
    moments = np.linspace(5, 100, states.shape[1])
    rates = np.geomspace(0.1, 1e-9, states.shape[1])
    series = np.stack(np.broadcast_arrays(2 - moments / 100, moments / 100, rates), -1)
    names = ("lode", "onecycle", "cosine")
    return LatentSpace(
        states,
        moments,
        np.broadcast_to(series, (*states.shape[:2], 3)),
        tuple(names[i % 3] for i in range(len(states))),
    )


def test_the_principal_components_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(R, K, D)) * np.array([5, 3, 1, 0.5, 0.1]) + 7
    found = by_pca(space(states))
    flat = states.reshape(-1, D)
    values = np.linalg.eigvalsh(np.cov(flat.T, ddof=0))[::-1]
    assert found.xy.reshape(-1, 2).var(0) == pytest.approx(values[:2])
    assert found.xy.reshape(-1, 2).mean(0) == pytest.approx([0, 0], abs=1e-9)
    share = 100 * values / values.sum()
    assert found.axes == (f"PC 1 ({share[0]:.0f} %)", f"PC 2 ({share[1]:.0f} %)")


def test_turning_the_latent_space_does_not_turn_the_picture() -> None:
    """Which axes a fit gives its latents is chance; distances in the plane are not."""
    rng = np.random.default_rng(1)
    states = rng.normal(size=(R, K, D)) * np.array([5, 3, 1, 0.5, 0.1])
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    one, other = (by_pca(space(each)).xy.reshape(-1, 2) for each in (states, states @ turn))
    assert np.linalg.norm(one, axis=1) == pytest.approx(np.linalg.norm(other, axis=1))


@pytest.mark.parametrize(
    "states", [np.zeros((R, K, D)), np.ones((1, 1, 1)), np.arange(6.0).reshape(2, 3, 1)]
)
def test_states_that_hardly_differ_have_a_figure_too(states: np.ndarray, tmp_path: Path) -> None:
    draw(space(states), tmp_path / "latent.svg", Metric())
    assert "training loss" in (tmp_path / "latent.svg").read_text(encoding="utf-8")


def test_the_figure_is_small_names_the_schedulers_and_is_the_same_again(tmp_path: Path) -> None:
    states = np.random.default_rng(2).normal(size=(25, 50, 20))
    paths = [tmp_path / "one.svg", tmp_path / "again.svg"]
    for path in paths:
        draw(space(states), path, Metric())
    text = paths[0].read_text(encoding="utf-8")
    assert len(text) < 400_000 and text == paths[1].read_text(encoding="utf-8")
    assert all(f">{name}<" in text for name in ("LODE", "OneCycle", "Cosine", "learning rate"))


def test_umap_is_an_extra() -> None:
    pytest.importorskip("umap")
    states = np.random.default_rng(3).normal(size=(R, K, D))
    assert by_umap(space(states)).xy.shape == (R, K, 2)
