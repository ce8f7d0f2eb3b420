"""`lode train --scheduler …` of every scheduler that needs nothing learned first."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from components.cli.main import cli
from components.runs.plan import JobError
from components.schedulers.names import SCHEDULERS
from components.training.history import read_histories

# multi-power-law: tests/steps/test_multi_power_law.py trains it, after the sweep that it is of.
LEARNED_FIRST = {"lode", "rl-controller", "gns", "pbt", "multi-power-law"}
TINY = [
    "--task",
    "digits-mlp",
    "--set",
    "training.updates=30",
    "--set",
    "training.points=10",
]


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name not in LEARNED_FIRST])
def test_it_trains_from_the_command_line(workspace: Path, name: str) -> None:
    arguments = ["train", *TINY, "--scheduler", name, "--peak-lr", "0.01", "--seed", "0"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert f"digits-mlp {name} 0.01 seed 0: test 0." in done.output
    (history,) = read_histories(workspace / "runs" / "digits-mlp")
    rates = history.points["lr"]
    assert len(rates) == 10 and (rates > 0).all()
    assert rates.max() <= 0.01 if name != "hypergradient" else rates.nunique() == 10
    assert history.points["train_loss"].iloc[-1] < history.points["train_loss"].iloc[0]
    assert history.meta["price"]["run_factor"] == 1


@pytest.mark.parametrize("name", ["hypergradient", "schedule-free"])
def test_where_no_sweep_can_say_the_rate_it_must_be_given(workspace: Path, name: str) -> None:
    with pytest.raises(JobError, match=f"scheduler {name} needs .*add --peak-lr 0.01$"):
        CliRunner().invoke(cli, ["train", *TINY, "--scheduler", name], catch_exceptions=False)
