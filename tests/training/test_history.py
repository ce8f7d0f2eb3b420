import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training.history import (
    COLUMNS,
    SCHEMA,
    History,
    HistoryError,
    digest,
    read_histories,
    read_history,
    write_history,
)
from components.training.run import RunSpec, log_steps


def history(run_id: str = "a" * 16, points: int = 5, **meta: object) -> History:
    frame = pd.DataFrame(
        {
            "run_id": run_id,
            "point": np.arange(1, points + 1),
            "step": np.arange(1, points + 1) * 10,
            "epoch": np.linspace(0.1, 1, points),
            "train_loss": np.linspace(2, 1, points),
            "val_metric": np.linspace(0.1, 0.9, points),
            "lr": 0.1,
            "elapsed_s": np.linspace(0.1, 1, points),
        }
    )
    facts = {
        "run_id": run_id,
        "task": "t",
        "scheduler": "cosine",
        "peak_lr": 0.1,
        "seed": 0,
        "updates": 100,
        "points": 10,
        "status": "completed",
        "test_metric": 0.5,
    }
    return History(frame, {**facts, **meta})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = history()
    path = write_history(written, tmp_path)
    assert path.name == f"{written.run_id}.parquet"
    read = read_history(path)
    assert read.meta == written.meta
    pd.testing.assert_frame_equal(read.points, written.points[list(COLUMNS)], check_dtype=False)
    assert pq.read_schema(path).remove_metadata().equals(SCHEMA)


def test_a_run_that_diverged_at_once_has_a_history_without_points(tmp_path: Path) -> None:
    read = read_history(write_history(history(points=0, status="diverged"), tmp_path))
    assert len(read.points) == 0 and not read.completed


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_history(history(), tmp_path)
    before = path.read_bytes()

    def full_disk(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left on the disk"):
        write_history(history(points=9), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_truncated_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = write_history(history(), tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(HistoryError, match=rf"{path.name}.*truncated.*delete it, and the run"):
        read_history(path)


def test_foreign_parquet_and_foreign_columns(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"x": [1]}), foreign)
    with pytest.raises(HistoryError, match=r"foreign\.parquet.*not a history"):
        read_history(foreign)
    path = write_history(history(), tmp_path)
    pq.write_table(pq.read_table(path).drop_columns(["lr"]), path)
    with pytest.raises(HistoryError, match=r"columns \['lr'\] are missing"):
        read_history(path)
    path = write_history(history(), tmp_path)
    table = pq.read_table(path)
    text = table.set_column(table.schema.get_field_index("lr"), "lr", pa.array(["x"] * 5))
    pq.write_table(text.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(HistoryError, match="another type"):
        read_history(path)


def test_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="lode sweep"):
        read_histories(tmp_path)


def test_the_digest_ignores_order_and_wall_time_and_sees_the_rest() -> None:
    one, two = history("a" * 16), history("b" * 16)
    before = digest([one, two])
    one.points["elapsed_s"] *= 2
    one.meta["seconds_per_epoch"] = 3.0
    assert digest([two, one]) == before
    one.points.loc[2, "val_metric"] += 1e-12
    assert digest([two, one]) != before


@given(updates=st.integers(1, 10_000), share=st.floats(0.001, 1))
def test_log_points_are_increasing_and_end_at_the_last_update(updates: int, share: float) -> None:
    points = max(1, int(updates * share))
    steps = log_steps(updates, points)
    assert len(steps) == points and steps[-1] == updates
    assert all(b > a for a, b in zip([0, *steps], steps, strict=False))


def test_a_run_id_names_all_that_determines_the_run() -> None:
    spec = RunSpec("t", "cosine", 0.1, 0, 1000, 100)
    others = [
        RunSpec("u", "cosine", 0.1, 0, 1000, 100),
        RunSpec("t", "onecycle", 0.1, 0, 1000, 100),
        RunSpec("t", "cosine", 0.2, 0, 1000, 100),
        RunSpec("t", "cosine", 0.1, 1, 1000, 100),
        RunSpec("t", "cosine", 0.1, 0, 1001, 100),
        RunSpec("t", "cosine", 0.1, 0, 1000, 99),
        RunSpec("t", "cosine", 0.1, 0, 1000, 100, 50),
        RunSpec("t", "cosine", 0.1, 0, 1000, 100, None, "d"),
        RunSpec("t", "cosine", 0.1, 0, 1000, 100, None, None, "lanczos 256"),
        RunSpec("t", "cosine", 0.1, 0, 1000, 100, None, None, None, "text"),
    ]
    assert spec.run_id == RunSpec("t", "cosine", 0.1, 0, 1000, 100).run_id
    assert len({spec.run_id, *(other.run_id for other in others)}) == 11
