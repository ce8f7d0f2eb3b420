"""The registered model: MLflow runs this file when it loads `models:/lode-<task>@champion`.

It may import nothing of this project but the package that was shipped with the model, whose name
the model's configuration holds (see `components.registry.shipping`).
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class LODEModel(PythonModel):
    """A window of a history in, the next learning rates out.

    Input: rows `point, train_loss, val_metric, lr`, consecutive log points of one run, ending at
    the latest, t_*. All points since the start give exactly what `LODEScheduler` decides. Fewer
    do where they reach back over the window of the last decision: decisions are made at points μ,
    2μ, …, each on the μ points that end there. No rows: the start of a run.

    Output: rows `point, lr, decided`: for each of the next μ log points the learning rate of the
    updates that lead to it (under the default controller, rates are linear in between).
    `decided` is false where the LODE did not change the plan. Under `paper` keep the plan of an
    earlier answer if you have one; the rates given are then those of the sweep's best
    configuration. Under `default` the rates are always to be followed, if all points since the
    start were given: what it decides depends on the whole history.

    Parameters: `points` (T of the run), `controller` (`default` or `paper`), `mu`, `n`, `sigma`,
    `horizon` (0: all that is left), `caution`, `seed`.
    """

    # MLflow would take type hints of `predict` for a schema and warns where there are none; the
    # signature the model is logged with is its schema.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        package = context.model_config["package"]
        self._scheduler = importlib.import_module(f"{package}.lode.scheduler").LODEScheduler
        folder = Path(context.artifacts["lode"])
        self._lode = importlib.import_module(f"{package}.lode.model").LODE.load(folder)
        judge = importlib.import_module(f"{package}.lode.judge")
        judged = (folder / judge.CONFIG).exists()
        self._judge = judge.Judge.load(folder) if judged else None

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        settings = dict(params or {})
        points = int(settings.pop("points"))
        horizon = int(settings.pop("horizon")) or None
        # One update per log point: `lr(p)` is then the rate that leads from point p to p + 1.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that N differs from the fit's, which it does not
            scheduler = self._scheduler(
                self._lode,
                judge=self._judge,
                updates=points,
                points=points,
                horizon=horizon,
                **settings,
            )
        mu = scheduler.settings["mu"]
        history = model_input.sort_values("point")
        now = _latest(history, points, mu)
        values = history.set_index("point")[["train_loss", "val_metric", "lr"]]
        for point in range(1, now + 1):
            # Not observed: the plan goes on, as after observations that are not finite.
            row = values.loc[point] if point in values.index else (np.nan, np.nan, np.nan)
            scheduler.observe(point, *(float(value) for value in row))
        ahead = range(now, min(now + mu, points))
        decided = bool(scheduler.decisions) and scheduler.decisions[-1]["kept"] is None
        return pd.DataFrame(
            {
                "point": np.array([point + 1 for point in ahead], dtype=np.int64),
                "lr": np.array([scheduler.lr(point) for point in ahead], dtype=np.float64),
                "decided": np.full(len(ahead), decided),
            }
        )


def _latest(history: pd.DataFrame, points: int, mu: int) -> int:
    """t_*; refuses what cannot be a window of one run, or is too short for its last decision."""
    given = [int(point) for point in history["point"]]
    if not given:
        return 0
    first, last = given[0], given[-1]
    if given != list(range(first, last + 1)) or first < 1 or last > points:
        raise ValueError(
            f"points {given} are not consecutive log points of one run within 1..{points}; give "
            "one row per point, and params={'points': T} where T differs"
        )
    needed = last // mu * mu - mu + 1
    if first > max(needed, 1):
        raise ValueError(
            f"points {first}..{last} do not reach back to point {needed}: the last decision, at "
            f"point {last // mu * mu}, is made on the mu = {mu} points that end there"
        )
    return last


set_model(LODEModel())
