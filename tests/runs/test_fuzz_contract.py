"""Whatever a script writes down: a history that can be written and read again, or a named error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from components.runs.contract import NUMBERS, TEST, history_of, rates_of, read_decisions, read_log
from components.training.history import history_path, read_history, write_history
from components.training.resampled import LogError
from components.training.run import log_steps
from tests.runs.scripts import ACCURACY, LOSS, job

COLUMNS = (*NUMBERS, TEST)
NUMBER = st.one_of(
    st.floats(0, 1),
    st.floats(),
    st.integers(-3, 45),
    st.integers(),
    st.sampled_from(["", "nan", "inf", "-inf", "1e999", "x", "1,5", "٣", "0x1", "1_000", "\x00"]),
)
STEPS = st.one_of(st.integers(0, 40), st.integers(-2, 45), NUMBER)
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={name: NUMBER for name in COLUMNS}).flatmap(
        lambda row: STEPS.map(lambda step: {**row, "step": step})
    ),
    max_size=30,
)
GOOD = [{"step": s, "train_loss": 2 - s / 40, "val_metric": s / 41} for s in log_steps(40, 20)]


def said(rows: list[dict[str, Any]], as_json: bool) -> str:
    if as_json:
        return "\n".join(json.dumps(row) for row in rows)
    lines = [",".join(COLUMNS)]
    lines += [",".join(str(row.get(name, "")) for name in COLUMNS) for row in rows]
    return "\n".join(lines)


def try_it(data: bytes, metric: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, asked = Path(folder, "log.csv"), job(Path(folder))
        path.write_bytes(data)
        try:
            log = read_log(path)
            history = history_of(asked, metric, log, rates_of(asked), {"seconds": 1.0})
        except LogError as error:
            assert str(error) and str(error).isprintable()
            return
        write_history(history, Path(folder))
        found = read_history(history_path(Path(folder), history.run_id))
        assert len(found.points) <= 20
        assert found.completed == (
            len(found.points) == 20 and found.meta["test_metric"] is not None
        )


METRICS = st.sampled_from([ACCURACY, LOSS])


@settings(max_examples=300)
@given(ROWS, st.booleans(), METRICS)
def test_rows_of_anything(rows: list[dict[str, Any]], as_json: bool, metric: Any) -> None:
    try_it(said(rows, as_json).encode(errors="replace"), metric)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 19), st.sampled_from(COLUMNS), NUMBER), max_size=4),
    st.booleans(),
    METRICS,
)
def test_a_good_log_with_a_few_cells_changed(
    changes: list[tuple[int, str, Any]], as_json: bool, metric: Any
) -> None:
    rows = [dict(row) for row in GOOD]
    for index, name, value in changes:
        rows[index][name] = value
    try_it(said(rows, as_json).encode(errors="replace"), metric)


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_bytes_of_anything(data: bytes) -> None:
    try_it(data, ACCURACY)


@given(st.binary(max_size=100) | st.text(max_size=100).map(lambda text: text.encode()))
def test_decisions_of_anything(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "decisions.json")
        path.write_bytes(data)
        found = read_decisions(path)
        assert found is None or all(isinstance(one, dict) for one in found)
