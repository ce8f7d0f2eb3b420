"""A run of the sweep beside what a LODE predicts of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.lode.channels import Channels
from components.lode.errors import LODEError
from components.lode.model import LODE, LODEConfig
from components.lode.names import CONFIG, WEIGHTS
from components.lode.predictions import predict_held_out
from components.training.history import History


def save(histories: list[History], folder: Path, held_out_seeds: int) -> Path:
    """A real LODE of random weights that has seen nothing."""
    series = [history.series() for history in histories]
    config = LODEConfig(
        channels=Channels.measure(series),
        points=len(series[0]),
        fit={"settings": {"held_out_seeds": held_out_seeds}},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LODE(config).save(folder)
    return folder


def best(histories: list[History]) -> tuple[str, float | None]:
    """By the mean of validation's best, worked out again."""
    merits: dict[tuple[str, float | None], list[float]] = {}
    for history in histories:
        merits.setdefault(history.configuration, []).append(history.points["val_metric"].max())
    return max(merits, key=lambda configuration: float(np.mean(merits[configuration])))


def test_a_held_out_run_of_the_best_configuration_is_predicted(
    histories: list[History], tmp_path: Path
) -> None:
    found = predict_held_out(save(histories, tmp_path, held_out_seeds=1), histories)
    assert found is not None and found.held_out
    assert found.history.configuration == best(histories)
    assert found.history.meta["seed"] == 2, "the last seed is held out of the fit"
    assert list(found.predicted) == [5, 50]
    assert [seen for seen, _ in found.predicted.values()] == [2, 15]
    for _, predicted in found.predicted.values():
        assert predicted.shape == (30, 3) and np.isfinite(predicted).all()
    described = found.describe()
    assert described["run_id"] == found.history.run_id
    assert described["observed_points"] == {"5": 2, "50": 15}


def test_where_nothing_was_held_out_it_says_so(histories: list[History], tmp_path: Path) -> None:
    found = predict_held_out(save(histories, tmp_path, held_out_seeds=0), histories)
    assert found is not None and not found.held_out


def test_a_held_out_seed_that_diverged_counts_for_nothing(
    histories: list[History], tmp_path: Path
) -> None:
    folder = save(histories, tmp_path, held_out_seeds=1)
    for history in histories:
        if history.meta["seed"] == 2:
            history.meta["status"] = "diverged"
    found = predict_held_out(folder, histories)
    assert found is not None and found.history.completed
    assert found.history.meta["seed"] == 1 and found.held_out


def test_without_weights_or_a_completed_run_there_is_nothing(
    histories: list[History], tmp_path: Path
) -> None:
    assert predict_held_out(tmp_path, histories) is None
    folder = save(histories, tmp_path, held_out_seeds=1)
    for history in histories:
        history.meta["status"] = "diverged"
    assert predict_held_out(folder, histories) is None


def test_weights_and_config_of_two_fits_are_told(histories: list[History], tmp_path: Path) -> None:
    save(histories, tmp_path / "one", held_out_seeds=1)
    save(histories[:3], tmp_path / "other", held_out_seeds=1)
    (tmp_path / "one" / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes()[::-1])
    assert (tmp_path / "one" / CONFIG).exists()
    with pytest.raises(LODEError):
        predict_held_out(tmp_path / "one", histories)
