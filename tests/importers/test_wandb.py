"""Offline folders as the real package writes them; files that are none, or broke off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.importers.errors import RunsError
from components.importers.wandb import OfflineSource, ServerSource, wandb_source
from components.importers.wandb_file import DamagedFileError, read_wandb
from components.tasks.own import OwnMetric

from .made import lode_import, read, workspace

pytest.importorskip("wandb", reason="the extra wandb is not installed")
STRANGER = Path(__file__).parent / "strangers" / "with_wandb.py"
ACC = OwnMetric("val_acc", "maximize", True)


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six runs of the stranger's script."""
    folder = tmp_path_factory.mktemp("my runs")
    quiet = {"WANDB_DIR": str(folder), "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    environment = {**os.environ, **quiet, "WANDB_CACHE_DIR": str(folder / "cache")}
    subprocess.run([sys.executable, STRANGER, "6"], env=environment, check=True, timeout=250)
    return folder


@pytest.mark.slow
def test_a_strangers_offline_runs_come_in(offline: Path, tmp_path: Path) -> None:
    root = workspace(tmp_path)
    done = lode_import("wandb", offline, "--task", "shares", "--dry-run", root=root)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "6 runs would come in of 6 listed: 3 configurations, 2 seeds, N = 300" in done.output
    assert "step = trainer/global_step (guessed)" in done.output
    result = read(OfflineSource(offline), tmp_path, ACC, points=50)
    names = {one.meta["imported"]["name"]: one for one in result.histories}
    assert set(names) == {f"rün {number}" for number in range(6)}
    one = names["rün 1"]
    assert one.configuration == ("const", 0.1) and one.meta["seed"] == 0
    # the metric that was logged by itself is of the update before it: at 30, 60, … of 300
    step, expected = one.points["step"].to_numpy(), one.points["val_metric"].to_numpy()
    assert np.ptp(expected[step <= 30]) == 0 and np.ptp(expected[step <= 36]) > 0
    rates = np.minimum(1.0, step / 20) * 0.1
    np.testing.assert_allclose(one.points["lr"], rates, rtol=1e-9)


@pytest.mark.slow
def test_a_file_is_read_up_to_where_it_broke_off(offline: Path, tmp_path: Path) -> None:
    # folders are named by the second and a random word: their order says nothing about the runs'
    runs = {path: read_wandb(path) for path in offline.rglob("*.wandb") if not path.is_symlink()}
    path, whole = next((path, run) for path, run in runs.items() if run.name == "rün 0")
    assert whole.ended and len(whole.rows) == 110
    assert whole.config["optim"] == {"lr": 0.1, "schedule": "cosine"}
    cut = tmp_path / "cut.wandb"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    part = read_wandb(cut)
    assert not part.ended and 30 < len(part.rows) < 110
    assert part.rows == whole.rows[: len(part.rows)]


@pytest.mark.slow
def test_a_copied_run_comes_in_once(offline: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice"
    shutil.copytree(offline, twice / "a", symlinks=True)
    shutil.copytree(offline, twice / "b", symlinks=True)
    result = read(OfflineSource(twice), tmp_path, ACC, points=50)
    assert len(result.histories) == 6
    assert sum("is listed twice and comes in once" in note for note in result.notes) == 6


def test_what_is_none_of_wandbs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run-a.wandb"
    for content in (b"", b"SQLite", b":W&B", b":W&B" + bytes(3) + b"\x01" * 50):
        path.write_bytes(content)
        if content[:4] == b":W&B":
            assert read_wandb(path).rows == []
        else:
            with pytest.raises(DamagedFileError, match="does not begin as W&B's files do"):
                read_wandb(path)
    with pytest.raises(RunsError, match=r"no run-….wandb files"):
        OfflineSource(tmp_path / "nothing")
    with pytest.raises(RunsError, match="no such folder; name one with offline runs, or ENTITY"):
        wandb_source("nothing")


def test_a_server_that_nobody_has_logged_in_to_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(RunsError, match=r"W&B: .*log in with `wandb login`"):
        ServerSource("entity/project")
