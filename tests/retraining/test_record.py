"""Records as files: they come back as they were written; others count as not there."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from components.evaluation.statistics import paired_difference
from components.retraining.challenger import Fitted
from components.retraining.comparison import Comparison
from components.retraining.gate import Rules, gate
from components.retraining.record import (
    Counts,
    Night,
    NightHistories,
    NightRecord,
    close_night,
    last_record,
    open_night,
    save_night,
    write_record,
)
from components.retraining.typed_json import plain, read_or_none, write
from components.storage.typed import SEAL, read_sealed, write_sealed
from components.storage.workspace import Workspace

TASK = "mnist1d-cnn"
COUNTS = Counts({"sweep": 2, "imported": 1}, 0, 1, {"task x instead of y": 1}, ["bad: wörse"])
RUN = "a" * 16
NIGHT = Night("now", "5e77", {RUN: "data/a"}, {RUN: "f1"}, [RUN], [], [RUN], "d1", [7, 3], COUNTS)
COMPARED = Comparison(
    night=NIGHT.id,
    champion=2,
    tests={"7": 0.1 + 0.2, "3": None},
    champion_tests={"7": 0.5, "3": 0.25},
    errors={"b": 1 / 3, "a": 0.5},
    champion_errors={"b": None, "a": 1.0},
    swept=["a"],
    fingerprints={"c": "f2"},
)


def night_record(**changes: Any) -> NightRecord:
    result = gate(COMPARED.figures, Rules(0.5, 0.01, "reconstruction"))
    record = NightRecord(
        night=NIGHT.id,
        task=TASK,
        started="then",
        decision=result.verdict,
        reasons=result.reasons,
        figures=result.figures,
        rules=result.rules,
        champion=2,
        seeds=NIGHT.seeds,
        tests=COMPARED.tests,
        champion_tests=COMPARED.champion_tests,
        histories=NightHistories(**asdict(COUNTS), runs=3, held_out=1),
        histories_digest="d1",
        data_revision="",
        seen="5ee4",
        version=3,
        ended="now",
    )
    return replace(record, **changes)


@pytest.mark.parametrize("value", [NIGHT, COMPARED, Fitted("n", {"lode.safetensors": "d2"})])
def test_what_is_written_is_read(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write(value, path)
    assert read_or_none(type(value), path) == value
    assert list(read_sealed(path)) == [*asdict(value), SEAL], "fields in their order"


def test_a_record_comes_back_but_for_what_json_cannot_hold(tmp_path: Path) -> None:
    workspace, record = Workspace(tmp_path), night_record()
    assert last_record(workspace, TASK) is None
    write_record(record, workspace)
    found = last_record(workspace, TASK)
    assert found is not None and found.figures.champion is not None
    assert COMPARED.figures.champion is not None
    assert math.isinf(COMPARED.figures.champion.error), "the champion erred without bounds"
    assert math.isnan(found.figures.champion.error)
    assert "Infinity" not in workspace.nightly_report(TASK).read_text()
    assert plain(found) == plain(record)
    assert found.summary.startswith(f"lode-{TASK} version 3 refused: 1 of the challenger's 2 runs")


def test_each_night_has_one_line_whatever_the_last_line_is(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    path = workspace.reports(TASK) / "nightly.jsonl"
    for _ in range(2):  # the second time as after a kill
        write_record(night_record(), workspace)
    write_record(night_record(night="another"), workspace)
    nights = [json.loads(line)["night"] for line in path.read_text().splitlines()]
    assert nights == [NIGHT.id, "another"]
    path.write_text('{"night": "of an earlier version"}\n{"night": "cut of')
    write_record(night_record(), workspace)
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"night": 1}',
        b"\xff\xfe",
        '{"started": null}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:9],
)
def test_a_damaged_or_older_file_counts_as_not_there(text: str | bytes, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_night(NIGHT, workspace, TASK)
    write_record(night_record(), workspace)
    assert open_night(workspace, TASK) == NIGHT
    damaged = text if isinstance(text, bytes) else text.encode()
    for path in (workspace.night(TASK) / "night.json", workspace.nightly_report(TASK)):
        path.write_bytes(damaged)
    assert open_night(workspace, TASK) is None and last_record(workspace, TASK) is None
    close_night(workspace, TASK)
    assert not list(workspace.night(TASK).iterdir())


@pytest.mark.parametrize(
    "changed",
    [
        {"files": {"../../../outside": "data/a"}},
        {"files": {RUN: "../../outside"}},
        {"files": {RUN: "/etc/outside"}},
        {"sweep": ["b" * 16]},
        {"held_out": ["../" + "a" * 13]},
    ],
    ids=str,
)
def test_no_night_goes_on_with_a_path_from_outside(changed: dict[str, Any], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_night(NIGHT, workspace, TASK)
    path = workspace.night(TASK) / "night.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    assert open_night(workspace, TASK) is None


def test_a_night_of_an_earlier_version_counted_no_stopped_runs(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_night(NIGHT, workspace, TASK)
    path = workspace.night(TASK) / "night.json"
    old = read_sealed(path)
    del old["counts"]["stopped"]
    write_sealed(path, old)
    assert open_night(workspace, TASK) == NIGHT


def test_figures_of_a_comparison() -> None:
    figures = COMPARED.figures
    assert (figures.runs, figures.completed, figures.test) == (2, 1, 0.1 + 0.2)
    assert figures.error == (1 / 3 + 0.5) / 2 and figures.champion is not None
    assert figures.champion.sweep_difference == paired_difference({"a": 0.5}, {"a": 1.0})
    alone = replace(COMPARED, champion=None, champion_tests=None, champion_errors=None, errors={})
    assert alone.figures.champion is None and math.isnan(alone.figures.error)
