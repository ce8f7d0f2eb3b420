"""A LODE in a Lightning training: `Trainer(callbacks=[LightningCallback("plan.json", …)])`."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from components.adapters.rate_scheduler import RateScheduler
from components.adapters.torch_scheduler import LODEScheduler, Source
from components.lode.errors import LODEError


class LightningCallback(Callback):
    """Sets the learning rate after every update, and tells a LODE of every validation.

    The module's `configure_optimizers` returns one optimizer and no scheduler. The loss that is
    reported is the mean of what `training_step` returned since the validation before, not the mean
    over processes: rank 0's counts. A checkpoint holds the scheduler; a resumed fit has the same
    rates to the bit.

    Args:
        source: as of `LODEScheduler.load`, as are `settings` (`points`, `seed`, `goal`, …).
        metric: what `self.log` calls the validation metric; "" reports nothing, as a plan needs
            nothing.
        total_steps: N; None: as many updates as the trainer will do.

    Attributes:
        scheduler: from the start of the fit on; its `decisions` say why the rate moved.

    Raises (when the fit begins):
        LODEError: several optimizers, a scheduler beside this one, an endless training; whatever
            `LODEScheduler.load` raises.
    """

    def __init__(
        self, source: Source, metric: str = "", *, total_steps: int | None = None, **settings: Any
    ) -> None:
        self.source, self.metric, self.total_steps = source, metric, total_steps
        self.settings = settings
        self.scheduler: RateScheduler | None = None
        self._restored: dict[str, Any] | None = None
        self._loss: torch.Tensor | float = 0.0  # stays on its device: no step waits for it
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.optimizers) != 1 or trainer.lr_scheduler_configs:
            raise LODEError(
                f"{len(trainer.optimizers)} optimizers and {len(trainer.lr_scheduler_configs)} "
                "schedulers: let configure_optimizers return one optimizer, and no scheduler"
            )
        steps = self.total_steps or trainer.estimated_stepping_batches
        if not 0 < steps < float("inf"):
            raise LODEError("an endless training has no schedule: give max_epochs, or total_steps")
        self.scheduler = LODEScheduler.load(
            self.source, trainer.optimizers[0], total_steps=int(steps), **self.settings
        )
        if self._restored is not None:
            self.scheduler.load_state_dict(self._restored)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            self._loss, self._batches = self._loss + loss.detach(), self._batches + 1
        assert self.scheduler is not None
        if trainer.global_step > self.scheduler.last_epoch:  # not while gradients accumulate
            self.scheduler.step()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or self.scheduler is None or not self.metric:
            return
        if self.metric not in trainer.callback_metrics:
            raise LODEError(
                f"validation logged no {self.metric!r}; it logged "
                f"{', '.join(sorted(trainer.callback_metrics)) or 'nothing'}"
            )
        loss = float(self._loss) / self._batches if self._batches else None
        self.scheduler.observe(loss, trainer.callback_metrics[self.metric])
        self._loss, self._batches = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {"scheduler": scheduler, "loss": float(self._loss), "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict["scheduler"]
        self._loss, self._batches = state_dict["loss"], state_dict["batches"]
