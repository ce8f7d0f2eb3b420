"""The figure of a few configurations, from runs that are trained for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from components.experiments import edge_of_stability
from components.experiments.command import ExperimentError
from components.storage.workspace import Workspace
from tests.tiny import in_this_process, tiny, write_params


def test_runs_are_trained_once_drawn_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_of_stability, "on_this_machine", in_this_process)
    params = write_params(tmp_path, evaluation__sharpness_every=10)
    out = tmp_path / "figure.svg"
    asked = ["onecycle=0.05", "constant=0.01", "--params", str(params), "--out", str(out)]
    first = CliRunner().invoke(edge_of_stability.main, asked)
    assert first.exit_code == 0, first.output
    assert "edge of stability" in first.output and "38 of the Hessian" in first.output
    assert "| OneCycle |" in first.output and "| λₘₐₓ at 5 % |" in first.output
    assert {"OneCycle", "Constant"} <= set(
        out.read_text(encoding="utf-8").replace("<", ">").split(">")
    )
    histories = Workspace(tmp_path).scheduled("digits-mlp")
    stamps = {path: path.stat().st_mtime_ns for path in histories.glob("*.parquet")}
    assert len(stamps) == 4
    assert CliRunner().invoke(edge_of_stability.main, asked).output == first.output
    assert stamps == {path: path.stat().st_mtime_ns for path in histories.glob("*.parquet")}


@pytest.mark.parametrize("text", ["cosine", "cosine=fast", "nothing=0.1", "pbt=0.1", "<b>=1"])
def test_a_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    settings = tiny(evaluation__sharpness_every=10)
    with pytest.raises(ExperimentError, match=r"is no SCHEDULER=PEAK_LR, such as cosine=0\.01"):
        edge_of_stability.measured(settings, Workspace(tmp_path), (text,), in_this_process)


@pytest.mark.parametrize(
    "changes",
    [{}, {"evaluation__sharpness": "none", "evaluation__sharpness_every": 10}],
)
def test_nothing_to_measure(tmp_path: Path, changes: dict) -> None:
    with pytest.raises(ExperimentError, match=r"set evaluation\.sharpness_every"):
        edge_of_stability.measured(
            tiny(**changes), Workspace(tmp_path), ("cosine=0.01",), in_this_process
        )
