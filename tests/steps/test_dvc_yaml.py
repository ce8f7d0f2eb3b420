"""dvc.yaml says what the steps and the imports say: settings, code, what is read and written."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.steps.files import Artifact
from components.steps.pipeline import PIPELINE
from components.steps.stamps import rooms_of
from components.steps.step import Step
from components.storage.workspace import Workspace

ROOT = Path(__file__).parents[2]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def place(artifact: Artifact) -> str:
    return artifact.place(Workspace(Path()), "${task}").as_posix()


def written(step: Step, kind: str) -> dict[str, dict[str, bool]]:
    return {place(one): {"persist": True} for one in step.writes if one.kind == kind}


def test_the_stages_are_the_steps_in_their_order() -> None:
    assert list(STAGES) == [step.name for step in PIPELINE]


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_a_stage_is_what_its_step_says(step: Step) -> None:
    stage = STAGES[step.name]
    assert stage["cmd"] == f"${{step}} {step.name}"
    # DVC knows the keys of the file; which of `tasks` is meant, the step knows
    assert stage["params"] == ["tasks" if key == "own" else key for key in step.settings]
    read = sorted({place(one) for one in step.reads})
    assert stage["deps"] == [*rooms_of(step.module), *read]
    for section, kind in (("outs", "out"), ("metrics", "metric"), ("plots", "plot")):
        found = {path: how for one in stage.get(section, []) for path, how in one.items()}
        assert found == written(step, kind), section


def test_what_a_step_reads_was_written_before_by_the_step_it_names() -> None:
    before: dict[str, str] = {}
    for step in PIPELINE:
        assert {place(one): one.by for one in step.reads}.items() <= before.items(), step.name
        before |= {place(one): step.name for one in step.writes}
