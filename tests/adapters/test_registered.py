"""`models:/…` as a source: a version is checked, copied and followed with its own settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.adapters.torch_scheduler import LODEScheduler
from components.lode.errors import LODEError
from components.lode.names import CONFIG
from components.registry.connection import RegistryError
from tests.registry.made import register_champion
from tests.registry.test_models import TASK, registered

from .made import UPDATES, Training, an_optimizer
from .test_torch_scheduler import NOISY, begun

CHAMPION = f"models:/lode-{TASK}@champion"


def load(uri: str = CHAMPION, **given: Any) -> Training:
    optimizer: Any = an_optimizer()
    given = {"total_steps": UPDATES} | given
    return Training(LODEScheduler.load(uri, optimizer, **given), optimizer)


def test_the_champion_is_followed_as_it_was_registered(
    lode_dir: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registered(lode_dir, tracking_uri, register_champion)
    settings = {"seed": 1, "caution": 0.0}
    expected = begun(lode_dir, **NOISY).go(UPDATES)
    assert load(tracking_uri=tracking_uri, **settings).go(UPDATES) == expected
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    training = load(**settings)
    assert training.go(UPDATES) == expected
    assert training.scheduler.state_dict()["controller"]["settings"]["horizon"] is None
    assert load(version.uri).scheduler.state_dict()["controller"]["settings"]["caution"] == 1.0
    (Path(version.location) / f"artifacts/lode/{CONFIG}").write_text("{}")
    with pytest.raises(RegistryError, match="not those that were registered"):
        load()


def test_what_is_not_there_is_named(tracking_uri: str) -> None:
    for uri, said in (
        (CHAMPION, "does not exist; the registry is empty"),
        ("models:/lode-x", "not a model; expected models:/lode-<task>@champion"),
    ):
        with pytest.raises(RegistryError, match=said):
            load(uri, tracking_uri=tracking_uri)


def test_without_mlflow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.delitem(sys.modules, "components.registry.following", raising=False)
    with pytest.raises(RegistryError, match="MLflow is not installed: pip install mlflow"):
        load()
    monkeypatch.setitem(sys.modules, "components.registry.following", None)
    with pytest.raises(LODEError, match=r"a registry needs MLflow, .*pip install mlflow"):
        load()


FOLLOWER = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("components", "flows", "lode"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import mlflow, torch
given = json.loads(sys.argv[1])
mlflow.set_tracking_uri(given["tracking_uri"])
model = mlflow.pyfunc.load_model(given["uri"]).unwrap_python_model()
parameter = torch.nn.Parameter(torch.zeros(2))
parameter.grad = torch.zeros(2)

def begun():
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = model.scheduler(optimizer, total_steps=given["total_steps"], **given["settings"])
    return optimizer, scheduler

optimizer, scheduler = begun()
assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
rates = []
for done, told in enumerate(given["told"], start=1):
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    scheduler.step()
    if scheduler.at_log_point:
        scheduler.observe(*told)
    if done == 93:
        state = json.loads(json.dumps(scheduler.state_dict()))
        optimizer, scheduler = begun()
        scheduler.load_state_dict(state)
print(json.dumps([rates, [move.changed for move in scheduler.decisions]]))
"""


@pytest.mark.slow
def test_the_champion_is_followed_where_this_project_is_not_installed(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    registered(lode_dir, tracking_uri, register_champion)
    training, told = begun(lode_dir, **NOISY), []
    for done in range(1, UPDATES + 1):
        training.go(done)
        told.append(training.measured())
    given = {
        "tracking_uri": tracking_uri,
        "uri": CHAMPION,
        "total_steps": UPDATES,
        "settings": {"seed": 1, "caution": 0.0},
        "told": told,
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWER, json.dumps(given)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rates, changed = json.loads(done.stdout.splitlines()[-1])
    assert [[lr] for lr in rates] == training.rates and any(changed)
