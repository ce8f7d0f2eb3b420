"""`import lode` in a training of one's own: fast, and with no package beyond the core's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lode

ROOT = Path(__file__).parents[1]
# What the core declares, as modules, and what torch brings itself.
OURS = {"components", "lode"}
HIDDEN = """
import sys

sys.modules.update(dict.fromkeys({names}))  # None: as if it were not installed
"""


def project() -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[\w.-]+", one) for one in requirements)
    return {one[0].lower() for one in found if one}


def modules(extra: str) -> set[str]:
    """Top-level modules of an extra's packages."""
    called = {
        "pyyaml": "yaml",
        "scikit-learn": "sklearn",
    }
    packages = names(project()["optional-dependencies"][extra])  # type: ignore[index]
    return {called.get(package, package.replace("-", "_")) for package in packages}


def run(code: str, *hidden: str) -> str:
    script = (HIDDEN.format(names=set(hidden)) if hidden else "") + code
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, text=True, capture_output=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_is_four_packages() -> None:
    declared = names(project()["dependencies"])  # type: ignore[arg-type]
    assert declared == {"torch", "numpy", "safetensors", "annotated-types"}
    extras: dict[str, list[str]] = project()["optional-dependencies"]  # type: ignore[assignment]
    assert {"pipeline", "wandb", "tensorboard", "lightning", "transformers"} <= set(extras)
    (everything,) = [one for one in extras["dev"] if one.startswith("lode-pipeline[")]
    for extra in ("pipeline", "wandb", "tensorboard", "lightning", "transformers"):
        assert extra in everything, "make setup installs all that the tests need"


def test_a_training_needs_nothing_of_the_pipelines(tmp_path: Path) -> None:
    """Every module that is not the core's is refused, from the first import to the last decision.
    The LODE's weights are random; a fitted one is in tests/adapters."""
    code = f"""
import lode, torch
from components.lode.channels import Channels
from components.lode.model import LODE, LODEConfig
from components.lode.plan_file import Plan, PlanMetric, write_plan
parameter = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.SGD([parameter], lr=1.0)

metric = PlanMetric("loss", "minimize", False)
plan = Plan("t", "s", ((0.0, 0.1), (0.9, 0.01)), metric, None, None, 1, 10, 10)
write_plan(plan, {str(tmp_path / "plan.json")!r})
scheduler = lode.LODEScheduler.load({str(tmp_path / "plan.json")!r}, optimizer, total_steps=10)
print(scheduler.get_last_lr(), scheduler.goal)

channels = Channels(-0.01, 1e-3, (1e-6, 0.1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LODE(LODEConfig(channels, points=10, initial_schedule=(0.1,) * 10)).save({str(tmp_path)!r})
scheduler = lode.LODEScheduler.load({str(tmp_path)!r}, optimizer, total_steps=20)
for step in range(20):
    optimizer.step()
    scheduler.step()
    if scheduler.at_log_point:
        scheduler.observe(train_loss=1 - step / 40, val_metric=step / 40)
scheduler.load_state_dict(scheduler.state_dict())
print(len(scheduler.decisions))
"""
    hidden = modules("pipeline") | modules("lightning") | modules("transformers")
    assert run(code, *hidden) == "[0.1] minimize\n4\n"


@pytest.mark.parametrize("name", sorted(lode._HOMES))
def test_every_public_name_is_there(name: str) -> None:
    if name in ("LightningCallback", "TransformersCallback"):
        pytest.importorskip(name.removesuffix("Callback").lower())
    assert getattr(lode, name).__name__ == name.rpartition(".")[2]
    assert name in dir(lode)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'lode' has no attribute 'Runs'; it has"):
        _ = lode.Runs


def test_importing_it_takes_no_time_and_nothing_along() -> None:
    code = (
        "import json, sys, time\nbefore = set(sys.modules)\nstart = time.perf_counter()\n"
        "import lode\ntook = time.perf_counter() - start\n"
        "new = sorted({m.partition('.')[0] for m in set(sys.modules) - before})\n"
        "print(json.dumps([took, new]))"
    )
    took, brought = json.loads(run(code))
    assert took < 0.3
    foreign = set(brought) - set(sys.stdlib_module_names)
    assert foreign <= {"lode"}


@pytest.mark.parametrize(
    ("hidden", "words", "said"),
    [
        (["click"], ["fit"], "lode: click is not installed"),
        (["yaml"], ["fit"], "lode: yaml is not installed"),
        (["pydantic"], ["fit"], "lode: pydantic is not installed"),
    ],
)
def test_the_commands_say_what_to_install(hidden: list[str], words: list[str], said: str) -> None:
    code = HIDDEN.format(names=set(hidden)) + (
        f"sys.argv = ['lode', *{words!r}]\nfrom components.cli.start import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and "pip install 'lode-pipeline[pipeline]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1, "no traceback"
