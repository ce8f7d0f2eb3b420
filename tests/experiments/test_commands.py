"""Every command on a small workspace, what it says where there is nothing, and what docs quote."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from components.evaluation.results import PilotResult
from components.settings import load
from components.steps.pipeline import STEPS
from components.storage.typed import write_sealed
from components.storage.workspace import Workspace
from tests.tiny import ROOT, in_this_process, write_params

MODULE = "components.experiments"
COMMANDS = ("replications", "settings_table", "schedulers_table", "plans_figure", "held_out")
QUOTABLE = {
    *COMMANDS,
    "adjusted",
    "edge_of_stability",
    "outside_lode",
    "outside_yardstick",
    "outside_splits",
    "raced",
    "pool",
    "replay",
    "changed_budget",
    "varied_starts",
}  # these have tests of their own
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "results").glob("*.md"))]
QUOTED = re.compile(rf"^ *(\.venv/bin/python -m {MODULE}\..*)$", re.MULTILINE)


def command_of(name: str) -> click.Command:
    found = import_module(f"{MODULE}.{name}").main
    assert isinstance(found, click.Command)
    return found


def run(name: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command_of(name), [str(one) for one in arguments])


def table(result: Result) -> list[list[str]]:
    """The cells of the Markdown table that was printed, without its rule."""
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def do(params: Path, *steps: str) -> None:
    settings, workspace = load(params), Workspace(params.parent)
    for name in steps:
        STEPS[name](settings, workspace, in_this_process)


def paper_beside(finished: Path, folder: Path) -> Path:
    """A workspace of the paper's controller on the same data."""
    (folder / "data").symlink_to(finished / "data")
    params = write_params(folder, lode__controller="paper", baselines__schedulers=[])
    do(params, "sweep", "validate", "pilot", "fit", "train", "evaluate")
    return params


def test_replications(finished: Path) -> None:
    head, row = table(run("replications", finished / "params.yaml"))
    assert head[0] == "sweep seeds" and row[0] == "0, 1"
    assert re.fullmatch(r"(Constant|OneCycle) 0\.0[15]", row[1])
    assert row[3] in ("adopted", "refused")
    assert "not run" not in row


def test_schedulers_table(finished: Path) -> None:
    head, *rows = table(run("schedulers_table", "--params", finished / "params.yaml"))
    assert head[-1] == "LODE minus it (points)"
    names = ["Constant", "Finer search", "LODE", "Linear", "OneCycle", "PBT"]
    assert sorted(row[0] for row in rows) == names


def test_settings_table_with_the_papers_controller(finished_copy: Path, tmp_path: Path) -> None:
    paper = tmp_path / "paper"
    paper.mkdir()
    params = finished_copy / "params.yaml"
    head, *rows = table(run("settings_table", params, paper_beside(finished_copy, paper)))
    assert head == ["", finished_copy.name]
    cells = {row[0]: row[1] for row in rows}
    assert cells["fresh seeds"] == "2"
    assert list(cells)[1:4] == ["LODE, default", "LODE, paper", "Finer search"]
    assert all("±" in cells[name] for name in list(cells)[1:8])
    counts = [cell.split(",")[0] for cell in list(cells.values())[-3:]]
    assert counts == ["8", "28", "28"]  # the sweep; with 20 pilots; with 20 of the finer search


def test_plans_figure(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "plans.svg"
    result = run("plans_figure", "--out", out, finished / "params.yaml", finished / "params.yaml")
    assert (result.exit_code, result.output.strip()) == (0, str(out))
    assert out.read_text(encoding="utf-8").count(">digits-mlp, 40 updates<") == 2


def test_held_out(finished: Path, tmp_path: Path) -> None:
    params = write_params(tmp_path, sweep__seeds=[2, 3])
    do(params, "sweep", "validate")
    result = run("held_out", finished / "params.yaml", "--test", params)
    head, *rows = table(result)
    assert "fit of 20 updates" in result.output
    assert "4 runs fitted, 8 held out" in result.output, "one of two seeds was to stop by"
    assert [row[1] for row in rows] == ["2 of 20", "10 of 20"]
    assert rows[0][head.index("ridge")] == "–", "two runs a configuration are too few"
    folds = run("held_out", finished / "params.yaml", params, "--folds", "2")
    assert "4, 4 runs fitted, 16 held out" in folds.output
    one = run("held_out", finished / "params.yaml", params, "--seeds", "2", "--test", params)
    assert table(one) == [head, *rows], "the first two seeds are those of the first sweep"
    assert run("held_out", params, "--test", params).exit_code == 1
    for neither_or_both in ([], ["--test", params, "--folds", "2"]):
        assert "either --test or --folds" in run("held_out", params, *neither_or_both).output


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_there_is_named_with_the_command_that_makes_it(
    name: str, tmp_path: Path
) -> None:
    asked = ["--params"] if name == "schedulers_table" else []
    asked = ["--folds", "2"] if name == "held_out" else asked
    missing = run(name, *asked, tmp_path / "params.yaml")
    assert missing.exit_code == 1
    assert missing.output.strip() == (
        f"Error: {tmp_path}/params.yaml: no such file; name the params.yaml of a workspace"
    )
    params = write_params(tmp_path)
    empty = run(name, *asked, params)
    assert empty.exit_code == 1
    assert len(empty.output.splitlines()) == 1, empty.output
    step = {"plans_figure": "pilot", "held_out": "validate"}.get(name, "evaluate")
    assert empty.output.startswith(f"Error: {tmp_path}: ")
    assert f"`lode {step} --params {params}`" in empty.output


def test_an_evaluation_of_other_settings_is_refused(finished_copy: Path) -> None:
    params = write_params(finished_copy, evaluation__seeds=[100, 101, 102])
    said = run("schedulers_table", "--params", params).output
    assert said.startswith(f"Error: {finished_copy}: evaluated with other settings; run `lode eval")


def test_a_folder_named_twice_and_a_lost_finer_search(finished_copy: Path) -> None:
    params = finished_copy / "params.yaml"
    said = run("replications", params, params).output
    assert said.strip() == f"Error: {finished_copy}: named twice"
    for path in Workspace(finished_copy).baselines("digits-mlp").glob("*.parquet"):
        path.unlink()
    said = run("settings_table", params).output
    assert "20 of 20 runs are missing" in said
    assert f"`lode baselines --params {params}`" in said


def test_pilots_that_were_turned_off_have_no_plan_to_draw(tmp_path: Path) -> None:
    params = write_params(tmp_path, pilots__runs=0, baselines__schedulers=[])
    summary = Workspace(tmp_path).pilot_summary("digits-mlp")
    write_sealed(summary, asdict(PilotResult()))
    said = run("plans_figure", params).output
    assert said.startswith(f"Error: {tmp_path}: the pipeline had no pilots; raise pilots.runs")


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.schedulers_table.evaluation_of", lambda params: int("x"))
    result = run("schedulers_table")
    assert isinstance(result.exception, ValueError)


def test_as_a_module_it_is_one_command(finished: Path) -> None:
    asked = [sys.executable, "-m", f"{MODULE}.schedulers_table", "--params", "params.yaml"]
    done = subprocess.run(asked, cwd=finished, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run("schedulers_table", "--params", finished / "params.yaml").output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_it_reads_and_prints_with_an_example(name: str) -> None:
    said = run(name, "--help").output
    for part in ("Reads", "Prints", f".venv/bin/python -m {MODULE}.{name}"):
        assert part in said


def quoted() -> list[str]:
    return [line for page in PAGES for line in QUOTED.findall(page.read_text(encoding="utf-8"))]


def test_commands_in_the_docs_are_ours() -> None:
    """Each is parsed, not run; and each of ours prints something that the docs show."""
    used = set()
    for line in quoted():
        _, _, module, *arguments = shlex.split(line, comments=True)
        used.add(module.rpartition(".")[2])
        arguments = [one for one in arguments if one != "…"]
        command_of(module.rpartition(".")[2]).make_context(module, arguments)
    assert used == QUOTABLE


def test_modules_named_in_the_docs_are_ours() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in re.findall(rf"{re.escape(MODULE)}\.(\w+)", text):
        assert name in QUOTABLE
