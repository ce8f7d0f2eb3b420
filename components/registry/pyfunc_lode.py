"""The registered model: MLflow runs this file when it loads `models:/lode-<task>@champion`.

It may import nothing of this project but the package that was shipped with the model, whose name
the model's configuration holds (see `components.registry.shipping`).
"""

from __future__ import annotations

import importlib
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

COLUMNS = ("point", "train_loss", "val_metric", "lr")


class LODEModel(PythonModel):
    """A window of a history in, the next learning rates out.

    Input: rows `point, train_loss, val_metric, lr`, consecutive log points of one run, ending at
    the latest, t_*; numbers of any kind, points whole ones; what is missing or not finite is taken
    as not observed. All points since the start give exactly what `LODEScheduler` decides. Fewer
    do where they reach back over the window of the last decision: decisions are made at points μ,
    2μ, …, each on the μ points that end there. No rows: the start of a run.

    Output: rows `point, lr, decided`: for each of the next μ log points the learning rate of the
    updates that lead to it (under the default controller, rates are linear in between).
    `decided` is false where the LODE did not change the plan. Under `paper` keep the plan of an
    earlier answer if you have one; the rates given are then those of the sweep's best
    configuration. Under `default` the rates are always to be followed, if all points since the
    start were given: what it decides depends on the whole history.

    Parameters: `points` (T of the run), `controller` (`default` or `paper`), `mu`, `n`, `sigma`,
    `horizon` (0: all that is left), `caution`, `seed`. 20.0 is 20.

    Raises:
        ValueError: names the column or parameter, and what is expected of it.
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
        for name in ("points", "mu", "n", "horizon", "seed"):
            settings[name] = _whole(settings[name], name)
        points, horizon = settings.pop("points"), settings.pop("horizon") or None
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
        history = _numbers(model_input).sort_values("point")
        now = _latest(history, points, mu)
        values = history.set_index("point")[["train_loss", "val_metric", "lr"]]
        for point in range(1, now + 1):
            # Not observed: the plan goes on, as after observations that are not finite.
            seen = point in values.index
            row: Any = values.loc[point] if seen else (np.nan, np.nan, np.nan)
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


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ValueError(f"parameter {name} is {str(value)[:60]!r}, not a whole number")
    if not np.isfinite(value) or value != int(value):
        raise ValueError(f"parameter {name} = {value} is not a whole number")
    return int(value)


def _numbers(given: Any) -> pd.DataFrame:
    """The four columns as numbers, in the order given; `point` as int64, the others as float64."""
    table = pd.DataFrame(given)
    found = {}
    for name in COLUMNS:
        if name not in table:
            raise ValueError(f"column {name!r} is missing; expected are {', '.join(COLUMNS)}")
        column = table[name].to_numpy(dtype=object)
        wrong = [v for v in column if not (pd.isna(v) is True or _is_number(v))]
        if wrong:
            raise ValueError(f"column {name!r} has {str(wrong[0])[:60]!r}, which is no number")
        found[name] = np.array([np.nan if pd.isna(v) else v for v in column], dtype=np.float64)
    point = found["point"]
    odd = point[~(np.isfinite(point) & (point == np.round(point)))]
    if len(odd):
        raise ValueError(f"column 'point' has {odd[0]:g}; log points are whole numbers, 1 … T")
    return pd.DataFrame({**found, "point": point.astype(np.int64)})


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole or isinstance(value, float | np.floating | Decimal)


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
