"""A task whose runs differ in how their weights begin, and the comparison on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from components.experiments import varied_starts
from components.experiments.varied_starts import CONTROLLERS, PLAN, network
from components.settings import load
from components.steps.pipeline import STEPS
from components.storage.workspace import Workspace
from components.tasks.models.mlp import digits_mlp
from tests.tiny import in_this_process, write_params


def test_a_seed_draws_one_factor_for_all_of_its_weights() -> None:
    factors = []
    for seed in range(200):
        torch.manual_seed(seed)
        plain = list(digits_mlp().parameters())
        torch.manual_seed(seed)
        found = list(network().parameters())
        ratios = torch.cat([(a / b).ravel() for a, b in zip(found, plain, strict=True)])
        assert torch.allclose(ratios, ratios[0])
        factors.append(ratios[0].item())
    assert 0.5 <= min(factors) < 0.52 and 1.95 < max(factors) <= 2.0
    assert abs(torch.tensor(factors).log().mean()) < 0.1, "as often less as more"


def test_it_is_a_task_of_a_users_own_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varied_starts, "on_this_machine", in_this_process)
    own = {"varied": {"python": "components.experiments.varied_starts:TASK"}}
    params = write_params(
        tmp_path, task="varied", tasks=own, pilots__runs=0, baselines__schedulers=[]
    )
    for step in ("sweep", "validate", "pilot", "fit"):
        STEPS[step](load(params), Workspace(tmp_path), in_this_process)
    done = CliRunner().invoke(varied_starts.main, [str(params)])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in cells][:-1] == list(CONTROLLERS) and len(cells) == 5
    rows = {row[0]: row for row in cells}
    assert rows[PLAN][2] == "" and rows[PLAN][3] == "0 of 18 decisions, in 0 runs"
    assert "of 18 decisions" in rows["LODE, paper"][3]
    assert cells[-1][2] == "exact tie", "without pilots the plan is the sweep's best"
