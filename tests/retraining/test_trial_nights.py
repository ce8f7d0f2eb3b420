"""A night in a trial: it learns from the trial's runs and from what people have imported."""

from __future__ import annotations

import shutil

import pytest

from components.retraining.collection import collect
from components.retraining.record import open_night
from components.retraining.version import record_version
from components.storage.workspace import Workspace
from components.training.history import read_histories

from .conftest import TASK, bring, tiny, variant


@pytest.mark.slow
def test_imports_are_every_trials(workspace: Workspace) -> None:
    trial = workspace.trial("updates-40-0123abcd")
    for folder in ("data", "models", "reports", ".lode"):
        shutil.copytree(workspace.root / folder, trial.root / folder)
    swept = read_histories(workspace.histories(TASK))
    bring([variant(one, number) for number, one in enumerate(swept[:2])], workspace)
    assert "2 imported" in collect(tiny(), trial).summary
    night = open_night(trial, TASK)
    assert night is not None and night.intact(trial) and len(night.files) == 20
    assert "no version of the histories" in record_version(tiny(), trial).summary
    assert open_night(workspace, TASK) is None, "production's own night is another"
