"""A real, short Lightning training, resumed in the middle: the rates are the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

lightning = pytest.importorskip(
    "lightning.pytorch", reason="pip install 'lode-pipeline[lightning]'"
)

from components.adapters.lightning import LightningCallback  # noqa: E402
from components.lode.errors import LODEError  # noqa: E402
from components.lode.names import PLAN  # noqa: E402
from components.lode.plan_file import read_plan  # noqa: E402

from .made import MU, POINTS  # noqa: E402

BATCHES, EPOCHS = 40, 5  # N = 200 without accumulation
SETTINGS = {"mu": MU / POINTS, "n": 6, "sigma": 0.3, "caution": 0.0, "seed": 1}


class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
    def __init__(self, schedulers: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.rates = torch.nn.Linear(4, 1), list[float]()
        self.schedulers = schedulers

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return ((self.layer(batch) - batch.sum(1, keepdim=True)) ** 2).mean()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def validation_step(self, batch: Any, index: int) -> None:
        loss = ((self.layer(batch) - batch.sum(1, keepdim=True)) ** 2).mean()
        self.log("val_score", 1 / (1 + loss))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if self.schedulers:
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 10)]
        return optimizer


def trained(
    callback: LightningCallback, folder: Path, resume: Path | None = None, **given: Any
) -> Module:
    torch.manual_seed(1)
    module = given.pop("module", None) or Module()
    # all the same: a loader that begins its epoch anew, as Lightning's do, changes nothing
    batches = torch.randn(1, 8, 4).repeat(BATCHES, 1, 1)
    options: dict[str, Any] = {"max_epochs": EPOCHS, "val_check_interval": 10} | given
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[
            callback,
            lightning.callbacks.ModelCheckpoint(folder, every_n_train_steps=95, save_top_k=-1),
        ],
        **options,
    )
    trainer.fit(module, batches, batches[:2], ckpt_path=resume)
    return module


@pytest.mark.slow
def test_resumed_in_the_middle_the_rates_are_the_same(lode_dir: Path, tmp_path: Path) -> None:
    whole = LightningCallback(lode_dir, "val_score", **SETTINGS)
    rates = trained(whole, tmp_path / "whole").rates
    assert whole.scheduler is not None and len(rates) == BATCHES * EPOCHS
    assert any(move.changed for move in whole.scheduler.decisions), "or this shows nothing"
    (checkpoint,) = (tmp_path / "whole").glob("*step=95.ckpt")
    second = LightningCallback(lode_dir, "val_score", **SETTINGS)
    assert trained(second, tmp_path / "again", checkpoint).rates == rates[95:]
    assert second.scheduler is not None
    assert second.scheduler.decisions == whole.scheduler.decisions


def test_accumulated_gradients_are_one_update(lode_dir: Path, tmp_path: Path) -> None:
    callback = LightningCallback(lode_dir / PLAN)
    rates = trained(callback, tmp_path, max_epochs=1, accumulate_grad_batches=4).rates
    assert rates == read_plan(lode_dir / PLAN).lrs(BATCHES // 4).tolist()


def test_what_cannot_be_scheduled_is_named(lode_dir: Path, tmp_path: Path) -> None:
    for callback, given, said in (
        (LightningCallback(lode_dir), {"module": Module(1)}, "1 optimizers and 1 schedulers"),
        (LightningCallback(lode_dir), {"max_epochs": -1}, "an endless training"),
        (LightningCallback(lode_dir, "val_loss"), {}, "no 'val_loss'; it logged val_score"),
    ):
        with pytest.raises(LODEError, match=said):
            trained(callback, tmp_path, **given)
