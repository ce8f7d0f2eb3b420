"""`synthetic`: the generator of made-up histories beside this file, as a module."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    path = Path(__file__).with_name("synthetic.py")
    spec = importlib.util.spec_from_file_location("synthetic_histories", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folders(synthetic: Any, tmp_path: Path) -> dict[str, Path]:
    """A finished sweep, comparison and fit on disk, by the names of `evaluate`'s arguments."""
    return make_folders(synthetic, tmp_path)


def make_folders(synthetic: Any, root: Path) -> dict[str, Path]:
    errors = {
        part: {
            channel: {"mean": mean, "std": 0.01, "runs": 12}
            for channel in ("train_loss", "val_metric", "log_lr")
        }
        for part, mean in (("fitted", 0.111), ("held_out", 0.222))
    }
    fit = {
        "settings": {"held_out_seeds": 1},
        "histories": 36,
        "held_out": 12,
        "table_a1": {"5%": errors, "50%": errors},
        "rank": {
            "all": {"rank": 3, "of": 36, "metric": 0.94, "best": 0.95},
            "held_out": {"rank": 1, "of": 12, "metric": 0.95, "best": 0.95},
        },
    }
    sweep = synthetic.sweep()
    (root / "report").mkdir(parents=True)
    (root / "report" / "pilots.json").write_text(json.dumps(synthetic.pilots()))
    return {
        "sweep_dir": synthetic.write(sweep, root / "sweep"),
        "scheduled_dir": synthetic.write(synthetic.scheduled(), root / "scheduled"),
        "lode_dir": synthetic.write_lode(sweep, fit, root / "lode"),
        "report_dir": root / "report",
    }


@pytest.fixture(scope="session")
def finished(synthetic: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """An evaluation and its report folder, to read only."""
    from components.evaluation.evaluate import evaluate

    folders = make_folders(synthetic, tmp_path_factory.mktemp("finished"))
    return evaluate(synthetic.TASK, **folders, seeds=range(100, 106)), folders["report_dir"]
