"""W&B's server by a stand-in for its client: no server of W&B can be reached from here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.importers.errors import RunsError
from components.importers.wandb import ServerSource
from components.tasks.own import OwnMetric

from .made import N, log, read

wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
ACC = OwnMetric("val_acc", "maximize", True)


class Run:
    state, summary = "finished", {"loss": 1.0, "lr": 0.0, "val_acc": 0.5, "_step": 9, "text": "x"}

    def __init__(self, number: int) -> None:
        self.id = self.name = f"run{number}"
        self.config = {"schedule": ("cos", "flat")[number % 2], "seed": number // 2}
        rows = log(self.config["schedule"], seed=number)
        self.rows = [
            {"_step": 2 * i, "loss": row.train_loss, "lr": row.lr, "global_step": row.step}
            for i, row in enumerate(rows.itertuples())
        ] + [
            {"_step": 2 * i + 1, "val_acc": 1 - row.val_loss / 9, "global_step": row.step}
            for i, row in enumerate(rows.itertuples())
            if row.val_loss == row.val_loss
        ]
        self.summary = {**self.summary, "global_step": N}

    def scan_history(self, keys: list[str], page_size: int) -> Iterator[dict[str, Any]]:
        """As W&B's does: rows that have all the keys."""
        for row in self.rows:
            if all(key in row for key in keys):
                yield {key: row[key] for key in keys}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def runs(path: str, filters: Any, per_page: int) -> list[Run]:
        found.update(path=path, filters=filters)
        return [Run(number) for number in range(4)]

    monkeypatch.setattr(wandb, "Api", lambda timeout: SimpleNamespace(runs=runs))
    return found


def test_a_projects_runs_come_in(asked: dict[str, Any], tmp_path: Path) -> None:
    match = (("schedule", "*"), ("seed", "0"))
    result = read(ServerSource("me/mine"), tmp_path, ACC, match=match)
    assert asked == {"path": "me/mine", "filters": {}}
    assert [h.meta["imported"]["source"] for h in result.histories] == ["wandb", "wandb"]
    assert result.updates == N and result.listed == 4
    read(ServerSource("me/mine"), tmp_path, ACC, match=(("schedule", "cos"),))
    assert asked["filters"] == {"config.schedule": "cos"}


def test_what_its_client_raises_is_one_line(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Run, keys: list[str], page_size: int) -> Iterator[dict[str, Any]]:
        raise TimeoutError("read timed out")

    monkeypatch.setattr(Run, "scan_history", broken)
    with pytest.raises(RunsError, match="read timed out; what was read is kept, start again"):
        read(ServerSource("me/mine"), tmp_path, ACC)
