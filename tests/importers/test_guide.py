"""docs/guides/use-the-runs-you-have.md: every command of it, in its order, on a stranger's runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.training.history import read_histories

from .made import log, one_file, sweep

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/guides/use-the-runs-you-have.md"
STRANGERS = Path(__file__).parent / "strangers"
METRIC = {"name": "val_acc", "goal": "maximize", "percent": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page supposes: its task, a table, and a folder or database of each tracker."""
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    params = yaml.safe_load(block)
    for tracker in ("mlflow", "wandb", "tensorboard"):
        params["tasks"][f"from-{tracker}"] = {"imported": True, "metric": METRIC}
    params["training"] = {"updates": 400, "points": 20}
    params["lode"] = {"scheduler": {"n": 5}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    runs = {
        name: (
            config,
            rows.rename(columns={"train_loss": "loss"}).assign(val_acc=1 - rows["val_loss"] / 9),
        )
        for name, (config, rows) in sweep().items()
    }
    one_file(tmp_path / "sweep.csv", runs)
    quiet = {**os.environ, "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    for script in (
        ["with_mlflow.py", f"sqlite:///{tmp_path}/mlflow.db", "mine", "4"],
        ["with_wandb.py", "3"],
    ):
        command = [sys.executable, str(STRANGERS / script[0]), *script[1:]]
        subprocess.run(command, env=quiet, cwd=tmp_path, check=True, timeout=250)
    _events(tmp_path / "events")
    return tmp_path


def _events(folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for peak in (0.01, 0.03):
        with SummaryWriter(folder / f"run {peak}") as writer:
            for row in log(peak=peak).itertuples():
                writer.add_scalar("train/loss", row.train_loss, row.step)
                writer.add_scalar("lr", row.lr, row.step)
                if row.val_loss == row.val_loss:
                    writer.add_scalar("val/acc", 1 - row.val_loss / 9, row.step)


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(folder: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        program, *words = shlex.split(command)
        assert program == ".venv/bin/lode"
        done = subprocess.run(
            [sys.executable, "-m", "components.cli", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stderr)
        assert ("would come in" if "--dry-run" in words else "came in") in done.stdout, command
        assert (folder / "data").exists() == ("--dry-run" not in words)
    runs = {"old-runs": 18, "from-mlflow": 4, "from-wandb": 3, "from-tensorboard": 2}
    for task, count in runs.items():
        assert len(read_histories(folder / "data/histories" / task)) == count


def test_the_tolerances_on_the_page_are_those_of_the_code() -> None:
    from components.importers import lengths, trunks
    from components.training import resampled

    page = " ".join(PAGE.read_text().split())
    for words in (
        f"at most {resampled.HELD_AT_START:.0%} of a run, after the last for "
        f"{resampled.HELD_AT_END:.0%}, and no gap may be longer than {resampled.LONGEST_GAP:.0%}",
        f"(within {lengths.SAME_LENGTH:.0%})",
        f"rate ({trunks.SAME_RATE:.0%}) and metric ({trunks.SAME_METRIC:.2%} of its range)",
    ):
        assert words.replace("%", " %") in page, words
