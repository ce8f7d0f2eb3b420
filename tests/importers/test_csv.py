"""Files as a source: many runs in one, one in each of many, JSON lines, tables of runs, faults."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.importers.csv import CsvSource, read_table
from components.importers.errors import RunsError
from components.importers.source import NOT_FINITE
from components.training.history import History
from components.training.resampled import resampled

from .made import N, T, json_lines, log, one_file, read_csv, sweep, write


def by_name(histories: list[History]) -> dict[str, History]:
    return {str(one.meta["imported"]["name"]): one for one in histories}


def check_same(histories: list[History]) -> None:
    """They are the sweep's, whatever file they come from."""
    runs = sweep()
    found = by_name(histories)
    assert set(found) == set(runs)
    for name, history in found.items():
        config, rows = runs[name]
        expected = resampled(rows.rename(columns={"val_loss": "val_metric"}), updates=N, points=T)
        np.testing.assert_allclose(history.points["val_metric"], -expected["val_metric"], rtol=1e-9)
        for column in ("step", "train_loss", "lr"):
            np.testing.assert_allclose(history.points[column], expected[column], rtol=1e-9)
        meta = history.meta
        assert (meta["scheduler"], meta["peak_lr"], meta["seed"]) == tuple(config.values())
        assert (meta["updates"], meta["points"], meta["status"]) == (N, T, "completed")
        assert (meta["metric_name"], meta["metric_goal"]) == ("val_loss", "minimize")
        assert meta["imported"]["source"] == "csv" and not meta["metric_percent"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.bz2", ".csv.xz"])
def test_many_runs_in_one_file(tmp_path: Path, suffix: str) -> None:
    path = one_file(tmp_path / f"all runs{suffix}", sweep())
    check_same(write(CsvSource(path, run="run"), tmp_path, group=("sched",)))


def test_a_run_in_each_of_many_files_and_a_table_of_them(tmp_path: Path) -> None:
    """In a folder with spaces, below others, as JSON lines, plain or compressed."""
    folder = tmp_path / "my runs"
    table = []
    for number, (name, (config, rows)) in enumerate(sweep().items()):
        path = json_lines(folder / f"part {number % 3}" / f"{name}.jsonl", rows)
        if number % 2:
            path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        table.append({"file": name, **config})
    pd.DataFrame(table).to_csv(tmp_path / "runs.csv", index=False)
    named = {path.name for path in folder.rglob("*.gz")}
    assert named
    source = CsvSource(folder, table=tmp_path / "runs.csv")
    found = write(source, tmp_path, group=("sched",))
    assert len(found) == len(sweep())
    assert {one.meta["scheduler"] for one in found} == {"cos", "flat", "lin"}


def test_other_separators_and_a_byte_order_mark(tmp_path: Path) -> None:
    for separator in (";", "\t"):
        path = tmp_path / "runs.csv"
        frames = [rows.assign(run=name, **config) for name, (config, rows) in sweep().items()]
        text = pd.concat(frames).to_csv(index=False, sep=separator)
        path.write_text("\ufeff" + text, encoding="utf-8")
        check_same(
            write(CsvSource(path, run="run"), tmp_path / separator.strip(), group=("sched",))
        )


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    runs = {f"läuft-{name}-日本": run for name, run in sweep().items()}
    path = one_file(tmp_path / "süß.csv", runs)
    found = write(CsvSource(path, run="run"), tmp_path)
    assert set(by_name(found)) == set(runs)


def test_what_never_changes_within_a_run_is_a_parameter(tmp_path: Path) -> None:
    path = one_file(tmp_path / "runs.csv", sweep())
    listed = {run.id: run for run in CsvSource(path, run="run").runs(())}
    assert listed["lin-0.03-1"].params == {"sched": "lin", "base_lr": 0.03, "seed": 1.0}
    assert set(listed["lin-0.03-1"].columns) == {
        "step",
        "train_loss",
        "val_loss",
        "lr",
        "base_lr",
        "seed",
    }


def test_cells_that_are_empty_and_cells_that_are_no_number(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("a,b,c\n1,,x\nnan,2,\n-inf,NA,y\n")
    rows = read_table(path)
    assert rows["a"].tolist() == [1.0, NOT_FINITE, NOT_FINITE]
    assert rows["b"].isna().tolist() == [True, False, True]
    assert rows["c"].tolist()[0] == "x" and pd.isna(rows["c"].tolist()[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"neither CSV with a head nor JSON lines \(it is empty\)"),
        (b"\xff\xfe\x00", "neither CSV with a head nor JSON lines"),
        (b"a,a\n1,2\n", r".*two columns are called 'a'"),
        (b"step,loss\n", "no rows there"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd name.csv"
    path.write_bytes(content)
    with pytest.raises(RunsError, match=f"odd name.csv: {message}"):
        CsvSource(path)


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    path = one_file(tmp_path / "runs.csv", sweep())
    with pytest.raises(RunsError, match="no such file"):
        CsvSource(tmp_path / "none.csv")
    with pytest.raises(RunsError, match=re.escape("no .csv, .tsv")):
        (tmp_path / "empty").mkdir()
        CsvSource(tmp_path / "empty")
    with pytest.raises(RunsError, match="no column id that --run names; it has"):
        CsvSource(path, run="id")
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(path.read_bytes())[:-20])
    with pytest.raises(RunsError, match=re.escape("broken.csv.gz: cannot be read")):
        CsvSource(broken)
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"a": 1}\n{"a": ')
    with pytest.raises(RunsError, match="neither CSV with a head nor JSON lines"):
        CsvSource(lines)


def test_a_table_of_other_runs_or_with_two_rows_of_one_is_refused(tmp_path: Path) -> None:
    path = one_file(tmp_path / "runs.csv", sweep())
    table = tmp_path / "table.csv"
    table.write_text("run,model\nother,1\n")
    with pytest.raises(RunsError, match=r"it has none of the runs, e\.g\. cos-0\.003-0"):
        list(CsvSource(path, run="run", table=table).runs(()))
    table.write_text("run,model\ncos-0.003-0,1\ncos-0.003-0,2\n")
    with pytest.raises(RunsError, match=r"two rows are of run cos-0\.003-0"):
        list(CsvSource(path, run="run", table=table).runs(()))


def test_a_run_in_two_files_is_one(tmp_path: Path) -> None:
    """As after a restart, which repeats some steps: of those the last counts."""
    rows = log()
    first, second = rows[rows["step"] <= 250].assign(train_loss=9.0), rows[rows["step"] > 200]
    first.loc[first["step"] <= 200, "train_loss"] = rows["train_loss"]
    folder = tmp_path / "parts"
    folder.mkdir()
    first.assign(run="a").to_csv(folder / "1.csv", index=False)
    second.assign(run="a").to_csv(folder / "2.csv", index=False)
    (found,) = read_csv(folder, tmp_path).histories
    expected = resampled(rows.rename(columns={"val_loss": "val_metric"}), updates=N, points=T)
    np.testing.assert_allclose(found.points["train_loss"], expected["train_loss"], rtol=1e-9)
