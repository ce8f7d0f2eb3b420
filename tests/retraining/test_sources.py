"""What lies in the folders of a night, sound or not: counted, named, and never in the way."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluation.results import PilotResult
from components.retraining import collection, sources
from components.retraining.collection import collect
from components.retraining.record import (
    discard_night,
    open_night,
    seen_digest,
    settings_digest,
)
from components.retraining.sources import FoundRun, Sources, read_sources
from components.storage.typed import write_sealed
from components.storage.workspace import Workspace
from components.training.history import History, digest, history_path, write_history
from tests.validation.conftest import N, T, make_history

from .conftest import PARAMS, ROOT, TASK, tiny

GUIDE = ROOT / "docs" / "guides" / "retraining.md"
SETTINGS = tiny(training__updates=N, training__points=T, training__train_samples=None)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a validated sweep of ten runs, as `accepted_histories` has them."""
    sweep = [make_history("constant", 0.01, seed) for seed in range(10)]
    space = Workspace(tmp_path)
    for history in sweep:
        write_history(history, space.histories(TASK))
    write_sealed(space.pilot_summary(TASK), asdict(PilotResult()))
    monkeypatch.setattr(sources, "accepted_histories", lambda folder, report: sweep)
    monkeypatch.setattr(collection, "_last_seen", lambda settings, workspace: None)
    return space


def forged(history: History, path: Path, meta: Any, **columns: Any) -> None:
    """A file that says what no writer of ours would write."""
    proper = write_history(history, path.parent)
    table = pq.read_table(proper)
    proper.unlink()
    for name, value in columns.items():
        where = table.schema.get_field_index(name)
        table = table.set_column(where, name, pa.array([value] * len(table)))
    text = meta if isinstance(meta, bytes) else json.dumps(history.meta | meta).encode()
    pq.write_table(table.replace_schema_metadata({b"lode": text}), path)


def test_a_forged_id_writes_nothing_anywhere(room: Workspace) -> None:
    victim = make_history("constant", 0.01, 0)
    there = history_path(room.histories(TASK), victim.run_id)
    before = {p: p.read_bytes() for p in room.root.rglob("*.parquet")}
    evil = f"../../../data/histories/{TASK}/{victim.run_id}"
    forged(
        make_history("cosine", 0.05, 7),
        room.imported(TASK) / "b.parquet",
        {"run_id": evil},
        run_id=evil,
    )
    assert collect(SETTINGS, room).ran
    night = open_night(room, TASK)
    assert night is not None and set(night.files) == {p.stem for p in before}
    (said,) = night.counts.quarantined
    assert said.startswith("imported/b.parquet: run_id = '../../../data/histories")
    assert {p: p.read_bytes() for p in before} == before and there in before


def bytes_of_anything(folder: Path) -> None:
    (folder / "x.parquet").write_bytes(b"PAR1" + os.urandom(500))


def a_folder(folder: Path) -> None:
    (folder / "x.parquet").mkdir()


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "x.parquet")


def a_dangling_link(folder: Path) -> None:
    (folder / "x.parquet").symlink_to("nowhere")


def metadata_without_end(folder: Path) -> None:
    forged(make_history("cosine", 0.05, 7), folder / "x.parquet", b"[" * 100_000)


def metadata_of_another_kind(folder: Path) -> None:
    forged(make_history("cosine", 0.05, 7), folder / "x.parquet", b"[]")


def a_name_that_is_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\x1b[31m.parquet")).write_bytes(b"x")


def a_metric_of_750_percent(folder: Path) -> None:
    history = make_history("cosine", 0.05, 7)
    history.meta["test_metric"] = 7.5
    write_history(history, folder)


ANYTHING = [bytes_of_anything, a_folder, a_pipe, a_dangling_link, metadata_without_end]
ANYTHING += [metadata_of_another_kind, a_name_that_is_no_text, a_metric_of_750_percent]


@pytest.mark.parametrize("plant", ANYTHING, ids=[each.__name__ for each in ANYTHING])
def test_one_bad_file_is_named_and_does_not_stop_a_night(plant: Any, room: Workspace) -> None:
    folder = room.imported(TASK)
    folder.mkdir(parents=True)
    plant(folder)
    assert collect(SETTINGS, room).ran
    night = open_night(room, TASK)
    assert night is not None and len(night.files) == 10
    (said,) = night.counts.quarantined
    assert said.isprintable() and len(said) < 400


def test_a_file_whose_reader_raises_anything_is_only_unreadable(
    room: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_history(make_history("cosine", 0.05, 7), room.imported(TASK))
    kinds = [MemoryError, OverflowError, IndexError, RecursionError, SystemError, OSError, KeyError]
    for kind in kinds:

        def fail(*_: object, kind: type[Exception] = kind) -> None:
            raise kind("of a library")

        monkeypatch.setattr("components.training.history.pq.ParquetFile", fail)
        found = read_sources(SETTINGS, room)
        assert len(found.runs) == 10 and len(found.unreadable) == 1
        assert "of a library" in next(iter(found.unreadable.values()))


@pytest.mark.parametrize("place", [f"{TASK}/batch 1", ""], ids=["too deep", "beside"])
def test_a_history_where_nobody_reads_is_named_with_where_it_belongs(
    place: str, room: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_history(make_history("cosine", 0.05, 7), room.root / "data" / "imported" / place)
    found, named = read_sources(SETTINGS, room), path.relative_to(room.root)
    said = f"{named}, which belongs in data/imported/{TASK} itself"
    assert found.skipped == {said: 1} and len(found.runs) == 10
    assert f", 1 skipped ({said})" in collect(SETTINGS, room).summary
    fingerprints = {run.history.run_id: digest([run.history]) for run in found.runs}
    seen = seen_digest(settings_digest(SETTINGS), fingerprints)
    discard_night(room, TASK)
    monkeypatch.setattr(collection, "_last_seen", lambda settings, workspace: seen)
    assert collect(SETTINGS, room).summary == f"nothing new in 10 runs, 1 skipped ({said})"


def test_stopped_runs_are_not_called_diverged(room: Workspace) -> None:
    for seed, status in ((7, "stopped"), (8, "stopped"), (9, "diverged")):
        history = make_history("cosine", 0.05, seed)
        history.meta["status"], history.points = status, history.points.iloc[:8]
        write_history(history, room.imported(TASK))
    assert ", 1 diverged, 2 stopped early" in collect(SETTINGS, room).summary


def test_counts_of_status_come_from_the_runs() -> None:
    runs = [make_history("cosine", 0.05, seed) for seed in range(3)]
    runs[0].meta["status"] = "stopped"
    found = Sources([FoundRun(run, "imported", Path("x")) for run in runs])
    checked = SimpleNamespace(bad=[])
    counts = collection._counts(found, found.runs, checked)  # type: ignore[arg-type]
    assert (counts.stopped, counts.diverged) == (1, 0) and digest(runs)
    assert counts.by_source == Counter(imported=3)


def test_the_guide_brings_a_history_in(room: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(room.root)
    text = PARAMS.read_text(encoding="utf-8")
    for key, value in (("updates", N), ("points", T)):
        text = re.sub(rf"(?m)^  {key}: \d+", f"  {key}: {value}", text, count=1)
    Path("params.yaml").write_text(text, encoding="utf-8")
    series = make_history("cosine", 0.05, 7).points[["train_loss", "val_metric", "lr"]]
    series.to_csv("old-run.csv", index=False)
    exec(compile(code, str(GUIDE), "exec"), {})
    assert "11 runs (10 sweep, 1 imported)" in collect(SETTINGS, room).summary
