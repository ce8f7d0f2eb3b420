"""Event files: torch writes them, TensorBoard's reader reads them; and another project's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
from torch.utils.tensorboard import SummaryWriter

from components.importers.errors import RunsError
from components.importers.tensorboard import TensorBoardSource
from components.tasks.own import OwnMetric

from .made import SHARED, N, T, lode_import, read, sweep, workspace

FASTMRI = SHARED / "tensorboard"
ACC = OwnMetric("val/acc", "maximize", True)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`torch.utils.tensorboard` of nine runs, one of them resumed in a second file."""
    folder = tmp_path_factory.mktemp("läufe hier")
    for number, (name, (config, rows)) in enumerate(sweep(seeds=(0,)).items()):
        parts = [rows[rows["step"] <= 200], rows[rows["step"] > 160]] if number == 3 else [rows]
        for part in parts:
            with SummaryWriter(folder / name, filename_suffix=str(len(part))) as writer:
                if part is parts[0]:
                    writer.add_hparams({"schedule": config["sched"], "seed": 0}, {}, run_name=".")
                for row in part.itertuples():
                    writer.add_scalar("train/loss", row.train_loss, row.step)
                    writer.add_scalar("lr", row.lr, row.step)
                    if row.val_loss == row.val_loss:
                        writer.add_scalar("val/acc", 1 - row.val_loss / 9, row.step)
    return folder


@pytest.mark.slow
def test_what_torch_wrote_comes_in(logs: Path, tmp_path: Path) -> None:
    result = read(TensorBoardSource(logs), tmp_path, ACC)
    assert len(result.histories) == 9 and (result.updates, result.points) == (N, T)
    assert {h.meta["scheduler"] for h in result.histories} == {"cos", "flat", "lin"}
    for history in result.histories:
        name = history.meta["imported"]["name"]
        rows = sweep(seeds=(0,))[name][1]
        at = rows[rows["step"] % (N // T) == 0]
        assert history.points["lr"].to_numpy() == pytest.approx(at["lr"].to_numpy(), rel=1e-6)


def test_a_file_of_another_project_logs_no_rate(tmp_path: Path) -> None:
    if not FASTMRI.is_dir():
        pytest.skip(f"no {FASTMRI} here")
    root = workspace(tmp_path)
    text = (root / "params.yaml").read_text()
    own = "  fastmri: {imported: true, metric: {name: validation/ssim, goal: maximize}}\ntraining"
    (root / "params.yaml").write_text(text.replace("training", own))

    def asked(*options: str) -> str:
        done = lode_import("tensorboard", FASTMRI, "--task", "fastmri", *options, root=root)
        return done.output + str(done.exception or "")

    assert "train_loss could be loss or train/loss: choose one" in asked()
    named = ("--map", "train_loss=train/loss")
    assert "no column looks like the lr among" in asked(*named)
    assert "declare the rates with --lr-schedule" in asked(*named)
    declared = ("--lr-schedule", "cosine", "--peak-lr", "0.001", "--warmup", "900")
    text = asked(*named, *declared)
    assert "1 runs came in of 1 listed" in text and "cosine (as logged) peak 0.001" in text


def test_a_damaged_file_is_left_out_and_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunsError, match=re.escape("no event files (…tfevents…) there")):
        TensorBoardSource(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_bytes(b"no event file" * 9)
    with pytest.raises(RunsError, match="no column looks like the train_loss among"):
        read(TensorBoardSource(tmp_path), tmp_path)
