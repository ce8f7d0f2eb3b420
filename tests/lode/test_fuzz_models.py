"""Model files changed in hundreds of ways: each is refused by name, or changes nothing."""

from __future__ import annotations

import json
import math
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.lode import names
from components.lode.channels import Channels
from components.lode.errors import LODEError
from components.lode.judge import Judge, JudgeConfig, Scales
from components.lode.model import LODE, LODEConfig
from components.lode.opening import Opening
from components.lode.scheduler import load_scheduler
from components.schedulers import policy as policies
from components.schedulers.gns import GNSPolicy
from components.schedulers.policy import Policy, PolicyError, load_policy, save_policy
from components.schedulers.rl_controller import RLPolicy
from components.storage.typed import SEAL, sealed
from tests.mutations import byte_changes, field_changes

POINTS = 10
CHANNELS = Channels(-0.01, 1e-4, (1e-9, 0.1), (-0.5, 0.6, -4.0), (1.2, 0.2, 2.0))
SCALES = Scales(1e-3, 0.1, -0.01, 1.0, 0.02, (-3.0, 1.0), (0.0, 1.0), (1.0, 0.5))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    rates = tuple(0.1 / (i + 1) for i in range(POINTS))
    config = LODEConfig(CHANNELS, points=POINTS, initial_schedule=rates, latent=3, hidden=3)
    LODE(config).save(folder)
    plan = Opening((*rates, 0.005), ("onecycle", 0.1))
    Judge(JudgeConfig(SCALES, members=2, width=3, hidden=3, error=0.01, opening=plan)).save(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "lode"))


def predicts(folder: Path) -> list[list[float]]:
    """All that a model says: of a window, of plans, and what both controllers do with a run."""
    window = np.stack((np.linspace(2, 1, 4), np.linspace(0.2, 0.5, 4), np.full(4, 0.05)), -1)
    times, tables = np.arange(1, 5) / POINTS, np.full((2, POINTS + 1), 0.03)
    said = [LODE.load(folder).predict(times, window[None], np.linspace(0, 1, 5)).ravel()]
    said.append(Judge.load(folder).final_metric(tables).ravel())
    for controller in ("paper", "default"):
        run = load_scheduler(folder, updates=20, points=POINTS, mu=0.2, n=4, controller=controller)
        for point, row in enumerate(window, 1):
            run.observe(point, *row)
        said.append(np.array([run.lr(step) for step in range(20)]))
        assert np.isfinite(said[-1]).all() and said[-1].min() > 0
    return [one.tolist() for one in said]


def outcome(
    path: Path, content: bytes, before: Any, error: type[ValueError], predict: Callable[[], Any]
) -> bool:
    """Whether it was refused; anything else than a short refusal by name, or no change, fails."""
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert predict() == before, content[:300]
    except error as refusal:
        said = str(refusal).replace(str(path.parent), "")
        assert path.name in said and "run `lode " in said and len(said) < 400, said
        return True
    return False


@pytest.mark.parametrize("name", [names.CONFIG, names.JUDGE_CONFIG])
def test_a_changed_json_is_refused_or_changes_nothing(name: str, folder: Path) -> None:
    draw, before = random.Random(name), predicts(folder)
    content = (folder / name).read_bytes()
    raw = json.loads(content)
    contents = [json.dumps(one).encode() for one in field_changes(raw, draw, 3)]
    contents += byte_changes(content, draw, 20)
    refused = [
        outcome(folder / name, one, before, LODEError, lambda: predicts(folder)) for one in contents
    ]
    assert len(refused) > 150 and sum(refused) > 0.9 * len(refused)


@pytest.mark.parametrize("name", [names.CONFIG, names.JUDGE_CONFIG])
def test_every_wrong_type_is_refused_also_under_a_seal_of_its_own(name: str, folder: Path) -> None:
    """Whoever changes a file on purpose can seal it again: types and ranges hold all the same."""
    path, draw = folder / name, random.Random(name)
    raw = {k: v for k, v in json.loads(path.read_bytes()).items() if k != SEAL}
    for one in field_changes(raw, draw, 3):
        path.write_text(sealed(one, allow_nan=True))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                predicts(folder)  # whose rates are finite and positive
        except LODEError as refusal:
            assert "run `lode fit`" in str(refusal) and len(str(refusal)) < 400 + len(str(folder))
            said = name, names.WEIGHTS, names.JUDGE_WEIGHTS, "has no initial schedule"
            assert any(one in str(refusal) for one in said)


@pytest.mark.parametrize("name", [names.WEIGHTS, names.JUDGE_WEIGHTS])
def test_changed_weights_are_refused(name: str, folder: Path) -> None:
    draw, before = random.Random(name), predicts(folder)
    contents = list(byte_changes((folder / name).read_bytes(), draw, 20))
    assert len(contents) > 80
    for one in contents:
        outcome(folder / name, one, before, LODEError, lambda: predicts(folder))


def test_the_plan_that_predicted_a_fifth_is_refused(folder: Path) -> None:
    path = folder / names.JUDGE_CONFIG
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"plan": [], "schedule": ["constant", 0.2]}))
    with pytest.raises(LODEError, match=r"judge\.json: changed since it was written .*`lode fit`"):
        Judge.load(folder)


@pytest.mark.parametrize("rates", [[-0.1] * (POINTS + 1), [0.1, math.nan], [math.inf] * 3, [0.0]])
def test_rates_are_finite_and_positive_wherever_a_plan_is_read(
    rates: list[float], folder: Path
) -> None:
    path = folder / names.JUDGE_CONFIG
    path.write_text(sealed(json.loads(path.read_text()) | {"plan": rates}, allow_nan=True))
    with pytest.raises(LODEError, match=r"judge\.json: plan\[\d\]"):
        Judge.load(folder)
    if rates != [0.0]:  # which becomes the least rate of the histories
        with pytest.raises(LODEError, match=r"the plan has rates from .* to "):
            Opening(tuple(rates))


POLICIES: dict[str, Callable[[], Policy]] = {
    "rl-controller": lambda: RLPolicy.create(nn.Linear(3, 2), (0.01, 0.1)),
    "gns": lambda: GNSPolicy("0" * 16, ["linear", "linear"], [(0, 1)]),
}


@pytest.mark.parametrize("name", ["rl-controller", "gns"])
def test_a_changed_policy_is_refused_or_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = made_policy(name)
    save_policy(made, tmp_path, scheduler=name, task="t", learning={"episodes": 3})
    draw = random.Random(name)

    def facts() -> Any:
        found = load_policy(type(made), tmp_path, scheduler=name, task="t")
        weights = {key: value.tolist() for key, value in found.policy.state_dict().items()}
        return found.policy.settings(), weights, found.digest, found.learning

    before, path = facts(), tmp_path / policies.CONFIG
    content = path.read_bytes()
    contents = [json.dumps(one).encode() for one in field_changes(json.loads(content), draw, 5)]
    for one in [*contents, *byte_changes(content, draw, 20)]:
        outcome(path, one, before, PolicyError, facts)
    path.write_bytes(content)
    weights = tmp_path / policies.WEIGHTS
    for one in byte_changes(weights.read_bytes(), draw, 20):
        outcome(weights, one, before, PolicyError, facts)


def made_policy(name: str) -> Policy:
    return POLICIES[name]()
