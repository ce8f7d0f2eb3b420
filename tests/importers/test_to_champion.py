"""A stranger's runs in a tracker, imported, fitted, registered; and a script that follows the
champion where this project is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.settings import load
from components.steps.pipeline import steps_of
from components.storage.workspace import Workspace

from .made import lode_import

STRANGERS = Path(__file__).parent / "strangers"
METRIC = {"name": "val_acc", "goal": "maximize", "percent": True}
FOLLOWS = """
import json, sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.path[:] = [p for p in sys.path if "editable" not in p]
sys.path_hooks[:] = [h for h in sys.path_hooks if "editable" not in repr(h).lower()]
import importlib.util
assert importlib.util.find_spec("components") is None
import mlflow, pandas as pd
uri, points = sys.argv[1], int(sys.argv[2])
mlflow.set_tracking_uri(uri)
mlflow.set_registry_uri(uri)
model = mlflow.pyfunc.load_model("models:/lode-old-runs@champion")
rows, rates = [], []
while len(rows) < points:
    window = pd.DataFrame(rows, columns=["point", "train_loss", "val_metric", "lr"])
    ahead = model.predict(window.astype({"point": "int64"}))
    for row in ahead.itertuples():
        rates.append(row.lr)
        share = row.point / points
        rows.append([row.point, 2.0 - share, 0.3 + share / 2, row.lr])
print(json.dumps(rates))
"""


def a_strangers(tracker: str, folder: Path) -> tuple[str, ...]:
    """Log runs, as somebody did long ago; what `lode import` is told to read them."""
    quiet = {**os.environ, "WANDB_DIR": str(folder), "WANDB_SILENT": "true"}
    arguments = {"mlflow": [f"sqlite:///{folder}/old.db", "süß", "12"], "wandb": ["6"]}[tracker]
    command = [sys.executable, str(STRANGERS / f"with_{tracker}.py"), *arguments]
    subprocess.run(command, env=quiet, cwd=folder, check=True, timeout=250)
    return (
        ("mlflow", arguments[0], "--updates", "500")
        if tracker == "mlflow"
        else (
            "wandb",
            str(folder / "wandb"),
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_imported_fitted_registered_and_followed(tracker: str, tmp_path: Path) -> None:
    pytest.importorskip(tracker)
    asked = a_strangers(tracker, tmp_path)
    updates = 500 if tracker == "mlflow" else 300
    settings = {
        "task": "old-runs",
        "tasks": {"old-runs": {"imported": True, "metric": METRIC}},
        "training": {"updates": updates, "points": 20},
        "lode": {
            "fit": {"updates": 20},
            "judge": {"updates": 20},
            "scheduler": {"n": 5},
        },
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    done = lode_import(*asked, root=tmp_path)
    assert done.exit_code == 0 and "came in" in done.output, (done.output, done.exception)
    own, workspace = load(tmp_path / "params.yaml"), Workspace(tmp_path)
    ran = [step.name for step in steps_of(own) if step(own, workspace).ran]
    assert ran[-1] == "register" and "evaluate" not in ran
    uri = workspace.database(own.registry.tracking_uri)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    followed = subprocess.run(
        [sys.executable, "-c", FOLLOWS, uri, "20"],
        cwd=elsewhere,
        env=bare,
        text=True,
        capture_output=True,
        timeout=250,
    )
    assert followed.returncode == 0, followed.stderr[-2000:]
    rates = json.loads(followed.stdout.splitlines()[-1])
    assert len(rates) == 20 and all(0 < rate < 10 for rate in rates)
