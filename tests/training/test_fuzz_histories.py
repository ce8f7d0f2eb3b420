"""Histories that were damaged, edited, forged or misplaced: a named error, or what was written.

The mutations are drawn, not listed; each test says how many. `FUZZ` examples of each kind.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.training.history import (
    COLUMNS,
    SCHEMA,
    History,
    HistoryError,
    digest,
    history_path,
    read_history,
    write_history,
)
from components.training.run import RunSpec, log_steps

SPEC = RunSpec("digits-mlp", "onecycle", 0.05, 3, 40, 8, data_digest="of the text")
FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def run() -> History:
    """As a run of ours leaves it."""
    noise = np.random.default_rng(0).random(SPEC.points)
    metric = np.linspace(0.1, 0.9, SPEC.points)
    rows = pd.DataFrame(
        {
            "run_id": SPEC.run_id,
            "point": np.arange(1, SPEC.points + 1),
            "step": log_steps(SPEC.updates, SPEC.points),
            "epoch": np.linspace(0.5, 4, SPEC.points),
            "train_loss": 2.0 - noise,
            "val_metric": metric,
            "lr": 0.05 * noise,
            "elapsed_s": np.linspace(0.1, 1, SPEC.points),
        }
    )
    meta = {
        "run_id": SPEC.run_id,
        **asdict(SPEC),
        "status": "completed",
        "test_metric": 0.875,
        "metric_name": "accuracy",
        "metric_percent": True,
        "best_point": SPEC.points,
        "best_val_metric": float(metric[-1]),
        "seconds_per_epoch": 0.25,
        "sharpness": {"lambda_max": 12.5},
        "sharpness_series": [{"point": 1, "lambda_max": 12.5, "lambda_min": None}],
        "price": {"run_factor": 1.0},
        "decisions": None,
        "device": "AMD",
        "threads": 1,
        "versions": {"python": "3.11"},
    }
    return History(rows, meta)


def stored(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    table = pq.read_table(path)
    return table, json.loads(table.schema.metadata[b"lode"])


def store(path: Path, table: pa.Table, meta: Any) -> Path:
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    pq.write_table(table.replace_schema_metadata({b"lode": text}), path)
    return path


def outcome(path: Path, *, may_read: bool = True) -> str:
    """Reads it; what else than a named error or the very run is a failure of the test."""
    try:
        found = read_history(path)
    except HistoryError as error:
        said = str(error)
        assert path.name in said and len(said) < len(str(path)) + 400, said
        assert "\n" not in said and "Traceback" not in said
        return said
    written = run()
    assert may_read, "an edited file was read"
    assert found.meta == written.meta and digest([found]) == digest([written])
    pd.testing.assert_frame_equal(
        found.points, written.points[list(COLUMNS)], check_dtype=False, check_exact=True
    )
    return ""


# ---------------------------------------------------------------------------- the file's bytes


@FUZZ
@given(data=st.data())
def test_bytes_that_were_cut_flipped_or_replaced(data: st.DataObject, tmp_path: Path) -> None:
    path = write_history(run(), tmp_path)
    raw = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["cut", "flip", "zeros", "noise", "twice", "head"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    length = data.draw(st.integers(1, 400))
    if kind == "cut":
        raw = raw[:at]
    elif kind == "flip":
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "zeros":
        raw[at : at + length] = bytes(len(raw[at : at + length]))
    elif kind == "noise":
        raw[at : at + length] = data.draw(st.binary(min_size=1, max_size=length))
    elif kind == "twice":
        raw = raw + raw
    else:
        raw = raw[at:]
    path.write_bytes(raw)
    outcome(path)


# ---------------------------------------------------------------------------- metadata

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.just("x" * 100_000),
    st.just("../../../data/histories/digits-mlp/" + "a" * 16),
    st.just(10**400),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


@FUZZ
@given(data=st.data())
def test_a_changed_value_of_the_metadata_is_never_read(data: st.DataObject, tmp_path: Path) -> None:
    table, meta = stored(write_history(run(), tmp_path))
    key = data.draw(st.sampled_from(sorted(meta.keys() - {"checksum"})))
    value = data.draw(JUNK)
    same = json.dumps(value) == json.dumps(meta[key])
    outcome(store(tmp_path / f"{SPEC.run_id}.parquet", table, meta | {key: value}), may_read=same)


@FUZZ
@given(data=st.data())
def test_without_a_checksum_what_cannot_be_is_an_error(data: st.DataObject, tmp_path: Path) -> None:
    """As files of earlier versions are: all that names the run is held to its name."""
    table, meta = stored(write_history(run(), tmp_path))
    del meta["checksum"]
    path = history_path(tmp_path, SPEC.run_id)
    assert outcome(store(path, table, meta)) == ""
    key = data.draw(st.sampled_from([*asdict(SPEC), "run_id", "status", "best_val_metric"]))
    value = data.draw(JUNK)
    forgets = key == "best_val_metric" and value is None  # as an import may
    if json.dumps(value) != json.dumps(meta[key]) and not forgets:
        outcome(store(path, table, meta | {key: value}), may_read=False)


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100000,
        b'{"run_id": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b"1" * 5000,
        b'{"a": ' * 50000,
    ],
    ids=lambda text: text[:12].decode("latin1"),
)
def test_metadata_that_are_none(text: bytes, tmp_path: Path) -> None:
    table, _ = stored(write_history(run(), tmp_path))
    assert "metadata" in outcome(
        store(tmp_path / f"{SPEC.run_id}.parquet", table, text), may_read=False
    )


@pytest.mark.parametrize("key", sorted(run().meta))
def test_a_key_that_is_gone(key: str, tmp_path: Path) -> None:
    table, meta = stored(write_history(run(), tmp_path))
    del meta[key]
    outcome(store(tmp_path / f"{SPEC.run_id}.parquet", table, meta), may_read=False)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"status": None}, "status = None"),
        ({"status": "done"}, "completed, diverged or stopped"),
        ({"seed": 4}, "its metadata are those of run"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 3.0}, "seed = 3.0"),
        ({"scheduler": "cosine"}, "its metadata are those of run"),
        ({"peak_lr": 0.06}, "its metadata are those of run"),
        ({"test_metric": 7.5}, "share in [0, 1]"),
        ({"best_val_metric": 0.95}, "not the best of the points"),
        ({"best_point": 2}, "not the best of the points"),
        ({"best_point": 99}, "best_point = 99 of 8 points"),
        ({"updates": 4}, "fewer updates"),
        ({"task": "../x"}, "task = '../x'"),
        ({"run_id": "../../x"}, "16 hexadecimal digits"),
        ({"run_id": "A" * 16}, "16 hexadecimal digits"),
        ({"price": [1]}, "price = [1]"),
        ({"sharpness_series": {}}, "sharpness_series = {}"),
        ({"sharpness_series": [{}]}, "each with its point"),
        ({"sharpness_series": [{"point": 1, "lr": "<b>"}]}, "objects of numbers"),
        ({"device": "a\nb" * 100}, "device = "),
    ],
)
def test_an_edited_value_is_named_whoever_signed_it(
    changed: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """With a checksum of its own: what is left are the checks of what can be."""
    history = run()
    history.meta |= changed
    for key in ("metric_percent",) if "test_metric" not in changed else ():
        del history.meta[key]
    table, _ = stored(write_history(run(), tmp_path))
    said = outcome(store(history_path(tmp_path, SPEC.run_id), table, history.meta), may_read=False)
    assert says in said


# ---------------------------------------------------------------------------- rows, columns, names


@FUZZ
@given(data=st.data())
def test_changed_rows_are_never_read(data: st.DataObject, tmp_path: Path) -> None:
    table, meta = stored(write_history(run(), tmp_path))
    frame = table.to_pandas()
    kind = data.draw(st.sampled_from(["cell", "cell", "cell", "drop", "double", "swap", "column"]))
    row = data.draw(st.integers(0, len(frame) - 1))
    column = data.draw(st.sampled_from(COLUMNS))
    if kind == "drop":
        frame = frame.drop(index=row)
    elif kind == "double":
        frame = pd.concat([frame, frame.iloc[[row]]])
    elif kind == "swap":
        frame = frame.iloc[::-1]
    elif kind == "column":
        frame = frame.drop(columns=column)
    elif column == "run_id":
        frame.loc[row, column] = data.draw(st.text(max_size=20).filter(lambda t: t != SPEC.run_id))
    elif column in ("point", "step"):
        frame.loc[row, column] += data.draw(st.integers(1, 1000))
    else:
        new = data.draw(st.floats())
        if new == frame.loc[row, column]:
            return
        frame.loc[row, column] = new
    schema = pa.schema([f for f in SCHEMA if f.name in frame])
    path = tmp_path / f"{SPEC.run_id}.parquet"
    changed = pa.Table.from_pandas(frame, schema, preserve_index=False)
    outcome(store(path, changed, meta), may_read=False)


@FUZZ
@given(name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1))
def test_a_file_of_another_name_is_an_error_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name[:60]}.parquet"
    try:
        path.write_bytes(write_history(run(), tmp_path).read_bytes())
    except OSError:  # longer than the file system allows
        return
    with pytest.raises(HistoryError, match="file name is not the run's id") as refused:
        read_history(path)
    assert "\n" not in str(refused.value)
    path.unlink()


@FUZZ
@given(run_id=st.one_of(st.text(max_size=40), st.just("../" + "a" * 13), st.just("٠" * 16)))
def test_no_path_is_built_from_what_is_no_id(run_id: str, tmp_path: Path) -> None:
    if len(run_id) == 16 and all(c in "0123456789abcdef" for c in run_id):
        return
    history = run()
    history.meta["run_id"] = history.points["run_id"] = run_id
    with pytest.raises(HistoryError, match="no run's id"):
        history_path(tmp_path, run_id)
    with pytest.raises(HistoryError, match="no run's id"):
        write_history(history, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("params.yaml", b"task: digits-mlp", "not a history (no Parquet file)"),
        (f"{SPEC.run_id}.parquet", b"", "truncated or damaged"),
        (f"{SPEC.run_id}.parquet", b"PAR1PAR1", "truncated or damaged"),
        (f"{SPEC.run_id}.parquet", b"\0" * 5_000, "truncated or damaged"),
        ("holiday.parquet", b"", "not a history (no Parquet file)"),
    ],
)
def test_only_what_can_be_made_again_may_be_deleted(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HistoryError) as refused:
        read_history(tmp_path / name)
    assert says in str(refused.value)
    assert ("delete" in str(refused.value)) == name.startswith(SPEC.run_id)


def test_folders_pipes_and_dangling_links_are_no_histories(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    os.mkfifo(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").symlink_to(tmp_path / "nowhere")
    for name, says in (("a", "not a file"), ("b", "not a file"), ("c", "no such history")):
        with pytest.raises(HistoryError, match=says):
            read_history(tmp_path / f"{name}.parquet")


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    history = run()
    history.meta["test_metric"] = math.nan
    with pytest.raises(HistoryError, match=r"not written: a number of onecycle 0\.05 seed 3"):
        write_history(history, tmp_path)
    assert not list(tmp_path.iterdir())
