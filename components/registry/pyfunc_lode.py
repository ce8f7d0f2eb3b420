"""The registered model: MLflow runs this file when it loads `models:/lode-<task>@champion`.

It may import nothing of this project but the package that was shipped with the model, whose name
the model's configuration holds (see `components.registry.shipping`).
"""

from __future__ import annotations

import importlib
import inspect
import threading
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import numpy as np
import pandas as pd
from mlflow import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

COLUMNS = ("point", "train_loss", "val_metric", "lr")
SERIES = COLUMNS[1:]
ROW_BYTES = 8 * len(SERIES)
# What one request may cost: a decision decodes n samples at T points, 1e6 of them in 0.2 to 0.4 s
# and 200 MB, and 1e8 in 10 to 35 s (2 cores, torch 2). MLflow's server gives up after 60 s, but the
# thread that computes goes on.
MOST_AT_ONCE, MOST_IN_ALL = 10**6, 10**8
RUNS_KEPT = 64  # so many runs may ask in turn; each holds its plan and history, under 1 MB


class LODEModel(PythonModel):
    """A window of a history in, the next learning rates out.

    Input: rows `point, train_loss, val_metric, lr`, consecutive log points of one run, ending at
    the latest, t_*; numbers of any kind, points whole ones, rates positive, the metric scaled as
    the task has it; what is missing or not finite is taken as not observed. All points since the
    start give exactly what `LODEScheduler` decides. Fewer do where they reach back over the window
    of the last decision: decisions are made at points μ, 2μ, …, each on the μ points that end
    there. No rows: the start of a run.

    Output: rows `point, lr, decided, expected, spread`: for each of the next μ log points the rate
    of the updates that lead to it (under the default controller, rates are linear in between).
    `decided` is false where the LODE did not change the plan. Under `paper` keep the plan of an
    earlier answer if you have one; the rates given are then those of the sweep's best
    configuration. Under `default` the rates are always to be followed, if all points since the
    start were given: what it decides depends on the whole history. `expected` is the final metric
    that the plan should have, as of the last decision, and `spread` the standard deviation of that
    over the judge's members; null where nothing is known yet.

    Parameters: `points` (T of the run), `controller` (`default` or `paper`), `mu` and `horizon` in
    shares of the run (`horizon` 0: all that is left), `n`, `sigma`, `caution`, `seed`. 20.0 is 20.

    A run that asks again with more points is not replayed: the loaded model keeps what the latest
    runs came to.

    Raises:
        MlflowException: names the column or parameter, and what is expected of it; a server
            answers 400 with the message.
    """

    # MLflow would take type hints of `predict` for a schema and warns where there are none; the
    # signature the model is logged with is its schema.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        package = context.model_config["package"]
        self._percent = context.model_config.get("percent", False)
        self._controller = dict(context.model_config["controller"])
        self._scheduler = importlib.import_module(f"{package}.lode.scheduler").LODEScheduler
        self._settings = importlib.import_module(f"{package}.lode.settings")
        self._error = importlib.import_module(f"{package}.lode.errors").LODEError
        folder = Path(context.artifacts["lode"])
        self._lode = importlib.import_module(f"{package}.lode.model").LODE.load(folder)
        judge = importlib.import_module(f"{package}.lode.judge")
        judged = (folder / judge.JUDGE_CONFIG).exists()
        self._judge = judge.Judge.load(folder) if judged else None
        self._sign = self._lode.config.metric_sign
        self._rates = importlib.import_module(f"{package}.adapters.rate_scheduler")
        self._runs = _Runs()

    def scheduler(
        self,
        optimizer: Any,
        total_steps: int,
        *,
        points: int | None = None,
        seed: int = 0,
        **controller: Any,
    ) -> Any:
        """A `torch.optim.lr_scheduler.LRScheduler` of this LODE: `step()` after every update,
        `observe(train_loss, val_metric)` after an evaluation, best where `at_log_point` is true.

            model = mlflow.pyfunc.load_model("models:/lode-<task>@champion")
            scheduler = model.unwrap_python_model().scheduler(optimizer, total_steps=N)

        Args:
            optimizer: any; the rates it was built with only say its parameter groups' ratios.
            total_steps: N, updates of the run.
            points: T, its log points; None: as many as the fit had.
            seed: of the latent noise.
            controller: in place of what the version was registered with (mu, n, sigma, …).
        """
        chosen = {**self._controller, "horizon": self._controller["horizon"] or None, **controller}
        rates = self._rates.controller_of(
            self._lode, self._judge, total_steps, points, seed, chosen
        )
        return self._rates.RateScheduler(
            optimizer, rates, total_steps=total_steps, goal=self._lode.config.metric_goal
        )

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        settings = dict(params or {})
        _refuse_unknown(settings)
        self._check(settings)
        points = settings["points"]
        mu = self._settings.window_points(settings["mu"], points)
        rows = _numbers(model_input)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        _check_values(rows, self._percent)
        now = _latest([int(point) for point in rows[:, 0]], points, mu)
        # Not observed: the plan goes on, as after observations that are not finite.
        history = np.full((now, len(SERIES)), np.nan)
        history[now - len(rows) :] = rows[:, 1:]
        history[:, SERIES.index("val_metric")] *= self._sign  # a loss is small where it is good
        try:
            scheduler = self._resumed(settings, mu, history)
        except self._error as error:
            _refuse(str(error))
        ahead = range(now, min(now + mu, points))
        decided = bool(scheduler.decisions) and scheduler.decisions[-1]["kept"] is None
        known = scheduler.expected()
        # None, which JSON has; NaN it has not
        expected, spread = (self._sign * known[0], known[1]) if known else (None, None)
        answer = pd.DataFrame(
            {
                "point": np.array([point + 1 for point in ahead], dtype=np.int64),
                "lr": np.array([scheduler.lr(point) for point in ahead], dtype=np.float64),
                "decided": np.full(len(ahead), decided),
                "expected": [expected] * len(ahead),
                "spread": [spread] * len(ahead),
            }
        )
        self._runs.keep(settings, history, scheduler)
        return answer

    def _check(self, settings: dict[str, Any]) -> None:
        """Whole numbers made so, and everything within the ranges that params.yaml has, too."""
        for name in ("points", "n", "seed"):
            settings[name] = _whole(settings[name], name)
        known = get_type_hints(self._settings.ControllerSettings, include_extras=True)
        ranges = {name: known[name].__metadata__[0] for name in ("mu", "n", "sigma", "caution")}
        ranges |= {"points": self._settings.POINTS, "seed": self._settings.SEEDS}
        settings["horizon"] = settings["horizon"] or None
        if settings["horizon"] is not None:
            ranges["horizon"] = self._settings.SHARES
        for name, allowed in ranges.items():
            try:
                allowed.check(settings[name])
            except ValueError as error:
                _refuse(f"parameter {name} = {settings[name]:g} {error}")

    def _new(self, settings: dict[str, Any]) -> Any:
        # One update per log point: `lr(p)` is then the rate that leads from point p to p + 1.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that N differs from the fit's, which it does not
            updates = settings["points"]
            return self._scheduler(self._lode, judge=self._judge, updates=updates, **settings)

    def _replayed(self, settings: dict[str, Any], history: np.ndarray) -> Any:
        """The scheduler after a history (t_*, 3), from the start: the slow reference, which
        `_resumed` agrees with to the bit."""
        scheduler = self._new(settings)
        for point, row in enumerate(history, start=1):
            scheduler.observe(point, *map(float, row))
        return scheduler

    def _resumed(self, settings: dict[str, Any], mu: int, history: np.ndarray) -> Any:
        """As `_replayed`, going on from where this run was when it last asked."""
        seen, scheduler = self._runs.take(settings, history)
        _check_work(settings, mu, seen, len(history))
        scheduler = scheduler or self._new(settings)
        for point in range(seen + 1, len(history) + 1):
            scheduler.observe(point, *map(float, history[point - 1]))
        return scheduler


class _Runs:
    """Schedulers of the latest runs, by their settings and the history they have observed.

    A scheduler is taken out to be used, as observing changes it: two threads never share one. What
    does not begin with a kept history, to the bit, is another run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[tuple[Any, ...], bytes], Any] = {}  # the latest last

    def take(self, settings: dict[str, Any], history: np.ndarray) -> tuple[int, Any]:
        """How many points the longest kept beginning of this history has, and its scheduler; 0 and
        None where there is none."""
        asked, rows = _key(settings, history)
        with self._lock:
            known = [seen for kept, seen in self._kept if kept == asked and rows.startswith(seen)]
            if not known:
                return 0, None
            longest = max(known, key=len)
            return len(longest) // ROW_BYTES, self._kept.pop((asked, longest))

    def keep(self, settings: dict[str, Any], history: np.ndarray, scheduler: Any) -> None:
        """Until `RUNS_KEPT` others were."""
        key = _key(settings, history)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = scheduler
            while len(self._kept) > RUNS_KEPT:
                del self._kept[next(iter(self._kept))]


def _key(settings: dict[str, Any], history: np.ndarray) -> tuple[tuple[Any, ...], bytes]:
    return tuple(sorted(settings.items(), key=str)), history.tobytes()


def _refuse(message: str) -> NoReturn:
    """Any other exception reaches a client as "Encountered an unexpected error"."""
    raise MlflowException.invalid_parameter_value(message)


def _refuse_unknown(settings: dict[str, Any]) -> None:
    """A parameter that is misspelt would silently leave the default in force.

    MLflow drops what the signature does not name, with a line in the server's log. What was asked
    for is only to be seen in the frame of its own `predict`, further up.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("mlflow.pyfunc", "predict"):
            unknown = set(frame.f_locals.get("params") or {}) - set(settings)
            if unknown:
                names = ", ".join(repr(str(name)[:60]) for name in sorted(unknown, key=str)[:5])
                _refuse(f"unknown parameter {names}; known: {', '.join(sorted(settings))}")
            return
        frame = frame.f_back


def _check_work(settings: dict[str, Any], mu: int, seen: int, now: int) -> None:
    """Refuse what would keep a server busy for minutes; `mu` in log points."""
    n, points = settings["n"], settings["points"]
    decisions = now // mu - seen // mu
    if n * points > MOST_AT_ONCE or n * points * decisions > MOST_IN_ALL:
        _refuse(
            f"n = {n} samples of points = {points}, for {decisions} decisions, are more than one "
            f"request may cost (n × points up to {MOST_AT_ONCE:,}, and {MOST_IN_ALL:,} over all "
            "decisions); give a smaller n, or a larger mu: 0.05 is usual"
        )


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        _refuse(f"parameter {name} is {str(value)[:60]!r}, not a whole number")
    if not np.isfinite(value) or value != int(value):
        _refuse(f"parameter {name} = {value} is not a whole number")
    return int(value)


def _numbers(given: Any) -> np.ndarray:
    """(rows, 4) float64, the columns in the order of `COLUMNS`, the rows as given; points whole."""
    table = pd.DataFrame(given)
    if table.empty and not len(table.columns):  # no rows as JSON has them: `[]`
        return np.empty((0, len(COLUMNS)))
    found = []
    for name in COLUMNS:
        if name not in table:
            _refuse(f"column {name!r} is missing; expected are {', '.join(COLUMNS)}")
        column = table[name].to_numpy()
        if column.dtype.kind not in "iuf":
            column = np.array([_number(value, name) for value in column.astype(object)])
        found.append(column.astype(np.float64))
    point = found[0]
    odd = point[~((np.abs(point) < 2**53) & (point == np.round(point)))]
    if len(odd):
        _refuse(f"column 'point' has {odd[0]:g}; log points are whole numbers, 1 … T")
    return np.stack(found, 1)


def _number(value: Any, name: str) -> float:
    """NaN for what is missing."""
    numeric = isinstance(value, int | float | np.number | Decimal) and not isinstance(value, bool)
    if numeric and abs(value) > np.finfo(np.float64).max:  # JSON has whole numbers of any length
        return np.inf if value > 0 else -np.inf
    if numeric and not isinstance(value, complex):
        return float(value)
    if pd.isna(value) is not True:
        _refuse(f"column {name!r} has {str(value)[:60]!r}, which is no number")
    return np.nan


def _check_values(rows: np.ndarray, percent: bool) -> None:
    """Refuse values that no run has: the LODE would answer them all the same."""
    metric, lr = (rows[:, COLUMNS.index(name)] for name in ("val_metric", "lr"))
    for name, values, wrong, expected in (
        ("lr", lr, lr <= 0, "rates are positive; null where none was logged"),
        (
            "val_metric",
            metric,
            np.isfinite(metric) & ((metric < 0) | (metric > 1)) & percent,
            "the metric of this task is a share from 0 to 1, not in per cent",
        ),
    ):
        if wrong.any():
            first = int(wrong.argmax())
            _refuse(
                f"column {name!r} has {values[first]:g} at point {rows[first, 0]:g}; {expected}"
            )


def _latest(given: list[int], points: int, mu: int) -> int:
    """t_*, of the points given in order; refuses what cannot be a window of one run, or is too
    short for its last decision."""
    if not given:
        return 0
    first, last = given[0], given[-1]
    if given != list(range(first, last + 1)) or first < 1 or last > points:
        _refuse(
            f"points {_shown(given)} are not consecutive log points of one run within "
            f"1..{points}; give one row per point, and params={{'points': T}} where T differs"
        )
    needed = last // mu * mu - mu + 1
    if first > max(needed, 1):
        _refuse(
            f"points {first}..{last} do not reach back to point {needed}: the last decision, at "
            f"point {last // mu * mu}, is made on the {mu} points that end there"
        )
    return last


def _shown(points: list[int]) -> str:
    return f"{points[:20]} …" if len(points) > 20 else f"{points}"


set_model(LODEModel())
