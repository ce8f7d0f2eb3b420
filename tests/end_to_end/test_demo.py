"""`make demo` (which is `python -m flows`) from beginning to end, on tiny settings."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.evaluation.notation import p_value
from components.registry.connection import connect
from components.schedulers.names import label
from tests.evaluation import shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def query(folder: Path, sql: str) -> list[tuple[str, ...]]:
    """Ask the database of the server that Prefect started for the flow run."""
    database = f"file:{folder / '.lode/prefect/prefect.db'}?mode=ro"
    with sqlite3.connect(database, uri=True) as connection:
        return connection.execute(sql).fetchall()


def test_it_ends_with_the_result_table_and_the_report(demo: Any) -> None:
    page = demo.root / "reports" / demo.task / "index.html"
    assert page.is_file() and str(page.relative_to(demo.root)) in demo.printed
    for scheduler in ("constant", "onecycle", "lode"):
        assert scheduler in demo.printed.lower()
    assert "Traceback" not in demo.printed


def test_prefect_writes_nothing_but_its_own_folder(demo: Any) -> None:
    assert (demo.root / ".lode/prefect/prefect.db").is_file()


def test_names_tell_runs_apart(demo: Any) -> None:
    [(flow_run, state)] = query(demo.root, "select name, state_name from flow_run")
    assert (flow_run, state) == (demo.task, "Completed")
    names = [name for (name,) in query(demo.root, "select name from task_run order by start_time")]
    assert names == [
        f"sweep {demo.task} · 4 runs",
        f"validate {demo.task}",
        f"pilot {demo.task} · 20 runs",
        f"fit {demo.task} · 20 updates",
        f"register {demo.task}",
        f"baselines {demo.task} · finer-search",
        f"train {demo.task} · 8 runs",
        f"evaluate {demo.task} · 2 seeds",
        "publish the results as artifacts",
        "record the outputs in DVC",
    ]


def test_the_flow_run_shows_result_figures_and_validation(demo: Any) -> None:
    found = query(demo.root, "select key, type, data from artifact where flow_run_id is not null")
    assert {kind for _, kind, _ in found} == {"markdown"}
    text = {key: json.loads(data) for key, _, data in found}
    result = text[f"result-{demo.task}"]
    evaluation = json.loads((demo.root / "reports" / demo.task / "evaluation.json").read_text())
    mean = evaluation["schedulers"]["onecycle"]["test"]["mean"]
    assert f"| OneCycle | {100 * mean:.2f} ± " in result
    for row in ("LODE", "Constant"):
        assert f"| {row} | " in result
    assert "How sure" in result and f"reports/{demo.task}/index.html" in result
    figures = text[f"figures-{demo.task}"]
    drawn = list((demo.root / "reports" / demo.task / "figures").glob("*.svg"))
    assert figures.count("](data:image/svg+xml;base64,") == len(drawn) > 5
    assert "4 of 4 runs accepted" in text[f"validation-{demo.task}"]


def test_page_terminal_prefect_mlflow_and_file_say_the_same_numbers(demo: Any) -> None:
    reports = demo.root / "reports" / demo.task
    found = json.loads((reports / "evaluation.json").read_text())
    entries = found["schedulers"]
    expected = {
        label(row): f"{100 * one['test']['mean']:.2f} ± {100 * one['test']['std']:.2f}"
        for row, one in entries.items()
    }
    p_values = {
        label(row): p_value(pair["p_adjusted"])
        for row, pair in found["comparisons"]["lode"].items()
    }
    page = (reports / "index.html").read_text(encoding="utf-8")
    (said,) = query(demo.root, f"select data from artifact where key = 'result-{demo.task}'")
    markdown = json.loads(said[0])
    results = shown.of_page(page, "results")
    assert {row[0]: row[1] for row in results[1:]} == expected
    assert shown.of_markdown(markdown, "Scheduler") == results
    terminal = shown.of_terminal(demo.printed, "Scheduler")
    assert [row[:3] for row in terminal[1:]] == [row[:3] for row in results[1:]]
    comparisons = shown.of_page(page, "comparisons")
    assert {row[0].split(" (")[0]: row[3] for row in comparisons[1:]} == p_values
    assert shown.of_markdown(markdown, "LODE minus") == comparisons
    logged = logged_in_mlflow(demo)
    assert logged.metrics["test_metric"] == entries["lode"]["test"]["mean"]
    gain = found["comparisons"]["lode"][found["best_baseline"]]["mean"]
    assert logged.metrics["evaluation.gain"] == gain
    for path in ("index.html", "evaluation.json", "downloads/results.csv", "downloads/results.tex"):
        assert (logged.artifacts / path).read_bytes() == (reports / path).read_bytes(), path
    drawn = {path.name for path in (reports / "figures").iterdir()}
    assert {path.name for path in (logged.artifacts / "figures").iterdir()} == drawn
    assert json.loads((reports / "metrics.json").read_text())["gain"] == gain, "dvc metrics"


@dataclass(frozen=True)
class Logged:
    """What MLflow has of the version that was evaluated."""

    metrics: dict[str, float]
    artifacts: Path


def logged_in_mlflow(demo: Any) -> Logged:
    with connect(f"sqlite:///{demo.root}/mlflow.db") as client:
        version = client.get_model_version(f"lode-{demo.task}", "1")
        run = client.get_run(version.run_id)
    folder = Path(run.info.artifact_uri.removeprefix("file://")) / "evaluation"
    return Logged(run.data.metrics, folder)


def test_a_second_time_nothing_is_computed_and_prefect_not_started(demo: Any) -> None:
    before = demo.outputs()
    done = demo.call("flows")
    assert done.returncode == 0 and "every step is up to date" in done.stderr
    assert done.stdout.strip() and done.stdout.strip() in demo.printed, "the same table"
    assert demo.outputs() == before
    assert query(demo.root, "select count(*) from flow_run") == [(1,)]


def test_dvc_has_nothing_left_to_do(demo: Any) -> None:
    before = demo.outputs()
    assert "up to date" in demo.call("dvc", "status").stdout
    repro = demo.call("dvc", "repro")
    assert repro.returncode == 0 and "Running stage" not in repro.stdout
    assert demo.outputs() == before


def test_git_sees_no_output(demo: Any) -> None:
    status = subprocess.run(
        ["git", "status", "--short", "--untracked-files=all"],
        cwd=demo.root,
        capture_output=True,
        text=True,
    )
    names = [line[3:] for line in status.stdout.splitlines()]
    assert "params.yaml" in names
    assert not [n for n in names if n.startswith(("data", "models", "reports", "ml", ".lode"))]


def test_a_fault_is_one_message_and_loses_nothing(demo: Any, tmp_path: Path) -> None:
    clone = demo.copy(tmp_path / "clone")
    victim = min((clone.root / "data/histories" / demo.task).glob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:200])
    before = runs(clone)
    done = clone.call("flows")
    assert done.returncode == 1
    assert victim.name in done.stderr and "delete it" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 12
    assert runs(clone) == before


def runs(clone: Any) -> dict[str, int]:
    return {name: at for name, at in clone.outputs().items() if name.startswith("data/")}


@pytest.mark.parametrize(
    ("option", "message"),
    [("task=mnist1d-cn", "did you mean 'mnist1d-cnn'?"), ("sweep.peak_lrs=[-1]", "peak_lrs")],
)
def test_impossible_settings_stop_before_any_work(option: str, message: str, clone: Any) -> None:
    before = sorted(clone.root.iterdir())
    done = clone.call("flows", "--set", option)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert sorted(clone.root.iterdir()) == before


def test_what_dvc_cannot_be_told_is_named_and_told_once_it_can(demo: Any, tmp_path: Path) -> None:
    """A params.yaml that leaves out a section with defaults, and the same completed."""
    clone = demo.copy(tmp_path / "clone")
    (clone.root / "dvc.lock").unlink()  # as if the demo itself had been run without the section
    path = clone.root / "params.yaml"
    whole = path.read_text()
    without = {key: value for key, value in yaml.safe_load(whole).items() if key != "validation"}
    path.write_text(yaml.safe_dump(without))
    done = clone.call("flows")
    assert done.returncode == 0 and "leaves out validation" in done.stderr, done.stderr
    path.write_text(whole)
    assert "recorded in DVC" in clone.call("flows").stderr
    assert "recorded" not in clone.call("flows").stderr
