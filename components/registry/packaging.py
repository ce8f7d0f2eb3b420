"""A LODE as an MLflow model: weights, code, signature, example."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.evaluation.metric import Metric
from components.lode.names import CONFIG, JUDGE_CONFIG, JUDGE_WEIGHTS, PLAN, WEIGHTS
from components.lode.settings import window_points
from components.registry.contents import files_digest
from components.registry.lazy import mlflow
from components.training.run import SERIES

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.models import ModelSignature

ARTIFACT = "lode"  # where the weights lie inside the model
_PYFUNC = Path(__file__).with_name("pyfunc_lode.py")
# What the shipped code imports, and pyarrow, in which MLflow's servers take tables.
REQUIRES = (
    "mlflow",
    "torch",
    "torchdiffeq",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "annotated-types",
)


def files(lode_dir: Path) -> list[Path]:
    """Weights and config of the LODE, and of its judge and its plan where there are such."""
    others = [lode_dir / name for name in (JUDGE_WEIGHTS, JUDGE_CONFIG, PLAN)]
    return [lode_dir / WEIGHTS, lode_dir / CONFIG, *(path for path in others if path.exists())]


def copy_weights(lode_dir: Path, folder: Path) -> Path:
    """What `files` names, and nothing else that lies beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in files(lode_dir):
        shutil.copyfile(path, folder / path.name)
    return folder


def weights_in(model: Path) -> Path:
    """Where a downloaded model has what `copy_weights` put into it."""
    return model / "artifacts" / ARTIFACT


def holds(model: Path, weights: Path, package: Path) -> bool:
    """Whether a downloaded model has these weights and this code, and nothing else to run."""
    described = (model / "MLmodel").read_text(encoding="utf-8", errors="replace")
    pairs = (
        (weights_in(model), weights),
        (model / "code" / package.name, package),
    )
    return (
        all(files_digest(ours) == files_digest(theirs) for theirs, ours in pairs)
        and [path.name for path in (model / "code").iterdir()] == [package.name]
        and (model / _PYFUNC.name).read_bytes() == _PYFUNC.read_bytes()
        and "python_model:" not in described
    )


def interface() -> str:
    """Which code answers for the model: a digest of it (12 hex digits)."""
    return hashlib.sha256(_PYFUNC.read_bytes()).hexdigest()[:12]


def log_model(
    name: str,
    weights: Path,
    package: Path,
    *,
    experiment: str,
    controller: Mapping[str, Any],
    points: int,
    metric: Metric | None,
    figures: Mapping[str, float],
    tags: Mapping[str, str],
) -> int:
    """Log the model in a run of its own and register it; returns the version.

    Args:
        weights, package: folders as `copy_weights` and `shipping.ship` leave them.
        controller: controller, mu, n, sigma, horizon (0: all that is left), caution: the
            parameters' defaults.
        points: T of the fit, likewise.
        metric: the task's, whose values the model checks if they are shares; None: not known.
        figures: metrics of run and model. tags: of the run.
    """
    with mlflow.start_run(
        experiment_id=experiment, run_name=f"register {name}", tags=dict(tags), nested=True
    ) as run:
        mlflow.log_params({**controller, "points": points})
        with redirect_stderr(StringIO()):  # "Successfully registered model …"
            info = mlflow.pyfunc.log_model(
                name="lode",
                python_model=str(_PYFUNC),
                artifacts={ARTIFACT: str(weights)},
                code_paths=[str(package)],
                model_config={
                    "package": package.name,
                    "controller": dict(controller),
                    "percent": metric is not None and metric.percent,
                },
                signature=_signature(controller, points),
                input_example=_example(window_points(controller["mu"], points)),
                pip_requirements=[f"{p}=={version(p).partition('+')[0]}" for p in REQUIRES],
                registered_model_name=name,
            )
        data = _learned_from(tags)
        client = mlflow.MlflowClient()
        client.log_inputs(run.info.run_id, datasets=[data])
        # the list of an experiment's runs tells them apart by their names alone
        client.update_run(run.info.run_id, name=f"{name} version {info.registered_model_version}")
        mlflow.log_metrics(dict(figures), model_id=info.model_id)
    return int(info.registered_model_version)


def _learned_from(tags: Mapping[str, str]) -> DatasetInput:
    """The histories, as MLflow lists a run's data sets."""
    entities, task = mlflow.entities, tags["task"]
    runs = tags.get("histories") or tags.get("sweep_size") or "0"
    data = entities.Dataset(
        name=f"histories of {task}",
        digest=tags.get("histories_digest", "none")[:36],  # MLflow's limit
        source_type="local",
        source=json.dumps({"uri": f"data/histories/{task}"}),
        profile=json.dumps({"runs": int(runs), "data_revision": tags.get("data_revision")}),
    )
    return entities.DatasetInput(data, [entities.InputTag("mlflow.data.context", "training")])


def _signature(controller: Mapping[str, Any], points: int) -> ModelSignature:
    """The names and their meaning; what is a number, the model sees to itself: MLflow would refuse
    whole numbers in a column of doubles, and 20.0 where it was told of 20."""
    column, parameter = mlflow.types.ColSpec, mlflow.types.ParamSpec
    defaults = {
        "points": points,
        **{name: controller[name] for name in ("mu", "n", "horizon", "sigma", "caution")},
        "seed": 0,
    }
    params = [
        *(parameter(name, "double", float(value)) for name, value in defaults.items()),
        parameter("controller", "string", controller["controller"]),
    ]
    # Not required, so that a table without rows may be one without columns, as JSON's `[]` is.
    anything = mlflow.types.schema.AnyType()
    names = ("point", *SERIES)
    return mlflow.models.ModelSignature(
        inputs=mlflow.types.Schema([column(anything, name, required=False) for name in names]),
        outputs=mlflow.types.Schema(
            [
                column("long", "point"),
                column("double", "lr"),
                column("boolean", "decided"),
                column("double", "expected"),
                column("double", "spread"),
            ]
        ),
        params=mlflow.types.ParamSchema(params),
    )


def _example(mu: int) -> pd.DataFrame:
    """A plausible first window of μ log points."""
    share = [(i + 1) / mu for i in range(mu)]
    return pd.DataFrame(
        {
            "point": range(1, mu + 1),
            "train_loss": [2.3 - s for s in share],
            "val_metric": [0.1 + 0.4 * s for s in share],
            "lr": [0.01] * mu,
        }
    )
