"""What the metadata of a history must look like, whoever wrote it.

One table of rules: a key, what its value must be, and in words. Words from files end in paths,
pages and messages, and numbers in tables, so they are checked once, where they enter.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from components.storage.shown import shown
from components.training.run import RunSpec

COMPLETED, DIVERGED, STOPPED = "completed", "diverged", "stopped"
MAXIMIZE, MINIMIZE = "maximize", "minimize"  # what is better of a metric
REQUIRED = ("run_id", "task", "scheduler", "peak_lr", "seed", "updates", "points", "status")
_SPEC = tuple(field.name for field in fields(RunSpec))
_RUN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_PLAIN_NAME = re.compile(r"\w[\w.+ -]{0,99}")  # of a folder; neither a path nor hidden
_ROUNDED = 1e-6  # what adding up batches may cost
_LARGEST = sys.float_info.max


def is_run_id(value: object) -> bool:
    """Whether it is 16 hexadecimal digits, and so safe as the name of a file."""
    return isinstance(value, str) and _RUN_ID.fullmatch(value) is not None


def printable(text: str) -> str:
    """A file's name as a terminal, JSON and a page can show it: no control characters, and no
    bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def meta_fault(meta: Mapping[str, Any]) -> str:
    """What is wrong with a history's metadata; empty: nothing.

    A run whose metadata have all of RunSpec's fields must bear the name that follows from them;
    an import need not have them all.
    """
    missing = [key for key in REQUIRED if key not in meta]
    if missing:
        return f"metadata keys missing: {', '.join(missing)}"
    for key, (holds, words) in RULES.items():
        value = meta.get(key)
        if not holds(value) and (key in REQUIRED or value is not None):
            return f"{key} = {shown(value)} in its metadata, which must be {words}"
    return _between_values(meta)


def _between_values(meta: Mapping[str, Any]) -> str:
    """As `meta_fault`, of values that are each as they must be."""
    if meta["updates"] < meta["points"]:
        return f"fewer updates ({meta['updates']}) than points ({meta['points']}) in its metadata"
    sign = -1 if meta.get("metric_goal") == MINIMIZE else 1
    for key in ("test_metric", "best_val_metric") if meta.get("metric_percent") else ():
        value = meta.get(key)
        value = None if value is None else sign * value
        if value is not None and not -_ROUNDED <= value <= 1 + _ROUNDED:
            return f"{key} = {shown(value)} in its metadata, and it is a share in [0, 1]"
    if all(key in meta for key in _SPEC):
        expected = RunSpec(**{key: meta[key] for key in _SPEC}).run_id
        if meta["run_id"] != expected:
            return f"its metadata are those of run {expected}, not {meta['run_id']}: edited"
    return ""


def best_fault(meta: Mapping[str, Any], metric: np.ndarray) -> str:
    """Whether the best validation metric is that of the points, (T,); empty: it is, or not given.

    Points without a number count for nothing; validation names them.
    """
    best, point = meta.get("best_val_metric"), meta.get("best_point")
    if best is None:
        return ""
    if point is not None and not 1 <= point <= len(metric):
        return f"best_point = {point} of {len(metric)} points"
    there = metric if point is None else metric[point - 1 : point]
    if best not in there or np.nanmax(metric) != best:
        return f"best_val_metric = {best:g} is not the best of the points"
    return ""


def _number(value: object, low: float = -_LARGEST) -> bool:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return numeric and low <= value <= _LARGEST  # type: ignore[operator]


def _whole(low: int, high: int = 2**63) -> Callable[[object], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v < high


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 1_000 and value.isprintable()


def _plain_name(value: object) -> bool:
    return isinstance(value, str) and _PLAIN_NAME.fullmatch(value) is not None


def _not_negative(value: object) -> bool:
    return _number(value, 0)


def _kind(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


def _measurements(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and _COUNT[0](one.get("point"))
        and all(number is None or _number(number) for number in one.values())
        for one in value
    )


_NAME = (_text, "a name")
_METRIC = (_number, "a finite number")
_COUNT = (_whole(1), "a whole number of at least 1")
_TABLE = (_kind(dict), "an object")

# Of the keys that are not in `REQUIRED`, null is as good as none.
RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "run_id": (is_run_id, "16 hexadecimal digits"),
    "task": (_plain_name, "a plain name"),
    "scheduler": (lambda v: _text(v) and v != "", "a name"),
    "peak_lr": (lambda v: v is None or _not_negative(v), "null or a number of at least 0"),
    "seed": (_whole(0, 2**64), "a whole number of at least 0"),
    "updates": _COUNT,
    "points": _COUNT,
    "status": (
        lambda v: v in (COMPLETED, DIVERGED, STOPPED) if isinstance(v, str) else False,
        f"{COMPLETED}, {DIVERGED} or {STOPPED}",
    ),
    "test_metric": _METRIC,
    "best_val_metric": _METRIC,
    "metric_name": _NAME,
    "metric_percent": (_kind(bool), "true or false"),
    "metric_goal": (lambda v: v in (MAXIMIZE, MINIMIZE), f"{MAXIMIZE} or {MINIMIZE}"),
    "best_point": (_whole(0), "a whole number of at least 0"),
    "train_samples": _COUNT,
    "scheduler_digest": _NAME,
    "sharpness_method": _NAME,
    "data_digest": _NAME,
    "seconds_per_epoch": (_not_negative, "a number of at least 0"),
    "decision_seconds": (_not_negative, "a number of at least 0"),
    "device": _NAME,
    "threads": _COUNT,
    "versions": _TABLE,
    "price": _TABLE,
    "sharpness": _TABLE,
    "sharpness_series": (_measurements, "a list of objects of numbers, each with its point"),
    "population": _TABLE,
    "controller": _TABLE,
    "decisions": (_kind(list), "a list"),
}
