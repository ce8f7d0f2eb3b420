"""Files that anybody could have: a named error, or histories that can be read again; never half.

The mutations are drawn; `FUZZ` examples of each of the kinds below, over 500 in all.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.importers.csv import CsvSource
from components.importers.errors import RunsError
from components.importers.importing import write_runs
from components.importers.tensorboard import TensorBoardSource
from components.importers.wandb import OfflineSource
from components.training.history import read_histories

from .made import log, read

FUZZ = settings(
    max_examples=130,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ODD = st.sampled_from(
    [
        "",
        "nan",
        "inf",
        "-inf",
        "x",
        "ü日",
        "1e400",
        "-1",
        "0",
        "1e-320",
        "9" * 400,
        "True",
        "null",
        "[1]",
        "=1+1",
        "\x00",
        "../../a",
        '"',
        "1,5",
        " 7 ",
        "0x10",
        "1_000",
    ]
)
NAMES = st.sampled_from(
    [
        "step",
        "train_loss",
        "val_loss",
        "lr",
        "run",
        "sched",
        "seed",
        "epoch",
        "",
        " ",
        "ü",
        "a/b",
        "learning_rate",
        "step",
        "../x",
        "loss",
    ]
)


@contextmanager
def folder() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="läufe "))
    try:
        yield root
    finally:
        shutil.rmtree(root)


def check(make: Any, root: Path, **asked: Any) -> None:
    """Whatever it holds: all histories in the report are there and can be read, or an error and
    nothing is there."""
    try:
        result = read(make(), root, **asked)
        write_runs(result, root / "state")
    except RunsError as error:
        assert 10 < len(str(error)) < 3000 and "\n" not in str(error)
        assert not list(root.glob("histories/*"))
        return
    found = read_histories(root / "histories")
    assert {one.run_id for one in found} == {one.run_id for one in result.histories}
    assert {path.parent.name for path in root.rglob("*.parquet")} == {"histories"}
    assert len(found) + len(result.left_out) >= 1


@FUZZ
@given(st.data())
def test_tables_with_any_cells(data: st.DataObject) -> None:
    """Cells, columns, heads, separators and rows of a sound table, changed anyhow."""
    rows = pd.concat([log(every=40).assign(run=run, sched="cos", seed=run) for run in range(2)])
    cells = [["" if x != x else str(x) for x in row] for row in rows.to_numpy().tolist()]
    head = list(rows.columns)
    for _ in range(data.draw(st.integers(0, 8))):
        row, column = (data.draw(st.integers(0, len(x) - 1)) for x in (cells, head))
        kind = data.draw(st.sampled_from(["cell", "column", "name", "row", "cut", "twice"]))
        if kind == "cell":
            cells[row][column] = data.draw(ODD)
        elif kind == "column":
            value = data.draw(ODD)
            for one in cells:
                one[column] = value
        elif kind == "name":
            head[column] = data.draw(NAMES)
        elif kind == "row" and len(cells) > 1:
            del cells[row]
        elif kind == "cut":
            cells[row] = [*cells[row][: column + 1], *[""] * (len(head) - column - 1)]
        elif kind == "twice":
            cells.append(list(cells[row]))
    separator = data.draw(st.sampled_from([",", ";", "\t"]))
    text = "\n".join(separator.join(one) for one in [head, *cells])
    asked = data.draw(
        st.sampled_from(
            [
                {},
                {"group": ("sched",)},
                {"updates": 400},
                {"points": 500},
                {"epoch_updates": 10},
                {"seed": "seed"},
                {"resumed_from": "sched"},
                {"horizon": "seed"},
                {"lr_schedule": "cosine", "peak_lr": "0.1"},
                {"match": (("sched", "c*"),)},
            ]
        )
    )
    run = data.draw(st.sampled_from(["run", None]))
    with folder() as root:
        (root / "a b.csv").write_text(text, encoding="utf-8")
        check(lambda: CsvSource(root / "a b.csv", run=run), root, **asked)


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([".csv", ".csv.gz", ".jsonl", ".csv.xz", ".json"]))
def test_files_of_any_bytes(content: bytes, suffix: str) -> None:
    with folder() as root:
        (root / f"a{suffix}").write_bytes(content)
        check(lambda: CsvSource(root), root)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
)


@FUZZ
@given(st.data())
def test_json_lines_with_any_values(data: st.DataObject) -> None:
    rows: list[Any] = [
        {k: v for k, v in row.items() if not math.isnan(v)}
        for row in log(every=40).to_dict("records")
    ]
    for _ in range(data.draw(st.integers(0, 6))):
        row = data.draw(st.integers(0, len(rows) - 1))
        name = data.draw(st.sampled_from(["step", "train_loss", "val_loss", "lr", "seed", "ü", ""]))
        if data.draw(st.booleans()):
            rows[row] = {**rows[row], name: data.draw(VALUES)}
        else:
            rows.insert(row, data.draw(st.sampled_from([{}, {name: {"a": {"b": 1}}}, {"step": 1}])))
    text = "\n".join(json.dumps(row) for row in rows)
    with folder() as root:
        (root / "a.jsonl").write_text(text[: data.draw(st.integers(0, len(text)))])
        (root / "b.jsonl").write_text(text)
        check(lambda: CsvSource(root), root)


def framed(records: list[bytes]) -> bytes:
    """As W&B frames them."""
    import zlib

    parts = [b":W&B\xe1\xbe\x00"]
    for record in records:
        check = zlib.crc32(b"\x01" + record) & 0xFFFFFFFF
        head = check.to_bytes(4, "little") + len(record).to_bytes(2, "little") + b"\x01"
        parts += [head, record]
    return b"".join(parts)


@FUZZ
@given(st.lists(st.binary(max_size=60), max_size=5), st.binary(max_size=40), st.integers(0, 400))
def test_files_of_wandb_with_any_records(records: list[bytes], rest: bytes, cut: int) -> None:
    with folder() as root:
        (root / "run-a.wandb").write_bytes((framed(records) + rest)[:cut])
        check(lambda: OfflineSource(root), root)


@settings(FUZZ, max_examples=30)
@given(st.binary(max_size=200))
def test_event_files_of_any_bytes(content: bytes) -> None:
    with folder() as root:
        (root / "events.out.tfevents.1.a").write_bytes(content)
        check(lambda: TensorBoardSource(root), root)


def test_numbers_at_the_edge_of_what_there_is(tmp_path: Path) -> None:
    rows = log()
    rows["train_loss"] *= 1e306
    rows["val_loss"] = np.where(rows["val_loss"].notna(), 1e308, np.nan)
    rows.to_csv(tmp_path / "a.csv", index=False)
    check(lambda: CsvSource(tmp_path / "a.csv"), tmp_path)
