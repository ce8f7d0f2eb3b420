"""Steps' files read back: typed where they are whole, one clear message where they are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.cli.main import cli
from components.evaluation.results import PilotResult
from components.runs.comparison import comparison
from components.steps.evaluate import read_histories_of
from components.steps.pipeline import STEPS
from components.steps.results import (
    read_evaluation,
    read_fit,
    read_pilots,
    read_validation,
    read_validation_report,
)
from components.storage.typed import SEAL, read_sealed, write_sealed
from components.storage.workspace import Workspace, WorkspaceError
from tests.tiny import TASK, tiny

READERS: dict[str, Callable[[Path], Any]] = {
    "evaluation.json": read_evaluation,
    "pilots.json": read_pilots,
    "validation.json": read_validation,
}


def test_what_was_written_is_read(finished: Path) -> None:
    workspace = Workspace(finished)
    evaluation = read_evaluation(workspace.evaluation(TASK))
    said = json.loads(json.dumps(asdict(evaluation)))
    assert said | read_sealed(workspace.evaluation(TASK)) == read_sealed(workspace.evaluation(TASK))
    assert evaluation.schedulers["finer-search"].price.search == 8 + 20
    pilots = read_pilots(workspace.pilot_summary(TASK))
    found = read_sealed(workspace.pilot_summary(TASK))
    assert asdict(pilots) == {key: value for key, value in found.items() if key != SEAL}
    validation = read_validation(workspace.validation(TASK))
    assert (validation.accepted, validation.quarantined, validation.outside) == (8, [], 0)
    report = read_validation_report(workspace.validation(TASK))
    assert report.met == report.expectations > 0 and report.counts["runs"] == 8
    fit = read_fit(workspace.lode(TASK))
    assert fit is not None and fit.settings["updates"] == 20 and fit.best_error is not None


def test_without_pilots_the_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "pilots.json"
    write_sealed(path, {"runs": 0, "run_ids": [], "plan": [], "adopted": False})
    assert read_pilots(path) == PilotResult()


@pytest.mark.parametrize("name", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_one_message_that_names_it(
    finished: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Cut anywhere, or any value replaced: refused with its name and a remedy."""
    text = (Workspace(finished).reports(TASK) / name).read_text()
    whole = json.loads(text)
    if data.draw(st.booleans()):
        damaged = text[: data.draw(st.integers(0, len(text) - 3))]
    else:
        key = data.draw(st.sampled_from(sorted(whole)))
        other = data.draw(st.sampled_from([None, 1.5, "x", [], {}]).filter(whole[key].__ne__))
        damaged = json.dumps(whole | {key: other})
    path = tmp_path / name
    path.write_text(damaged)
    with pytest.raises(WorkspaceError, match=rf"{name}: .*run `lode"):
        READERS[name](path)


@pytest.mark.slow
def test_missing_and_truncated_runs_are_named_with_their_command(finished_copy: Path) -> None:
    workspace = Workspace(finished_copy)
    jobs = comparison(tiny(), workspace).jobs
    good = jobs[2].path.read_bytes()
    jobs[2].path.write_bytes(good[:-20])
    with pytest.raises(WorkspaceError, match=rf"{jobs[2].path.name}.*run `lode train`"):
        read_histories_of(jobs, "lode train")
    jobs[2].path.unlink()
    with pytest.raises(WorkspaceError, match=r"1 of \d+ runs are missing, e\.g\. .*lode train"):
        STEPS["evaluate"](tiny(), workspace)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda folder: (folder / "config.json").unlink(),
            r"config\.json: no LODE; run `lode fit`",
        ),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not JSON"),
    ],
)
def test_a_lode_without_its_config(
    finished_copy: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = Workspace(finished_copy).lode(TASK)
    damage(folder)
    with pytest.raises(WorkspaceError, match=said):
        read_fit(folder)


@pytest.mark.slow
def test_lode_report_names_a_damaged_evaluation(
    finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_copy)
    assert "Finer search" in CliRunner().invoke(cli, ["report"], catch_exceptions=False).output
    page = Workspace(finished_copy).overview()
    assert f"{TASK}/index.html" in page.read_text(encoding="utf-8")
    Workspace(finished_copy).evaluation(TASK).write_text("{")
    done = CliRunner().invoke(cli, ["report"], catch_exceptions=False)
    assert "left out: reports/digits-mlp/evaluation.json: not JSON" in done.stderr
    assert done.exit_code == 0 and "LODE" in done.stdout
    assert "digits-mlp/evaluation.json: not JSON" in page.read_text(encoding="utf-8")
