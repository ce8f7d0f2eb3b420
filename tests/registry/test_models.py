"""The registered LODE: lineage, idempotence, and loading where this project does not exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.evaluation.metric import Metric
from components.lode import names
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.names import CONFIG, WEIGHTS
from components.lode.opening import Opening
from components.lode.scheduler import LODEScheduler, load_scheduler
from components.lode.settings import ControllerSettings
from components.registry.about import About
from components.registry.connection import RegistryError, connect
from components.registry.lazy import mlflow
from components.registry.models import champion, fetch, register
from tests.registry.made import register_champion

from .conftest import POINTS, make_history

TASK = "mnist1d-cnn"
TAGS = {
    "histories_digest": "h" * 64,
    "settings_digest": "s" * 64,
    "git_revision": "abc",
    "sweep_runs": "8",
}
MU = 4
LOGGED = ["point", "train_loss", "val_metric", "lr"]


def registered(
    lode_dir: Path, tracking_uri: str, how: Any = register_champion, **changed: Any
) -> Any:
    settings = ControllerSettings(mu=MU / POINTS, n=6, sigma=0.3)
    arguments: dict[str, Any] = {"task": TASK, "tags": TAGS, "settings": settings}
    root = Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts"
    return how(lode_dir, tracking_uri=tracking_uri, artifact_root=root, **(arguments | changed))


def test_register_once_with_lineage_signature_and_example(
    lode_dir: Path, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    first = registered(lode_dir, tracking_uri)
    assert (first.name, first.version, first.uri) == (f"lode-{TASK}", 1, f"models:/lode-{TASK}/1")
    assert TAGS.items() <= first.tags.items()
    assert registered(lode_dir, tracking_uri) == first, "nothing changed, nothing registered"
    assert champion(TASK, tracking_uri=tracking_uri) == first
    assert list(elsewhere.iterdir()) == [], "no ./mlruns in the working directory"
    assert "MLFLOW_REGISTRY_URI" not in os.environ and "MLFLOW_TRACKING_URI" not in os.environ

    with connect(tracking_uri) as client:
        assert client.get_run(first.run_id).data.tags["git_revision"] == "abc"
        info = mlflow.models.get_model_info(first.uri)
        assert [column.name for column in info.signature.inputs] == LOGGED
        assert {p.name: p.default for p in info.signature.params} == {
            "points": POINTS,
            "mu": MU / POINTS,
            "n": 6,
            "horizon": 0,
            "sigma": 0.3,
            "seed": 0,
            "controller": "default",
            "caution": 1.0,
        }
        example = mlflow.pyfunc.load_model(first.uri).input_example
        assert list(example["point"]) == [1, 2, 3, 4]
    stored = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    shipped = {
        WEIGHTS,
        CONFIG,
        names.JUDGE_WEIGHTS,
        names.JUDGE_CONFIG,
        "pyfunc_lode.py",
        "scheduler.py",
    }
    assert shipped <= {path.name for path in stored}
    assert not [path for path in stored if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_a_change_makes_a_new_version_and_promotion_is_a_choice(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    one = registered(lode_dir, tracking_uri)
    two = registered(lode_dir, tracking_uri, register, tags=TAGS | {"settings_digest": "t" * 64})
    assert two.version == 2
    assert champion(TASK, tracking_uri=tracking_uri) == one
    promoted = registered(lode_dir, tracking_uri, tags=TAGS | {"settings_digest": "t" * 64})
    assert (promoted.version, promoted.tags["previous_champion"]) == (2, "1")
    assert champion(TASK, tracking_uri=tracking_uri) == promoted

    other = LODE.load(lode_dir)
    other.readout.bias.data += 1.0
    other.save(tmp_path / "other")
    three = registered(tmp_path / "other", tracking_uri)
    assert three.version == 3
    folder = fetch(f"models:/lode-{TASK}@champion", tracking_uri=tracking_uri)
    assert (folder / WEIGHTS).read_bytes() == (tmp_path / "other" / WEIGHTS).read_bytes()
    folder = fetch(one.uri, tracking_uri=tracking_uri, folder=tmp_path / "fetched")
    assert folder == tmp_path / "fetched"
    assert (folder / WEIGHTS).read_bytes() == (lode_dir / WEIGHTS).read_bytes()
    LODE.load(folder)


def test_another_plan_or_judge_makes_a_new_version(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    one = registered(lode_dir, tracking_uri)
    other = tmp_path / "other"
    LODE.load(lode_dir).save(other)
    found = Judge.load(lode_dir)
    plan = tuple(2 * lr for lr in found.config.opening.table)
    found.config = replace(found.config, opening=Opening(plan))
    found.save(other)
    two = registered(other, tracking_uri)
    assert (one.version, two.version) == (1, 2)
    assert Judge.load(fetch(two.uri, tracking_uri=tracking_uri)).config == found.config


# ------------------------------------------------------------- where the project does not exist

# Run by a Python that cannot import this project: no PYTHONPATH, another working directory, and
# the finder of the editable installation taken out.
FRESH = """
import json, sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.path[:] = [p for p in sys.path if "editable" not in p]
sys.path_hooks[:] = [h for h in sys.path_hooks if "editable" not in repr(h).lower()]
try:
    import components
    raise SystemExit("this project is importable: the test would prove nothing")
except ImportError:
    pass
import mlflow, pandas as pd
given = json.load(sys.stdin)
mlflow.set_tracking_uri(given["uri"])
model = mlflow.pyfunc.load_model(given["model"])
answers = [model.predict(pd.DataFrame(w["rows"]), params=w["params"])
           for w in given["windows"]]
foreign = [m.__file__ for m in list(sys.modules.values())
           if (getattr(m, "__file__", None) or "").startswith(given["repository"])
           and ".venv" not in m.__file__]
print(json.dumps({"answers": [a.to_dict("list") for a in answers], "foreign": foreign,
                  "components": "components" in sys.modules}))
"""


def ask_fresh_process(
    uri: str, model: str, windows: list[tuple[pd.DataFrame, dict[str, Any]]], cwd: Path
) -> dict[str, Any]:
    given = {
        "uri": uri,
        "model": model,
        "repository": str(Path(__file__).parents[2]),
        "windows": [{"rows": frame.to_dict("list"), "params": params} for frame, params in windows],
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", FRESH],
        input=json.dumps(given),
        cwd=cwd,
        env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert not answer["components"] and not answer["foreign"]
    return answer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this LODE was fitted")  # one update per point is asked for
def test_the_champion_loads_where_this_project_does_not_exist_and_decides_the_same(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    registered(lode_dir, tracking_uri)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = make_history("cosine", 0.05, seed=7).points[LOGGED]
    run["lr"] = run["lr"].clip(lower=1e-9)  # a rate of 0 is refused
    seed = {"seed": 3, "controller": "paper"}
    ours = {"seed": 3, "controller": "default", "caution": 0.0}
    windows = [(run.iloc[:now], seed) for now in (2, 4, 7, 12, POINTS - 2, POINTS)]
    windows += [(run.iloc[8:12], seed), (run.iloc[8:12], seed | {"seed": 4, "n": 9})]
    windows += [(run.iloc[:now], ours) for now in (2, 4, 8, 12, 16)] + [(run.iloc[8:12], ours)]
    answer = ask_fresh_process(tracking_uri, f"models:/lode-{TASK}@champion", windows, elsewhere)
    answers = [pd.DataFrame(each) for each in answer["answers"]]

    for (window, _), got in zip(windows[:6], answers, strict=False):
        expected = follow(load_scheduler(lode_dir, **as_asked(10), controller="paper"), window)
        now = len(window)
        assert list(got["point"]) == list(range(now + 1, min(now + MU, POINTS) + 1))
        assert list(got["lr"]) == expected[now : now + MU]
    window_only, other_seed = answers[6:8]
    assert all(window_only["decided"])
    assert list(window_only["lr"]) == list(answers[3]["lr"]), "the last μ points are enough"
    assert list(other_seed["lr"]) != list(window_only["lr"])
    # One update per point: a rate between two points is then the one at the later point.
    for (window, _), got in zip(windows[8:13], answers[8:13], strict=True):
        expected = follow(load_scheduler(lode_dir, **as_asked(1), caution=0.0), window)
        assert list(got["lr"]) == expected[len(window) : len(window) + MU]
    assert any(any(each["decided"]) for each in answers[8:13]), (
        "κ = 0 and nothing is ever decided: proves little"
    )
    assert not any(answers[13]["decided"]), "a part of the history is not enough for it"
    assert list(elsewhere.iterdir()) == []


def as_asked(updates_per_point: int) -> dict[str, Any]:
    """The settings of a training run that asks as the windows do."""
    return {
        "updates": updates_per_point * POINTS,
        "points": POINTS,
        "mu": MU / POINTS,
        "n": 6,
        "sigma": 0.3,
        "seed": 3,
    }


def follow(scheduler: LODEScheduler, window: pd.DataFrame) -> list[float]:
    """The plan, after the window, of the scheduler that a training run would use."""
    for row in window.itertuples():
        scheduler.observe(row.point, row.train_loss, row.val_metric, row.lr)
    return [scheduler.lr(scheduler.settings["updates"] * p // POINTS) for p in range(POINTS)]


def test_windows_that_make_no_sense_are_refused(lode_dir: Path, tracking_uri: str) -> None:
    run = make_history("constant").points[LOGGED]
    uri = registered(lode_dir, tracking_uri).uri
    with connect(tracking_uri):
        model = mlflow.pyfunc.load_model(uri)
    with pytest.raises(
        mlflow.MlflowException, match=r"not consecutive log points of one run within 1\.\.20"
    ):
        model.predict(run.iloc[[0, 2]])
    with pytest.raises(
        mlflow.MlflowException, match=r"do not reach back to point 5: the last decision"
    ):
        model.predict(run.iloc[6:10])
    with pytest.raises(mlflow.MlflowException, match=r"within 1\.\.10"):
        model.predict(run, params={"points": 10})
    with pytest.raises(
        mlflow.MlflowException, match="unknown controller 'papr'; known: default, paper"
    ):
        model.predict(run, params={"controller": "papr"})
    start = model.predict(run.iloc[:0])
    assert list(start["point"]) == [1, 2, 3, 4] and not start["decided"].any()
    final = Judge.load(lode_dir).final_metric(
        np.full((1, POINTS + 1), 0.001)
    )  # what it begins with
    assert start["expected"].tolist() == pytest.approx([float(final.mean())] * 4)
    assert start["spread"].tolist() == pytest.approx([float(final.std())] * 4)
    broken = run.iloc[:MU].assign(train_loss=np.nan)
    assert not model.predict(broken)["decided"].any(), "not finite: the plan goes on"


# ------------------------------------------------------------- what its pages say

ABOUT = About(
    metric=Metric(),
    figures={"pilots_gain": 0.004, "pilots_gain_error": 0.001, "pilot_runs": 80},
    learned_from="8 sweep runs and 80 pilots",
)


def test_a_version_says_what_it_is_and_what_it_is_worth(lode_dir: Path, tracking_uri: str) -> None:
    one = registered(lode_dir, tracking_uri, about=ABOUT)
    error = LODE.load(lode_dir).config.fit["best_error"]
    assert {
        "metric": "accuracy, a share from 0 to 1, not per cent; higher is better",
        "budget": "200 updates, 20 log points",
        "learned_from": "8 sweep runs and 80 pilots",
        "pilots_gain": "+0.0040 ± 0.0010",
        "peak_lr": "0.001",
        "held_out_error": f"{error:.4g}",
    }.items() <= one.tags.items()
    with connect(tracking_uri) as client:
        run = client.get_run(one.run_id)
        expected = {**ABOUT.figures, "held_out_error": error, "peak_lr": 0.001}
        assert run.data.metrics == pytest.approx(expected)
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == (f"histories of {TASK}", "h" * 36)
        experiment = client.get_experiment(run.info.experiment_id)
        (model,) = client.search_logged_models([experiment.experiment_id])
        assert {one.key: one.value for one in model.metrics} == pytest.approx(expected)
        version = client.get_model_version(one.name, str(one.version))
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        assert "Metric (`val_metric`): accuracy, a share from 0 to 1" in version.description
        assert TASK in client.get_registered_model(one.name).description
        # Whoever copies the lines runs a training.
        code = re.findall(r"```python\n(.*?)```", version.description, re.DOTALL)[0]
        assert len(code.splitlines()) <= 15
        said: dict[str, Any] = {"train": lambda lr: (1.0, 0.5)}
        exec(code, said)
    assert [row[0] for row in said["rows"]] == list(range(1, POINTS + 1))


def test_another_task_metric_makes_a_new_version(lode_dir: Path, tracking_uri: str) -> None:
    """The registered model checks values by it."""
    one = registered(lode_dir, tracking_uri, about=ABOUT)
    two = registered(lode_dir, tracking_uri, about=About(metric=Metric("R²", percent=False)))
    assert (one.version, two.version) == (1, 2)
    run = make_history("constant").points[LOGGED].iloc[:8].assign(val_metric=37.0)
    with connect(tracking_uri):
        assert len(mlflow.pyfunc.load_model(two.uri).predict(run)) == MU
        with pytest.raises(mlflow.MlflowException, match="share from 0 to 1"):
            mlflow.pyfunc.load_model(one.uri).predict(run)


# ------------------------------------------------------------- what is not there


def test_what_is_missing_is_named_with_what_exists(lode_dir: Path, tracking_uri: str) -> None:
    uri = f"models:/lode-{TASK}@champion"
    with pytest.raises(RegistryError, match=r"registry is empty; run `lode register` first"):
        fetch(uri, tracking_uri=tracking_uri)
    registered(lode_dir, tracking_uri, register)
    with pytest.raises(RegistryError, match=r"has versions 1 and no alias; run `lode register`"):
        champion(TASK, tracking_uri=tracking_uri)
    with pytest.raises(RegistryError, match=r"/7: no such version; lode-mnist1d-cnn has versions"):
        fetch(f"models:/lode-{TASK}/7", tracking_uri=tracking_uri)
    with pytest.raises(RegistryError, match=r"the registry holds lode-mnist1d-cnn"):
        champion("fashion-mnist-cnn", tracking_uri=tracking_uri)
    for nonsense in ("lode-x@champion", "models:/", "models:/x", "models:/x/y", "models:/@a"):
        with pytest.raises(RegistryError, match="not a model"):
            fetch(nonsense, tracking_uri=tracking_uri)
