"""Public runs of a language model as pools: 124M parameters, three horizons, forty schedules each.

Schaipp et al. 2025 (`fabian-sp/lr-scheduling`), as CSV. Two things are mended before the importer
reads them:

- **Trunks.** A cooldown's log begins where its trunk is left, and no run of constant rate was
  stored. Its rows are in pieces in other runs of the same peak, as far as these had not begun to
  cool down; put together they leave gaps of at most 5,000 updates, which are filled linearly.
- **The end.** Validation is logged every 200 updates on a part of the data, last 200 before the
  end; the final loss, on all of it, stands apart and is larger by a factor (1.012, the median over
  runs). What was logged is multiplied by it, and the final loss is the last row.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from components.experiments.command import ExperimentError
from components.experiments.pool import Pool
from components.experiments.pool_plans import PoolPlan
from components.importers.csv import CsvSource
from components.importers.importing import read_runs
from components.importers.request import Request, Target
from components.lode.channels import LR
from components.lode.opening import with_start
from components.tasks.own import OwnMetric
from components.training.history import History

HORIZONS = (15_000, 25_000, 35_000)  # updates; each has 18 runs and more
POINTS = 100  # of a history: every 150 to 350 updates; validation is logged every 200
CORE = {"dataset": "slimpajama", "model": "llama_norm", "n_layer": 12, "n_embd": 768}
SHAPE = ("scheduler", "decay_type", "cooldown_fraction", "cos_final_lr")
# Of the peak: rates of two runs of one configuration differ by less, those of two by more.
SAME_RATES = 0.01


@lru_cache(maxsize=4)
def pool(folder: Path, horizon: int) -> Pool:
    """The runs of one horizon: a plan for each configuration, its truth −final validation loss.

    Raises:
        ExperimentError: the data are not there. RunsError: they cannot be read.
    """
    own = histories(folder, horizon)
    groups = _alike(own)
    plans = [PoolPlan(runs[0].describe(), "run", _table(runs[0])) for runs in groups]
    metrics = [[run.series()[:, 1] for run in runs] for runs in groups]
    truth = np.array([np.mean([one[-1] for one in own]) for own in metrics])
    cosines = [i for i, runs in enumerate(groups) if _is_cosine(runs[0])]
    return Pool(
        f"{horizon:,} updates",
        plans,
        groups,
        truth,
        measured=np.ones(len(plans), dtype=bool),
        baseline=float(truth[cosines].max()),
        worst=float(min(one.min() for own in metrics for one in own)),
    )


def histories(folder: Path, horizon: int) -> list[History]:
    """The completed runs of one horizon, cooldowns with their beginnings; the metric is −loss."""
    points, table = folder / "points.csv.gz", folder / "runs.csv"
    for path in (points, table):
        if not path.is_file():
            raise ExperimentError(f"{path}: no such file; name the folder of llama-schedules")
    runs = _core(pd.read_csv(table))
    logs = mended(pd.read_csv(points), runs)
    with TemporaryDirectory() as made:
        paths = Path(made) / "points.csv", Path(made) / "runs.csv"
        logs.to_csv(paths[0], index=False)
        with_trunks(runs).to_csv(paths[1], index=False)
        request = Request(
            POINTS,
            named=(("val_metric", "val_loss"), ("step", "iter")),
            group=SHAPE,
            horizon="iterations",
            resumed_from="first_iter",
            updates=horizon,
        )
        source = CsvSource(paths[0], run="run", table=paths[1])
        target = Target("llama-124m", Path(made), OwnMetric("val_loss", "minimize"))
        found = read_runs(source, request, target, Path(made) / "state").histories
    return sorted((run for run in found if run.completed), key=lambda run: int(_id(run)))


def mended(points: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of these runs with their final losses, and those of a trunk for each peak."""
    rows = points[points["run"].isin(runs["run"])].drop(columns="val_acc")
    last = rows.dropna(subset=["val_loss"]).groupby("run")["val_loss"].last()
    known = runs.set_index("run")
    rows = rows.assign(val_loss=rows["val_loss"] * (known["final_val_loss"] / last).median())
    # The row at which a cooldown was resumed has no rate.
    flat = rows["iter"].between(rows["run"].map(known["warmup"]), rows["run"].map(_until(runs)))
    rows.loc[flat, "learning_rate"] = rows["run"].map(known["peak_lr"])[flat]
    ends = runs[["run", "iterations", "final_val_loss"]]
    ends = ends.set_axis(["run", "iter", "val_loss"], axis=1)
    return pd.concat([rows, ends, *_trunks(rows, runs)], ignore_index=True)


def with_trunks(runs: pd.DataFrame) -> pd.DataFrame:
    """The table with a row for each trunk, which has no horizon, so that it is none of the runs."""
    peaks = sorted(runs["peak_lr"].unique())
    own = pd.DataFrame({"run": [_name(i) for i in range(len(peaks))], "peak_lr": peaks})
    return pd.concat([runs, own], ignore_index=True)


def _core(runs: pd.DataFrame) -> pd.DataFrame:
    mine = np.logical_and.reduce([runs[key] == value for key, value in CORE.items()])
    return runs[mine].drop(columns="file")


def _trunks(rows: pd.DataFrame, runs: pd.DataFrame) -> Iterable[pd.DataFrame]:
    """For each peak what its runs logged before they began to cool down, a step once."""
    before = rows[rows["iter"] <= rows["run"].map(_until(runs))].sort_values(["iter", "run"])
    for number, peak in enumerate(sorted(runs["peak_lr"].unique())):
        own = before[before["run"].isin(runs["run"][runs["peak_lr"] == peak])]
        yield own.groupby("iter", as_index=False).first().assign(run=_name(number))


def _until(runs: pd.DataFrame) -> pd.Series:
    """By run, the step up to which its rate is its peak; −1 of a cosine."""
    until = runs["iterations"] * (1 - runs["cooldown_fraction"])
    return until.where(runs["scheduler"] == "wsd", -1.0).set_axis(runs["run"])


def _name(number: int) -> int:
    """Of a trunk; the runs themselves end at 234."""
    return 1000 + number


def _alike(runs: list[History]) -> list[list[History]]:
    """Runs of one configuration, whatever it was called, as equal learning rates say."""
    found: list[list[History]] = []
    for run in runs:
        for group in found:
            other = group[0].series()[:, LR]
            if np.abs(run.series()[:, LR] - other).max() < SAME_RATES * other.max():
                group.append(run)
                break
        else:
            found.append([run])
    return found


def _table(run: History) -> tuple[float, ...]:
    return tuple(float(rate) for rate in with_start(run.series()[:, LR]))


def _is_cosine(run: History) -> bool:
    return str(run.meta["scheduler"]).startswith("cos")


def _id(run: History) -> str:
    return str(run.meta["imported"]["id"])
