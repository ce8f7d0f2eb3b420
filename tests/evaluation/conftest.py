"""`synthetic`: the generator of made-up histories beside this file, as a module."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components.evaluation.evaluate import evaluate, write_evaluation
from components.evaluation.results import Evaluation

SEEDS = range(100, 106)


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    path = Path(__file__).with_name("synthetic.py")
    spec = importlib.util.spec_from_file_location("synthetic_histories", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def given(synthetic: Any) -> dict[str, Any]:
    """A finished sweep, comparison, fit and pilots, by the names of `evaluate`'s arguments."""
    return make_given(synthetic)


def make_given(synthetic: Any) -> dict[str, Any]:
    sweep = synthetic.sweep()
    return {
        "task": synthetic.TASK,
        "seeds": SEEDS,
        "sweep": sweep,
        "chosen": synthetic.chosen(),
        "runs": synthetic.scheduled(),
        "fit": synthetic.fit(),
        "pilots": synthetic.pilots(),
        "trajectories": synthetic.trajectories(sweep),
    }


@pytest.fixture
def given_finer(synthetic: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The same with a finer search, which chose OneCycle at a peak of its own."""
    fresh = [synthetic.history("onecycle", 0.07, seed, level=0.948) for seed in SEEDS]
    return {
        **given,
        "chosen": {**given["chosen"], "finer-search": ("onecycle", 0.07)},
        "finer": synthetic.finer(),
        "runs": [*given["runs"], *fresh],
    }


@pytest.fixture(scope="session")
def finished(synthetic: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """An evaluation and its report folder, to read only."""
    given, folder = make_given(synthetic), tmp_path_factory.mktemp("finished")
    found = evaluate(**given)
    plan = {"plan.json": "{}\n", "plan.csv": "share_of_training,learning_rate\n0.0,0.01\n"}
    write_evaluation(found, given["sweep"], given["runs"], given["trajectories"], folder, plan)
    return found, folder
