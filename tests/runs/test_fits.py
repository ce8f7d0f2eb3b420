"""LODE and judge fitted side by side are those fitted one after the other, killed or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.lode import fit as module
from components.lode.fit import CHECKPOINT, fit
from components.lode.judge_fit import Runs, fit_judge
from components.lode.names import CONFIG, WEIGHTS
from components.lode.opening import Opening
from components.lode.settings import Architecture, FitSettings, JudgeSettings
from components.runs.fits import Recipe, fit_both
from components.training.history import History
from tests.lode.conftest import synthetic

MU = 4  # of 30 points
RECIPE = Recipe(
    MU / 30, FitSettings(updates=40), JudgeSettings(updates=60), Architecture(solver_steps=4)
)
OPENING = Opening((0.1, 0.2), ("cosine", 0.05))


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [
        synthetic(scheduler, peak, seed)
        for scheduler in ("constant", "cosine")
        for peak in (0.01, 0.1)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def pilots() -> list[History]:
    return [synthetic("cosine", 0.03, seed) for seed in (0, 1)]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_EVERY", 10)


@pytest.mark.usefixtures("often")
def test_equal_to_the_bit_also_after_a_kill(
    histories: list[History], pilots: list[History], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    lode = fit(
        histories,
        pilots=pilots,
        folder=whole,
        mu=MU,
        settings=RECIPE.fit,
        architecture=RECIPE.architecture,
    ).lode
    judge = fit_judge(Runs.of([*histories, *pilots]), RECIPE.judge, opening=OPENING)
    judge.save(whole)

    folder, checkpoint = tmp_path / "killed", tmp_path / "checkpoint"
    places = {"folder": folder, "checkpoint": checkpoint}
    told: list[tuple[int, str]] = []

    def tell(units: int, note: str) -> None:
        told.append((units, note))
        if sum(units for units, note in told if note != "judge") == 20:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit_both(histories, pilots, RECIPE, opening=OPENING, advance=tell, **places)
    assert (checkpoint / CHECKPOINT).exists() and not folder.exists()

    told.clear()
    again, with_it = fit_both(
        histories,
        pilots,
        RECIPE,
        opening=OPENING,
        advance=lambda *one: told.append(one),
        **places,
    )
    fitted = [units for units, note in told if note != "judge"]
    assert fitted == [30, 10], "it went on at the checkpoint of 20 updates"
    assert sum(units for units, _ in told) == RECIPE.updates
    with_it.save(folder)
    for path in whole.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    for one, other in ((lode, again), (judge, with_it)):
        weights = other.state_dict()
        assert all(torch.equal(x, weights[name]) for name, x in one.state_dict().items())
    assert {WEIGHTS, CONFIG} <= {path.name for path in folder.iterdir()}
    assert with_it.config == judge.config
