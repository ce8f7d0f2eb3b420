"""Real runs of several optimizers on MNIST, a row an epoch: two columns could be the rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.importers.csv import CsvSource
from components.importers.errors import RunsError

from .made import SHARED, read

PATH = SHARED / "step-back/mnist_mlp.csv.gz"
GROUP = ("name", "lr_schedule", "weight_decay", "beta", "momentum", "dampening", "bias_correction")


@pytest.mark.skipif(not PATH.is_file(), reason=f"no {PATH} here")
def test_epochs_and_the_rate_are_asked_for_and_then_the_runs_come_in(tmp_path: Path) -> None:
    source = CsvSource(PATH, run="id")
    with pytest.raises(RunsError, match="lr could be learning_rate or lr: choose one"):
        read(source, tmp_path)
    named = (("lr", "learning_rate"),)
    with pytest.raises(RunsError, match=r"count in epochs .*--epoch-updates"):
        read(source, tmp_path, named=named)
    result = read(source, tmp_path, named=named, epoch_updates=100, group=GROUP)
    runs = [one for one in result.histories if one.completed]
    assert (
        len(runs) == 38 and result.updates == 1000  # ten epochs
    )
    assert all((one.points["epoch"] > 0).all() for one in runs)
    assert len(result.left_out) == 3  # lr of 10 and more: nothing but empty cells
