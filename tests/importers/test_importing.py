"""One import: what comes in, what is left out and why, what is asked; again, and killed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.importers import staging
from components.importers.csv import CsvSource
from components.importers.errors import RunsError
from components.importers.importing import write_runs
from components.importers.report import report
from components.tasks.own import OwnMetric
from components.training.history import read_histories
from components.training.run import RunSpec

from .made import (
    N,
    T,
    json_lines,
    lode_import,
    log,
    one_file,
    read,
    read_csv,
    sweep,
    target,
    workspace,
    write,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return one_file(tmp_path / "runs.csv", sweep())


def test_the_report_says_what_came_in_and_ranks_it(path: Path, tmp_path: Path) -> None:
    result = read_csv(path, tmp_path)
    text = report(result)
    assert "18 runs would come in of 18 listed: 9 configurations, 2 seeds" in text
    assert "N = 400 updates, T = 20 points" in text and "nothing was left out" in text
    assert "train_loss = train_loss (guessed), val_metric = val_loss (guessed)" in text
    assert "told apart by sched and peak rate" in text and "seeds are those of seed" in text
    best = min(sweep().values(), key=lambda run: np.nanmin(run[1]["val_loss"]))[0]
    first = text.partition(" 1. ")[2].partition("\n")[0]
    assert "best val_loss by configuration, lower is better" in text
    assert f"{best['sched']} peak {best['base_lr']:g} (2 runs)" in first


def test_again_is_the_same_and_adds_nothing(path: Path, tmp_path: Path) -> None:
    source = CsvSource(path, run="run")
    before = {h.run_id: h for h in write(source, tmp_path)}
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "histories").iterdir()}
    result = read(source, tmp_path)
    write_runs(result, tmp_path / "state")
    assert result.written == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "histories").iterdir()} == files
    assert all(re.fullmatch("[0-9a-f]{16}", run_id) for run_id in before)
    assert not any((tmp_path / "state").rglob("*.parquet"))


def test_a_run_that_changed_replaces_what_it_was(path: Path, tmp_path: Path) -> None:
    write(CsvSource(path, run="run"), tmp_path)
    runs = sweep()
    runs["cos-0.01-0"][1]["train_loss"] += 1
    result = read_csv(one_file(path, runs), tmp_path)
    write_runs(result, tmp_path / "state")
    assert result.written == 1 and len(read_histories(tmp_path / "histories")) == 18


def test_killed_before_all_is_written_it_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    honest = staging.write_history

    def dies(history, folder):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        if count == 9:
            raise KeyboardInterrupt
        return honest(history, folder)

    result = read_csv(path, tmp_path)
    monkeypatch.setattr(staging, "write_history", dies)
    with pytest.raises(KeyboardInterrupt):
        write_runs(result, tmp_path / "state")
    assert not (tmp_path / "histories").exists()
    monkeypatch.undo()
    assert len(write(CsvSource(path, run="run"), tmp_path)) == 18


def test_killed_while_they_are_moved_the_next_import_finishes_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = 0
    honest = Path.replace

    def dies(self: Path, to: Path) -> Path:
        nonlocal moved
        if self.parent.name == staging.READY:
            moved += 1
            if moved == 9:
                raise KeyboardInterrupt
        return honest(self, to)

    result = read_csv(path, tmp_path)
    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write_runs(result, tmp_path / "state")
    monkeypatch.undo()
    assert staging.finish(tmp_path / "state", tmp_path / "histories") == 10
    assert len(read_histories(tmp_path / "histories")) == 18


def test_runs_of_other_lengths_are_left_out_or_chosen(tmp_path: Path) -> None:
    runs = sweep()
    for seed in range(4):
        config = {"sched": "cos", "base_lr": 0.01, "seed": seed}
        runs[f"long-{seed}"] = config, log(seed=seed, updates=800)
    path = one_file(tmp_path / "runs.csv", runs)
    result = read_csv(path, tmp_path)
    assert (len(result.histories), result.updates, dict(result.others)) == (18, 400, {800: 4})
    assert set(result.left_out.values()) == {"it is 800 updates long, not 400"}
    longer = read_csv(path, tmp_path, updates=800)
    assert (len(longer.histories), longer.updates) == (4, 800)
    with pytest.raises(RunsError, match=r"no run is 600 updates long; there are 400 \(18\), 800"):
        read_csv(path, tmp_path, updates=600)
    write_runs(result, tmp_path / "state")
    with pytest.raises(RunsError, match="has histories of 400 updates and 20 points, and these"):
        write_runs(longer, tmp_path / "state")


def test_a_run_that_ended_early_is_left_out(tmp_path: Path) -> None:
    runs = sweep()
    config, rows = runs["cos-0.01-0"]
    runs["cos-0.01-0"] = config, rows[rows["step"] <= 300]
    frames = {name: ({**c, "iterations": N}, r) for name, (c, r) in runs.items()}
    result = read_csv(one_file(tmp_path / "runs.csv", frames), tmp_path, horizon="iterations")
    assert len(result.histories) == 17
    (reason,) = result.left_out.values()
    assert "is last logged at step 300 of 400" in reason


def test_a_run_that_diverged_comes_in_as_such(tmp_path: Path) -> None:
    runs = sweep()
    rows = runs["flat-0.03-1"][1]
    rows.loc[rows["step"] > 200, ["train_loss", "val_loss"]] = np.inf
    found = write(CsvSource(one_file(tmp_path / "r.csv", runs), run="run"), tmp_path)
    (lost,) = [one for one in found if not one.completed]
    assert len(lost.points) == T // 2 and lost.meta["status"] == "diverged"
    assert lost.configuration == ("flat", 0.03)


def test_a_run_logged_twice_comes_in_once(tmp_path: Path) -> None:
    runs = sweep()
    runs["copy"] = runs["lin-0.03-1"]
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert len(result.histories) == 18
    assert result.left_out == {"lin-0.03-1": "it is the same as copy"}


def test_without_seeds_the_runs_of_a_configuration_are_numbered(tmp_path: Path) -> None:
    runs = {name: ({"sched": c["sched"]}, rows) for name, (c, rows) in sweep().items()}
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert {h.meta["seed"] for h in result.histories} == {0, 1}
    assert any("numbered from 0" in note for note in result.notes)


def test_without_a_name_a_schedule_is_called_what_it_looks_like(tmp_path: Path) -> None:
    runs = {name: ({"seed": c["seed"]}, rows) for name, (c, rows) in sweep().items()}
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    names = {h.meta["scheduler"] for h in result.histories}
    assert len(names) == 3 and any("down from" in name for name in names)
    assert len({h.configuration for h in result.histories}) == 9


def test_a_name_of_ours_is_only_for_what_is_ours(tmp_path: Path) -> None:
    """The pipeline would run our cosine for it, which has no warm-up."""
    runs = {n: (c | {"sched": "cosine"}, rows) for n, (c, rows) in sweep(("cos",)).items()}
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert {h.meta["scheduler"] for h in result.histories} == {"cosine (as logged)"}
    for _, rows in runs.values():
        rows["lr"] = rows["lr"].max()
    runs = {n: (c | {"sched": "constant"}, rows) for n, (c, rows) in runs.items()}
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert {h.meta["scheduler"] for h in result.histories} == {"constant"}


def test_parameters_that_differ_within_a_configuration_are_named(tmp_path: Path) -> None:
    runs = {
        name: (c | {"model": "small" if c["seed"] else "large", "folder": name}, rows)
        for name, (c, rows) in sweep().items()
    }
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert any("these differ, as if by chance alone: model (2)" in note for note in result.notes)
    apart = read_csv(tmp_path / "runs.csv", tmp_path, group=("sched", "model"))
    assert len({h.configuration for h in apart.histories}) == 18
    one = read_csv(tmp_path / "runs.csv", tmp_path, match=(("model", "sm*"),))
    assert len(one.histories) == 9


def test_a_hidden_warm_up_is_named(path: Path, tmp_path: Path) -> None:
    result = read_csv(path, tmp_path, points=10)
    assert any("a warm-up of 20 updates ends before the first log point" in n for n in result.notes)
    assert not any("warm-up" in note for note in read_csv(path, tmp_path, points=40).notes)


def test_rates_that_were_not_logged_can_be_declared(tmp_path: Path) -> None:
    runs = {
        name: (c | {"schedule": "cosine"}, rows.drop(columns="lr"))
        for name, (c, rows) in sweep(("cos",)).items()
    }
    path = one_file(tmp_path / "runs.csv", runs)
    with pytest.raises(RunsError, match="declare the rates with --lr-schedule"):
        read_csv(path, tmp_path)
    result = read_csv(path, tmp_path, lr_schedule="cosine", peak_lr="base_lr", warmup="20")
    rows = log("cos", 0.01)
    history = next(h for h in result.histories if h.meta["peak_lr"] == 0.01)
    np.testing.assert_allclose(history.points["lr"], rows["lr"].iloc[1::2], rtol=0.03, atol=2e-5)
    assert history.configuration == ("cosine", 0.01)  # ours, wherever a log point is
    longer = read_csv(path, tmp_path, lr_schedule="cosine", peak_lr="base_lr", warmup="60")
    assert {h.configuration[0] for h in longer.histories} == {"cosine (as logged)"}
    for asked, said in (
        ({"lr_schedule": "cosine"}, "--lr-schedule needs --peak-lr"),
        ({"lr_schedule": "bogus", "peak_lr": "1"}, "neither a schedule (constant, cosine"),
        ({"lr_schedule": "cosine", "peak_lr": "bogus"}, "--peak-lr bogus: neither a number nor"),
    ):
        with pytest.raises(RunsError, match=re.escape(said)):
            read_csv(path, tmp_path, **asked)


def test_what_the_runs_do_not_have_cannot_be_asked_for(path: Path, tmp_path: Path) -> None:
    for asked in (
        {"group": ("model",)},
        {"seed": "model"},
        {"horizon": "model"},
        {"resumed_from": "model"},
        {"match": (("model", "x"),)},
    ):
        option = f"--{next(iter(asked)).replace('_', '-')}"
        with pytest.raises(RunsError, match=f"{option} model: no run has a parameter"):
            read_csv(path, tmp_path, **asked)
    with pytest.raises(RunsError, match="none of 18 runs matches"):
        read_csv(path, tmp_path, match=(("sched", "x*"),))


def test_none_that_can_come_in_says_why(tmp_path: Path) -> None:
    runs = {name: (c, rows.iloc[3:7]) for name, (c, rows) in sweep().items()}
    with pytest.raises(
        RunsError, match=r"none of the runs can come in: fewer than 5 rows .*\(18\)"
    ):
        read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)


def test_a_constant_column_is_taken_and_an_absent_one_named(tmp_path: Path) -> None:
    runs = {name: (c, rows.assign(val_loss=1.5)) for name, (c, rows) in sweep(("flat",)).items()}
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert all((h.points["val_metric"] == -1.5).all() for h in result.histories)
    runs["bare"] = {"sched": "flat", "seed": 5}, log("flat").drop(columns="val_loss")
    result = read_csv(one_file(tmp_path / "runs.csv", runs), tmp_path)
    assert result.left_out == {"bare": "val_metric is never logged"}


def test_a_history_of_an_import_is_not_mistaken_for_a_run_of_ours(
    path: Path, tmp_path: Path
) -> None:
    (one, *_) = read_csv(path, tmp_path).histories
    spec = RunSpec("old-runs", *one.configuration, one.meta["seed"], N, T)
    assert one.run_id != spec.run_id


def test_as_a_command(path: Path, tmp_path: Path) -> None:
    root = workspace(tmp_path)
    dry = lode_import("csv", path, "--run", "run", "--dry-run", root=root)
    assert dry.exit_code == 0, dry.output
    assert "18 runs would come in" in dry.output and not (root / "data").exists()
    done = lode_import(
        "csv",
        path,
        "--run",
        "run",
        "--map",
        "lr=lr",
        "val_metric=val_loss",
        "--match",
        "sched=cos",
        "seed=0",
        "--group",
        "sched",
        root=root,
    )
    assert done.exit_code == 0, done.output
    assert "3 runs came in of 3 that match (18 listed)" in done.output
    assert "next: `make demo` (or `lode sweep`, `lode validate`" in done.output
    assert len(read_histories(root / "data/histories/old-runs")) == 3


def test_of_a_task_that_can_be_run_they_go_to_what_the_nights_learn_from(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    runs = {
        name: (c, rows.assign(val_acc=1 - rows["val_loss"] / 9))
        for name, (c, rows) in sweep().items()
    }
    path = one_file(tmp_path / "runs.csv", runs)
    done = lode_import("csv", path, "--run", "run", "--task", "digits-mlp", root=root)
    assert done.exit_code == 0, done.output
    found = read_histories(root / "data/imported/digits-mlp")
    assert len(found) == 18 and "lode retrain" in done.output
    assert found[0].meta["metric_percent"] and found[0].meta["metric_goal"] == "maximize"


def test_a_goal_is_asked_for_and_a_task_must_be_there(path: Path, tmp_path: Path) -> None:
    root = workspace(tmp_path)
    done = lode_import("csv", path, "--run", "run", "--task", "nobody", root=root)
    assert "unknown task 'nobody'" in str(done.exception)
    (root / "params.yaml").write_text("task: a\ntasks: {a: {imported: true, metric: {name: b}}}")
    done = lode_import("csv", path, "--run", "run", root=root)
    assert "goal is missing" in str(done.exception)


def test_a_metric_in_per_cent_is_not_taken_for_a_share(tmp_path: Path) -> None:
    runs = {
        name: (c, rows.assign(val_acc=90 - rows["val_loss"])) for name, (c, rows) in sweep().items()
    }
    metric = OwnMetric("val_acc", "maximize", True)
    with pytest.raises(RunsError, match=r"val_metric reaches 89\.\d+, and val_acc is a share"):
        read(CsvSource(one_file(tmp_path / "r.csv", runs), run="run"), tmp_path, metric)
    assert target(tmp_path).metric.name == "val_loss"


def test_a_folder_of_json_lines_with_spaces(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    for name, (config, rows) in sweep().items():
        json_lines(tmp_path / "all my runs" / f"{name}.jsonl", rows.assign(**config))
    done = lode_import("csv", tmp_path / "all my runs", root=root)
    assert done.exit_code == 0 and "18 runs came in" in done.output, done.output


def test_an_empty_frame_says_so(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    pd.DataFrame(columns=["run", "step"]).to_csv(path, index=False)
    with pytest.raises(RunsError, match="no rows there"):
        read_csv(path, tmp_path)
