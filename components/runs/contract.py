"""What a script of the user's own is told of a run, and what it logs: two plain files.

`LODE_RUN` names a JSON file (`request`); at the end the script has written the history that it
names, a CSV or JSON-lines file with a row for whatever was known at a step (`read_log`). Both are
for any language: docs/guides/your-script.md is their description.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.runs.build import build
from components.runs.job import Job
from components.storage.files import write_text
from components.storage.shown import cut, shown
from components.tasks.own import OwnMetric
from components.training.facts import COMPLETED, DIVERGED
from components.training.history import COLUMNS, History
from components.training.resampled import LogError, resampled
from components.training.run import log_steps

FORMAT = 1
VARIABLE = "LODE_RUN"
NUMBERS = ("step", "train_loss", "val_metric", "val_loss", "lr", "elapsed_s", "epoch")
TEST = "test_metric"
LARGEST_LOG = 1 << 30  # bytes; a row per update of a run of ten million
LONGEST_LINE = 1 << 14  # bytes; a row has eight numbers, and maybe columns of a script's own
LARGEST_DECISIONS = 64 << 20  # bytes; one every two of 10,000 log points, with its rates
# Between the rate that was asked for and the one that was logged: printed digits, float32.
LR_TOLERANCE = 1e-3
_ROUNDED = 1e-6  # of a share: what adding up batches may cost


@dataclass(frozen=True)
class Files:
    """Of one run: what the script is told, what it logs, and what a LODE has decided in it."""

    request: Path
    log: Path
    decisions: Path

    @classmethod
    def of(cls, folder: Path, run_id: str) -> Files:
        """`<folder>/<run_id>.json`, `.csv` and `.decisions.json`."""
        endings = (".json", ".csv", ".decisions.json")
        return cls(*(folder / f"{run_id}{ending}" for ending in endings))


def rates_of(job: Job) -> list[float]:
    """(N,) the rate of every update; under a LODE, what the run begins with and may leave."""
    scheduler = build(job)
    return [float(scheduler.lr(step)) for step in range(job.spec.updates)]


def request(job: Job, metric: OwnMetric, files: Files) -> dict[str, Any]:
    """What the script is told; paths are absolute."""
    spec = job.spec
    return {
        "format": FORMAT,
        "task": spec.task,
        "run_id": spec.run_id,
        "scheduler": spec.scheduler,
        "peak_lr": spec.peak_lr,
        "seed": spec.seed,
        "updates": spec.updates,
        "points": spec.points,
        "device": job.device,
        "metric": asdict(metric),
        "log_steps": list(log_steps(spec.updates, spec.points)),
        "lr": rates_of(job),
        "lode": {"folder": str(job.lode), **job.controller} if job.lode else None,
        "history": str(files.log.absolute()),
        "decisions": str(files.decisions.absolute()),
    }


def write_request(job: Job, metric: OwnMetric, files: Files) -> list[float]:
    """Write what the script is told, whole or not at all; returns its rates (N,)."""
    told = request(job, metric, files)
    write_text(files.request, json.dumps(told))
    return list(told["lr"])


def read_decisions(path: Path) -> list[dict[str, Any]] | None:
    """What a LODE has decided in the script, as `lode.Run` has written it down; None: nothing that
    can be read, which a history can do without."""
    try:
        if path.stat().st_size > LARGEST_DECISIONS:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    good = isinstance(found, list) and all(isinstance(one, dict) for one in found)
    return found if good else None


def read_log(path: Path) -> pd.DataFrame:
    """The rows of a log: columns of `NUMBERS` and `test_metric`; NaN where a row has none, and
    `inf` where it says that a number is not finite.

    Raises:
        LogError: missing, empty, too large, no UTF-8, or a row is no row; names the line.
    """
    try:
        if path.stat().st_size > LARGEST_LOG:
            raise LogError(f"{path.name} is larger than 1 GiB", "log less often")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LogError(
            "nothing was logged",
            f"write rows to the file that {VARIABLE}'s JSON calls `history`, or use lode.Run",
        ) from None
    except UnicodeDecodeError as error:
        raise LogError(f"the log is not UTF-8, at byte {error.start}", "write plain text") from None
    if not text.strip():
        raise LogError("nothing was logged", "the history is empty: write a row per log point")
    rows = list(_json_rows(text) if text.lstrip()[0] == "{" else _csv_rows(text))
    if not rows:
        raise LogError("nothing was logged", "the history has no row below its header")
    return pd.DataFrame(rows, columns=[*NUMBERS, TEST], dtype=np.float64)


def last_row(path: Path) -> dict[str, float] | None:
    """The last whole line of a log that is being written, without reading all of it; None: there
    is none yet, or none that says a step."""
    try:
        with path.open("rb") as file:
            first = file.readline(LONGEST_LINE)
            file.seek(max(len(first), path.stat().st_size - LONGEST_LINE))
            lines = file.read().rpartition(b"\n")[0].splitlines()  # the last may be half written
        if not first.strip():
            return None
        as_json = first.lstrip().startswith(b"{")
        end = (lines[-1] if lines else first if as_json else b"").decode("utf-8")
        head = "" if as_json else first.decode("utf-8-sig")
        return next(iter([*(_json_rows(end) if as_json else _csv_rows(head + end))]), None)
    except (OSError, UnicodeDecodeError, LogError):
        return None


def _json_rows(text: str) -> Iterator[dict[str, float]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise LogError(f"line {number} is no JSON object: {shown(line)}", "a row on each line")
        yield _row(found, number)


def _csv_rows(text: str) -> Iterator[dict[str, float]]:
    lines = csv.reader(io.StringIO(text))
    try:
        header = [name.strip() for name in next(lines)]
        if "step" not in header or len(set(header)) != len(header):
            raise LogError(
                f"the first line is {shown(','.join(header))}",
                "begin with the names of the columns, each once, and `step` among them",
            )
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise LogError(
                    f"line {lines.line_num} has {len(cells)} cells, the first line {len(header)}",
                    "write a cell for each column, an empty one where there is nothing",
                )
            yield _row(dict(zip(header, cells, strict=True)), lines.line_num)
    except csv.Error as error:
        raise LogError(f"line {lines.line_num} is no CSV ({error})", "write plain CSV") from None


def _row(found: dict[str, Any], line: int) -> dict[str, float]:
    row = {name: _number(found.get(name), name, line) for name in (*NUMBERS, TEST)}
    if not math.isfinite(row["step"]):
        raise LogError(f"line {line} has no step", "say with every row how many updates are done")
    return row


def _number(value: Any, name: str, line: int) -> float:
    """NaN: none; infinity: one that is not finite."""
    if value is None or value == "":
        return math.nan
    try:
        if isinstance(value, bool | dict | list):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        raise LogError(
            f"{name} in line {line} is {shown(value)}", "log numbers; leave empty what is not known"
        ) from None
    return number if math.isfinite(number) else math.inf


def history_of(
    job: Job, metric: OwnMetric, log: pd.DataFrame, rates: list[float], facts: dict[str, Any]
) -> History:
    """The history of a run from what its script has logged.

    A loss that is not finite makes the run diverged, its points up to there are kept. Values at the
    log points are by the rule of `components/training/resampled.py`. The rates are those that were
    asked for, held against those that were logged.

    Args:
        log: of `read_log`. rates: (N,) of `rates_of`.
        facts: more of the metadata: `seconds` that the process took, and whatever else is known.

    Raises:
        LogError: too little was logged, or at the wrong steps, the metric is out of its range, or
            the rates are not those that were asked for; says what to change in the script.
    """
    spec, log = job.spec, _with_metric(log, metric)
    broken = log["step"][np.isinf(log["train_loss"]) | np.isinf(log["val_loss"])]
    until = None if broken.empty else max(int(broken.min()) - 1, 0)
    if until is not None:
        log = log[log["step"] <= until]
    _check_steps(log, spec.updates, until)
    _check_metric(log, metric)
    log = log.assign(lr=_asked(log, rates, decides=job.lode is not None))
    empty = until is not None and until < log_steps(spec.updates, spec.points)[0]
    points = _empty() if empty else _points(log, spec.updates, spec.points, until)
    points["val_metric"] *= metric.sign
    if job.lode is None:  # exactly, between the logged steps too
        points["lr"] = np.asarray(rates)[points["step"].to_numpy(dtype=np.int64) - 1]
    seconds = facts.pop("seconds")
    if not points["elapsed_s"].any():
        points["elapsed_s"] = seconds * points["step"] / spec.updates
    points["epoch"] = _epochs(log, points["step"], spec.updates)
    points.insert(0, "point", np.arange(1, len(points) + 1))
    points.insert(0, "run_id", spec.run_id)
    points = points[list(COLUMNS)]
    status = COMPLETED if until is None else DIVERGED
    return History(points, _meta(job, metric, log, points, status) | facts)


def _with_metric(log: pd.DataFrame, metric: OwnMetric) -> pd.DataFrame:
    """A metric that is the validation loss need not be logged twice."""
    if log["val_metric"].isna().all() and metric.sign < 0 and log["val_loss"].notna().any():
        log = log.assign(val_metric=log["val_loss"])
    if log["val_metric"].isna().all():
        raise LogError(
            f"val_metric is never logged, and it is to be {metric.name}",
            "evaluate at the steps that the run's JSON calls `log_steps`, and log it",
        )
    return log


def _check_steps(log: pd.DataFrame, updates: int, until: int | None) -> None:
    if log.empty:
        return
    first, last = log["step"].min(), log["step"].max()
    if until is None and (first, last) == (0, updates - 1):
        raise LogError(
            f"steps run from 0 to {updates - 1}",
            "`step` is the number of updates done: log step + 1 after the update of index step",
        )
    if last > updates:
        raise LogError(
            f"step {last:g} is beyond the {updates} updates that were asked for",
            "the script must take the number of updates from the run's JSON (`updates`), or from "
            "{updates} in its command",
        )


def _check_metric(log: pd.DataFrame, metric: OwnMetric) -> None:
    for name in ("val_metric", TEST):
        values = log[name].dropna()
        if np.isinf(values).any():
            raise LogError(f"{name} is not a finite number", "log what was measured, or nothing")
        outside = values[(values < -_ROUNDED) | (values > 1 + _ROUNDED)]
        if metric.percent and len(outside):
            raise LogError(
                f"{name} is {outside.iloc[0]:g}, but {metric.name} is a share from 0 to 1",
                "log 0.93, not 93, or take `percent` from the task's metric",
            )


def _asked(log: pd.DataFrame, rates: list[float], *, decides: bool) -> np.ndarray:
    """Of each row the rate of the last update; a script may log that of the next one, too.

    Under a LODE the logged rates are what it decided.
    """
    steps = log["step"].to_numpy(dtype=np.int64)
    asked = np.asarray(rates)
    last, next_ = (asked[np.clip(steps - 1 + i, 0, len(asked) - 1)] for i in (0, 1))
    logged = log["lr"].to_numpy(dtype=np.float64)
    known = ~np.isnan(logged)
    if decides:
        return np.where(known, logged, last) if known.any() else last
    slack = LR_TOLERANCE * asked.max()
    off = known & ~(_close(logged, last, slack) | _close(logged, next_, slack))
    if off.any():
        at = int(off.argmax())
        raise LogError(
            f"lr is {logged[at]:g} at step {steps[at]}, and {last[at]:g} was asked for",
            "set the optimizer's rate to the run's JSON `lr` (the rate of each update), or step "
            "run.scheduler(optimizer) once per update",
        )
    return last


def _close(a: np.ndarray, b: np.ndarray, slack: float) -> np.ndarray:
    return np.abs(a - b) <= LR_TOLERANCE * np.abs(b) + 1e-3 * slack


def _points(log: pd.DataFrame, updates: int, points: int, until: int | None) -> pd.DataFrame:
    found = resampled(
        log.drop(columns=["epoch", TEST]), updates=updates, points=points, until=until
    )
    return found[["step", "train_loss", "val_metric", "lr", "elapsed_s"]]


def _empty() -> pd.DataFrame:
    """Of a run that diverged before its first log point."""
    names = ("step", "train_loss", "val_metric", "lr", "elapsed_s")
    return pd.DataFrame({name: np.empty(0) for name in names})


def _epochs(log: pd.DataFrame, steps: Iterable[int], updates: int) -> np.ndarray:
    """As logged, interpolated; else the whole run counts as one."""
    known = log.dropna(subset=["epoch"]).drop_duplicates("step", keep="last").sort_values("step")
    grid = np.asarray(list(steps), dtype=np.float64)
    if known.empty or np.isinf(known["epoch"]).any() or (known["epoch"] < 0).any():
        return grid / updates
    found = np.interp(grid, [0, *known["step"]], [0, *np.maximum.accumulate(known["epoch"])])
    return np.asarray(found)


def _meta(
    job: Job, metric: OwnMetric, log: pd.DataFrame, points: pd.DataFrame, status: str
) -> dict[str, Any]:
    spec, tests = job.spec, log[TEST].dropna()
    best = int(points["val_metric"].argmax()) if len(points) else None
    test = None
    if status == COMPLETED:  # a script may have no test set: what it ended with is what is known
        last = float(points["val_metric"].iloc[-1])
        test = metric.sign * float(tests.iloc[-1]) if len(tests) else last
    epochs = points["epoch"].iloc[-1] if len(points) else 0.0
    seconds = points["elapsed_s"].iloc[-1] if len(points) else 0.0
    return {
        "run_id": spec.run_id,
        **asdict(spec),
        "status": status,
        "test_metric": test,
        "test_is_validation": not len(tests),
        **metric.facts(),
        "best_point": 0 if best is None else best + 1,
        "best_val_metric": None if best is None else float(points["val_metric"].iloc[best]),
        "seconds_per_epoch": float(seconds / epochs) if epochs else None,
        "controller": job.controller or None,
    }


def tail(text: str, lines: int = 15) -> list[str]:
    """The last lines of an output, as a message can show them."""
    return [cut(line, 200) for line in text.splitlines()[-lines:] if line.strip()]
