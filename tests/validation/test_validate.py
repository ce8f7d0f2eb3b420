"""Every expectation has a planted fault that only it (or it first) sees; nothing is deleted."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.storage.typed import read_sealed, write_sealed
from components.tasks import catalog
from components.training.history import (
    SCHEMA,
    History,
    digest,
    history_path,
    read_histories,
    write_history,
)
from components.validation.accepted import accepted_histories
from components.validation.checks import Checker
from components.validation.errors import ValidationError
from components.validation.tables import Sweep as DeclaredSweep
from components.validation.tables import read_tables
from components.validation.validate import validate
from components.validation.verdict import ValidationResult, decide

from .conftest import PEAK_LRS, SCHEDULERS, SEEDS, N, T, make_history, write_sweep

Sweep = dict[tuple[str, float, int], History]
BAD = ("onecycle", 0.05, 1)
DAMAGED = '{"success": true, "stopped_by": [], "accepted": [7], "histories_digest": "0"}'


def check(folder: Path, **changed: Any) -> ValidationResult:
    declared = {
        "report_dir": folder.parents[2] / "reports",
        "task": "mnist1d-cnn",
        "schedulers": SCHEDULERS,
        "peak_lrs": PEAK_LRS,
        "seeds": SEEDS,
        "updates": N,
        "points": T,
        "max_quarantined": 0.5,
    }
    return validate(folder, **(declared | changed))


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder.parents[2] / "reports" / "validation.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rewrite(history: History, folder: Path, column: str, rows: slice | int, value: Any) -> None:
    history.points.loc[rows, column] = value
    write_history(history, folder)


def raw_file(folder: Path, history: History, columns: dict[str, pa.Array]) -> None:
    """A file with other columns than a history's, metadata kept."""
    path = history_path(folder, history.run_id)
    meta = pq.read_schema(path).metadata
    pq.write_table(pa.table(columns).replace_schema_metadata(meta), path)


# ---------------------------------------------------------------------------- a sound sweep


def test_a_sound_sweep_is_accepted_whole(folder: Path, sweep: Sweep) -> None:
    result = check(folder)
    assert result.success and not result.quarantined and not result.outside
    assert result.accepted == tuple(sorted(h.run_id for h in sweep.values()))
    assert result.histories_digest == digest(read_histories(folder))
    assert all(outcome.success for outcome in result.outcomes)
    assert {outcome.table for outcome in result.outcomes} == {
        "files",
        "runs",
        "points",
        "cells",
        "sweep",
    }
    assert result.summary() == "8 runs of mnist1d-cnn: 8 accepted, 0 quarantined"


def test_a_second_validation_writes_the_same_bytes(folder: Path, sweep: Sweep) -> None:
    rewrite(sweep[BAD], folder, "train_loss", 3, math.nan)
    check(folder)
    path = folder.parents[2] / "reports" / "validation.json"
    first, before = path.read_bytes(), files(folder)
    check(folder)
    assert path.read_bytes() == first
    assert files(folder) == before
    assert str(folder).encode() not in first


# ---------------------------------------------------------------------------- bad runs

QUARANTINED: list[tuple[str, str, Any, str]] = [
    ("train_loss", "NaN loss", math.nan, "train_loss is not a number"),
    ("train_loss", "infinite loss", math.inf, "train_loss outside [0, 100]"),
    ("train_loss", "huge loss", 101.0, "train_loss outside [0, 100]"),
    ("train_loss", "negative loss", -0.1, "train_loss outside [0, 100]"),
    ("val_metric", "NaN metric", math.nan, "val_metric is not a number"),
    ("val_metric", "metric above 1", 1.01, "val_metric outside [0, 1]"),
    ("val_metric", "metric below 0", -0.01, "val_metric outside [0, 1]"),
    ("lr", "NaN lr", math.nan, "lr is not a number"),
    ("lr", "negative lr", -0.01, "lr negative or infinite"),
    ("lr", "infinite lr", math.inf, "lr negative or infinite"),
    ("epoch", "NaN epoch", math.nan, "epoch is not a number"),
    ("epoch", "infinite epoch", math.inf, "epoch negative or infinite"),
    ("elapsed_s", "NaN time", math.nan, "elapsed_s is not a number"),
    ("elapsed_s", "negative time", -1.0, "elapsed_s negative or infinite"),
    ("step", "step stands still", 15, "steps do not increase strictly"),
    ("step", "step beyond N", N + 1, f"step outside 1..{N}"),
]


def test_bad_runs_are_quarantined_with_reason_and_point(folder: Path) -> None:
    """All faults in one validation, one run each, so that Great Expectations starts once."""
    seeds = list(range(len(QUARANTINED) + 2))
    runs = {}
    for seed, (column, _, value, _) in enumerate(QUARANTINED):
        history = make_history("onecycle", 0.05, seed)
        rewrite(history, folder, column, 3, value)
        runs[seed] = history.run_id
    for seed in seeds[-2:]:
        write_history(make_history("onecycle", 0.05, seed), folder)
    before = files(folder)
    result = check(
        folder, schedulers=["onecycle"], peak_lrs=[0.05], seeds=seeds, max_quarantined=1.0
    )

    assert result.success
    found = {bad.run_id: bad for bad in result.quarantined}
    for seed, (_, what, _, problem) in enumerate(QUARANTINED):
        reasons = {r["problem"]: r["points"] for r in found[runs[seed]].reasons}
        assert reasons.get(problem) == [4], f"{what}: {reasons}"
    assert found.keys().isdisjoint(result.accepted)
    assert len(result.accepted) == 2
    assert files(folder) == before, "a quarantined run's file stays where it is"


def test_a_diverged_run_is_quarantined_even_without_a_single_point(
    folder: Path, sweep: Sweep
) -> None:
    for seed, kept in ((0, 5), (1, 0)):
        history = sweep["onecycle", 0.05, seed]
        history.meta["status"], history.points = "diverged", history.points.iloc[:kept]
        write_history(history, folder)
    result = check(folder)
    assert {b.run: [r["problem"] for r in b.reasons] for b in result.quarantined} == {
        "onecycle 0.05 seed 0": ["did not complete"],
        "onecycle 0.05 seed 1": ["did not complete"],
    }
    assert "quarantined\n  onecycle 0.05 seed" in result.summary()
    assert report(folder)["counts"]["quarantined"] == 2


def test_a_run_that_was_stopped_early_is_called_so(folder: Path, sweep: Sweep) -> None:
    history = sweep[BAD]
    history.meta["status"], history.points = "stopped", history.points.iloc[:5]
    write_history(history, folder)
    (bad,) = check(folder).quarantined
    assert [reason["problem"] for reason in bad.reasons] == ["was stopped early"]


def test_a_metric_of_any_range_is_accepted_where_the_task_says_so(
    folder: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """−Σ err², higher is better: nothing is assumed but that it is finite."""
    task = replace(catalog.TASKS["mnist1d-cnn"], metric=lambda out, y: -((out - y) ** 2).sum())
    monkeypatch.setitem(catalog.TASKS, task.name, task)
    for history in sweep.values():
        history.points["val_metric"] -= 40
        history.meta["test_metric"] -= 40
        write_history(history, folder)
    rewrite(sweep[BAD], folder, "val_metric", 3, -math.inf)
    (bad,) = check(folder).quarantined
    assert [reason["problem"] for reason in bad.reasons] == ["val_metric infinite"]


def test_a_test_metric_that_the_task_cannot_have_is_quarantined(folder: Path, sweep: Sweep) -> None:
    sweep[BAD].meta["test_metric"] = 7.5
    write_history(sweep[BAD], folder)
    (bad,) = check(folder).quarantined
    assert [reason["problem"] for reason in bad.reasons] == ["test_metric outside [0, 1]"]


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    relative=st.floats(1e-9, 0.5),
    rows=st.sets(st.integers(0, T - 1), min_size=1),
    sign=st.sampled_from([-1, 1]),
)
def test_an_lr_off_its_schedule_by_more_than_the_tolerance_is_found(
    tmp_path: Path, relative: float, rows: set[int], sign: int
) -> None:
    folder = tmp_path / "data" / "histories" / "h"
    shutil.rmtree(folder, ignore_errors=True)
    sweep = write_sweep(folder)
    history, where = sweep[BAD], sorted(rows)
    history.points.loc[where, "lr"] *= 1 + sign * relative
    write_history(history, folder)
    declared = DeclaredSweep("mnist1d-cnn", tuple(SCHEDULERS), tuple(PEAK_LRS), tuple(SEEDS), N, T)
    tables = read_tables(sorted(folder.iterdir()), declared)
    quarantined = decide(tables, declared, Checker()).quarantined
    if relative > 1.001e-6:
        (bad,) = quarantined
        (reason,) = bad.reasons
        assert bad.run_id == history.run_id
        assert reason["problem"] == "lr is not that of the declared schedule"
        assert reason["points"] == [row + 1 for row in where]
    elif relative < 0.999e-6:
        assert not quarantined


# ---------------------------------------------------------------------------- structural faults


def no_files(folder: Path, sweep: Sweep) -> None:
    shutil.rmtree(folder)


def truncated(folder: Path, sweep: Sweep) -> None:
    path = history_path(folder, sweep[BAD].run_id)
    path.write_bytes(path.read_bytes()[:200])


def not_ours(folder: Path, sweep: Sweep) -> None:
    pq.write_table(pa.table({"a": [1]}), folder / "stranger.parquet")


def column_missing(folder: Path, sweep: Sweep) -> None:
    points = sweep[BAD].points.drop(columns="lr")
    raw_file(folder, sweep[BAD], {c: pa.array(points[c]) for c in points})


def other_type(folder: Path, sweep: Sweep) -> None:
    points = sweep[BAD].points.astype({"point": "int64"})
    raw_file(folder, sweep[BAD], {c: pa.array(points[c]) for c in points})


def null_point(folder: Path, sweep: Sweep) -> None:
    points = sweep[BAD].points
    columns = {
        field.name: pa.array(points[field.name], field.type)
        for field in pq.read_schema(history_path(folder, sweep[BAD].run_id))
    }
    columns["point"] = pa.array([None, *range(2, T + 1)], pa.int32())
    raw_file(folder, sweep[BAD], columns)


def meta_key_missing(folder: Path, sweep: Sweep) -> None:
    run_id = sweep[BAD].run_id
    del sweep[BAD].meta["status"]
    sweep[BAD].meta["run_id"] = run_id
    write_history(sweep[BAD], folder)


def edited(folder: Path, run_id: str, **changed: Any) -> None:
    """By hand, in the file: nothing is signed anew."""
    path = history_path(folder, run_id)
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"lode"]) | changed
    pq.write_table(table.replace_schema_metadata({b"lode": json.dumps(meta)}), path)


def another_seed(folder: Path, sweep: Sweep) -> None:
    edited(folder, sweep[BAD].run_id, seed=7)


def path_as_id(folder: Path, sweep: Sweep) -> None:
    rows = sweep[BAD].points.assign(run_id="../../x")
    raw_file(folder, sweep[BAD], {c: pa.array(rows[c]) for c in rows})
    path = history_path(folder, sweep[BAD].run_id)
    table = pq.read_table(path).cast(SCHEMA)
    meta = sweep[BAD].meta | {"run_id": "../../x"}
    pq.write_table(table.replace_schema_metadata({b"lode": json.dumps(meta)}), path)


def other_task(folder: Path, sweep: Sweep) -> None:
    write_history(make_history(*BAD, task="fashion-mnist-cnn"), folder)


def copied_file(folder: Path, sweep: Sweep) -> None:
    shutil.copy(history_path(folder, sweep[BAD].run_id), folder / "copy.parquet")


def rows_of_another_run(folder: Path, sweep: Sweep) -> None:
    rewrite(sweep[BAD], folder, "run_id", slice(None), sweep["constant", 0.01, 0].run_id)


def completed_but_short(folder: Path, sweep: Sweep) -> None:
    sweep[BAD].points = sweep[BAD].points.iloc[:-1]
    write_history(sweep[BAD], folder)


def point_twice(folder: Path, sweep: Sweep) -> None:
    rewrite(sweep[BAD], folder, "point", 3, 3)


def point_out_of_range(folder: Path, sweep: Sweep) -> None:
    rewrite(sweep[BAD], folder, "point", T - 1, T + 1)


def cell_missing(folder: Path, sweep: Sweep) -> None:
    history_path(folder, sweep[BAD].run_id).unlink()


def cell_twice(folder: Path, sweep: Sweep) -> None:
    twin = make_history(*BAD)
    twin.meta["run_id"] = twin.points["run_id"] = "0123456789abcdef"
    write_history(twin, folder)


def scheduler_all_bad(folder: Path, sweep: Sweep) -> None:
    for (scheduler, _, _), history in sweep.items():
        if scheduler == "onecycle":
            rewrite(history, folder, "val_metric", 0, math.nan)


STRUCTURAL: list[tuple[Callable[[Path, Sweep], None], list[str]]] = [
    (no_files, ["no histories to validate", "lode sweep"]),
    (truncated, ["unreadable files", "{id}.parquet: truncated", "it, and the run is repeated"]),
    (not_ours, ["stranger.parquet: not a history of this project", "move it out"]),
    (column_missing, ["{id}.parquet: columns ['lr'] are missing"]),
    (other_type, ["columns or types are not a history's: {id}.parquet", "point int64", "move it"]),
    (null_point, ["{id}.parquet: empty cells in its column point"]),
    (meta_key_missing, ["{id}.parquet: metadata keys missing: status"]),
    (another_seed, ["{id}.parquet: its rows or metadata are not those that were written"]),
    (path_as_id, ["{id}.parquet: run_id = '../../x' in its metadata", "16 hexadecimal digits"]),
    (other_task, ["another task than mnist1d-cnn", "fashion-mnist-cnn", "move it out"]),
    (
        copied_file,
        [
            "copy.parquet: file name is not the run's id {id}",
            "move it out of the histories folder",
        ],
    ),
    (rows_of_another_run, ["{id}.parquet: rows carry another run's id"]),
    (completed_but_short, ["completed, but not with T = 12 points: onecycle 0.05 seed 1 ({id})"]),
    (
        point_twice,
        [
            "points that occur twice: onecycle 0.05 seed 1 ({id}) at point 3, 3",
            "points do not increase strictly",
            "move the file away and `lode sweep` repeats",
        ],
    ),
    (point_out_of_range, ["points outside 1..12: onecycle 0.05 seed 1 ({id}) at point 13"]),
    (cell_missing, ["the sweep is incomplete: no run for: onecycle 0.05 seed 1", "lode sweep"]),
    (cell_twice, ["more than one run for: onecycle 0.05 seed 1", "move them out"]),
    (scheduler_all_bad, ["schedulers without a good run: onecycle", "OneCycle", "Table 4"]),
]


@pytest.mark.parametrize(("plant", "says"), STRUCTURAL, ids=[p.__name__ for p, _ in STRUCTURAL])
def test_a_structural_fault_stops_and_deletes_nothing(
    folder: Path, sweep: Sweep, plant: Callable[[Path, Sweep], None], says: list[str]
) -> None:
    plant(folder, sweep)
    before = files(folder) if folder.exists() else {}
    with pytest.raises(ValidationError) as stopped:
        check(folder)
    for text in says:
        assert text.format(id=make_history(*BAD).run_id) in str(stopped.value)
    assert (files(folder) if folder.exists() else {}) == before
    if before:
        assert report(folder)["success"] is False
        assert report(folder)["accepted"] == []
        assert (folder.parents[2] / "reports" / "data_docs" / "index.html").is_file()


def test_one_message_names_every_fault(folder: Path, sweep: Sweep) -> None:
    truncated(folder, sweep)
    other_task(folder, sweep)
    rewrite(sweep["constant", 0.01, 0], folder, "point", 3, 3)
    with pytest.raises(ValidationError) as stopped:
        check(folder)
    for text in ("truncated", "another task", "constant 0.01 seed 0", "no run for: onecycle 0.05"):
        assert text in str(stopped.value)


def test_too_many_bad_runs_stop_and_are_named(folder: Path, sweep: Sweep) -> None:
    for seed in SEEDS:
        rewrite(sweep["onecycle", 0.05, seed], folder, "train_loss", 2, math.nan)
    assert len(check(folder, max_quarantined=0.25).quarantined) == 2
    with pytest.raises(ValidationError, match=r"more than 24% of the runs are bad: onecycle 0\.05"):
        check(folder, max_quarantined=0.24)


def test_tpe_wants_every_seed_of_what_it_tried_and_no_grid(folder: Path, sweep: Sweep) -> None:
    for seed in SEEDS:
        write_history(make_history("constant", 0.0123, seed), folder)
    assert len(check(folder, sampler="tpe", peak_lrs=[9.9]).accepted) == len(sweep) + 2
    history_path(folder, make_history("constant", 0.0123, 1).run_id).unlink()
    with pytest.raises(ValidationError, match=r"no run for: constant 0\.0123 seed 1"):
        check(folder, sampler="tpe")


def test_a_race_wants_the_first_seed_of_all_and_every_seed_of_what_went_on(
    folder: Path, sweep: Sweep
) -> None:
    first, *others = SEEDS
    gone = ("onecycle", 0.05)
    for seed in others:
        history_path(folder, sweep[*gone, seed].run_id).unlink()
    with pytest.raises(ValidationError, match="the sweep is incomplete"):
        check(folder)
    assert len(check(folder, sampler="racing").accepted) == len(sweep) - len(others)
    history_path(folder, sweep[*gone, first].run_id).unlink()
    with pytest.raises(ValidationError, match=rf"no run for: onecycle 0\.05 seed {first}"):
        check(folder, sampler="racing")
    write_history(sweep[*gone, others[0]], folder)
    with pytest.raises(ValidationError, match=rf"no run for: onecycle 0\.05 seed {first}"):
        check(folder, sampler="racing")


def test_a_run_outside_the_declared_sweep_is_reported_and_not_learned_from(
    folder: Path, sweep: Sweep
) -> None:
    stray = make_history("onecycle", 0.7, 0)
    stray.points["val_metric"] = np.nan  # not of this sweep, so not one of its bad runs either
    write_history(stray, folder)
    result = check(folder)
    assert result.outside == (stray.run_id,)
    assert not result.quarantined and len(result.accepted) == len(sweep)
    assert "1 outside the declared sweep" in result.summary()
    assert report(folder)["outside_sweep"] == [stray.run_id]


# ---------------------------------------------------------------------------- what the fit reads


def test_accepted_histories_are_the_good_ones(folder: Path, sweep: Sweep) -> None:
    rewrite(sweep[BAD], folder, "train_loss", 3, math.nan)
    result = check(folder)
    histories = accepted_histories(folder, folder.parents[2] / "reports" / "validation.json")
    assert tuple(history.run_id for history in histories) == result.accepted
    assert sweep[BAD].run_id not in result.accepted
    assert digest(histories) == result.histories_digest


def test_accepted_histories_refuses_a_missing_failed_or_stale_report(
    folder: Path, sweep: Sweep
) -> None:
    path = folder.parents[2] / "reports" / "validation.json"
    with pytest.raises(ValidationError, match="run `lode validate` first"):
        accepted_histories(folder, path)
    check(folder)
    rewrite(sweep[BAD], folder, "train_loss", 3, 0.5)
    with pytest.raises(ValidationError, match="histories changed since"):
        accepted_histories(folder, path)
    cell_missing(folder, sweep)
    with pytest.raises(ValidationError, match=r"no such history; then run `lode validate` again"):
        accepted_histories(folder, path)
    with pytest.raises(ValidationError):
        check(folder)
    with pytest.raises(ValidationError, match=r"did not pass:\n  - the sweep is incomplete"):
        accepted_histories(folder, path)
    report = read_sealed(path)
    for damaged in ("{}", "[]", "null", "7", "[" * 100_000, '{"success": 1}', b"\xff", DAMAGED):
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        with pytest.raises(ValidationError, match=r"validation\.json: .*run `lode validate` again"):
            accepted_histories(folder, path)
    write_sealed(path, report | {"success": True, "accepted": ["../../x"]})
    with pytest.raises(ValidationError, match=r"'\.\./\.\./x' is no run's id"):
        accepted_histories(folder, path)


@pytest.mark.parametrize(
    "budget",
    [{"updates": 2 * N}, {"points": 2 * T}, {"train_samples": 500}, {"data_digest": "other text"}],
)
def test_runs_of_another_budget_are_set_aside_and_counted(
    folder: Path, sweep: Sweep, budget: dict[str, int]
) -> None:
    former = make_history(*BAD, **budget)
    write_history(former, folder)
    result = check(folder)
    assert result.outside == (former.run_id,)
    assert report(folder)["outside_sweep"] == [former.run_id]
    assert len(result.accepted) == len(sweep) and former.run_id not in result.accepted


def test_a_folder_of_another_budget_alone_is_an_incomplete_sweep(
    folder: Path, sweep: Sweep
) -> None:
    with pytest.raises(ValidationError, match="no run for"):
        check(folder, updates=2 * N)
