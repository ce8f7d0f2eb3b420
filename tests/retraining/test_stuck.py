"""No night gets stuck: what cannot teach is not frozen, and what is frozen can be discarded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.cli.main import cli
from components.retraining.collection import collect
from components.retraining.errors import RetrainingError
from components.retraining.record import last_record, open_night, save_night
from components.retraining.retrain import retrain
from components.settings import Settings
from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace, WorkspaceError
from tests.tiny import in_this_process

from .conftest import TASK, tiny

PARAMS = Path(__file__).parents[2] / "params.yaml"
TRIAL = tiny(training__updates=30)
pytestmark = pytest.mark.slow


def run(names: tuple[str, ...], settings: Settings, workspace: Workspace) -> None:
    for name in names:
        STEPS[name](settings, workspace, in_this_process)


def test_demo_trial_night_says_what_to_do_and_after_the_demo_it_runs(workspace: Workspace) -> None:
    run(("sweep", "validate"), TRIAL, workspace)
    with pytest.raises(
        WorkspaceError, match=r"`lode validate` .* training.updates = 30, which is 40 now; run"
    ):
        retrain(tiny(), workspace)
    shutil.rmtree(workspace.state / "stamps")  # without them the runs themselves say it
    wrong = r"no completed run .*skipped: updates 30 instead of 40.*`lode sweep`, then `lode valid"
    with pytest.raises(RetrainingError, match=wrong):
        retrain(tiny(), workspace)
    assert open_night(workspace, TASK) is None, "frozen"
    run(("sweep", "validate", "pilot", "fit", "register"), tiny(), workspace)
    assert retrain(tiny(), workspace, in_this_process).ran
    found = last_record(workspace, TASK)
    assert found is not None and found.histories.by_source == {"sweep": 18}


def test_a_plan_of_pilots_with_other_settings_is_not_learned_from(workspace: Workspace) -> None:
    run(("sweep", "validate", "pilot"), tiny(training__updates=30, pilots__runs=20), workspace)
    run(("validate",), tiny(), workspace)
    wrong = r"`lode pilot` has found is of runs with updates 30 instead of 40; run `lode pilot`"
    with pytest.raises(RetrainingError, match=wrong):
        collect(tiny(), workspace)
    assert open_night(workspace, TASK) is None
    run(("pilot",), tiny(), workspace)
    assert collect(tiny(), workspace).ran


def test_a_night_that_an_earlier_version_froze_empty_gathers_anew(workspace: Workspace) -> None:
    assert collect(tiny(), workspace).ran
    night = open_night(workspace, TASK)
    assert night is not None
    save_night(replace(night, sweep=[]), workspace, TASK)
    assert collect(tiny(), workspace).summary.startswith("18 runs (")
    again = open_night(workspace, TASK)
    assert again is not None and again.sweep == night.sweep


def test_a_night_whose_fit_fails_names_the_command_that_discards_it(workspace: Workspace) -> None:
    running_away = tiny(lode__fit__peak_lr=100.0)
    for _ in range(2):  # whenever it goes on
        with pytest.raises(RetrainingError, match=r"cannot go on: .*`lode retrain --discard`"):
            retrain(running_away, workspace)
    night = open_night(workspace, TASK)
    assert night is not None
    shutil.copy(PARAMS, workspace.root)
    assert (
        discard(workspace) == f"night of {night.started} discarded; `lode retrain` begins a new one"
    )
    assert not workspace.night(TASK).exists()
    assert discard(workspace) == "no unfinished night; `lode retrain` begins a new one"


def discard(workspace: Workspace) -> str:
    arguments = ["retrain", "--discard", "--params", str(workspace.root / "params.yaml")]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    return done.output.strip().removeprefix(f"retrain {TASK}: ")
