"""A LODE in a Hugging Face training: `Trainer(callbacks=[TransformersCallback(…)])`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from components.adapters.rate_scheduler import RateScheduler
from components.adapters.torch_scheduler import LODEScheduler, Source
from components.lode.errors import LODEError

log = logging.getLogger(__name__)


class TransformersCallback(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Sets the learning rate after every update, and tells a LODE of every log and evaluation.

    The trainer makes a scheduler of its own in any case; what that sets is overwritten, and it logs
    the rate that is in force. The loss reported is the mean that the trainer logs: let it log
    (`logging_steps`) and evaluate (`eval_steps`) at the same updates, best at the log points. A
    checkpoint holds the scheduler (trainer_state.json); a resumed training has the same rates to
    the bit where it was saved at an update that it logs at: of the loss since its last log a
    checkpoint of the trainer's says nothing.

    Args:
        source: as of `LODEScheduler.load`, as are `settings` (`points`, `seed`, `goal`, …).
        metric: what the evaluation calls the metric, `eval_accuracy`; "" reports nothing, as a plan
            needs nothing.

    Attributes:
        scheduler: from the start of the training on; its `decisions` say why the rate moved.

    Raises (when the training begins):
        LODEError: a checkpoint of a training without this callback; whatever `LODEScheduler.load`
            raises.
    """

    def __init__(self, source: Source, metric: str = "", **settings: Any) -> None:
        self.source, self.metric, self.settings = source, metric, settings
        self.scheduler: RateScheduler | None = None
        self.kept: dict[str, Any] | None = None  # where `Trainer` itself restores callbacks
        self._missed = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        optimizer = _innermost(given["optimizer"])
        self.scheduler = LODEScheduler.load(
            self.source, optimizer, total_steps=state.max_steps, **self.settings
        )
        name = type(self).__name__
        callbacks: Any = state.stateful_callbacks  # a dictionary by now, whatever its annotation
        saved = callbacks.get(name) or {}
        if state.global_step:
            kept = saved.get("attributes", {}).get("kept") if isinstance(saved, dict) else None
            if kept is None:
                raise LODEError(f"the checkpoint is of a training without {name}; begin anew")
            self.scheduler.load_state_dict(kept)
        callbacks[name] = saved  # where the trainer looks for it when it saves
        self._show(given["lr_scheduler"])

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        assert self.scheduler is not None
        self.scheduler.step()
        self._show(given["lr_scheduler"])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        if self.scheduler is not None and self.metric and "loss" in (logs or {}):
            self.scheduler.observe(train_loss=(logs or {})["loss"])
            self._show(given["lr_scheduler"])

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        if self.scheduler is None or not self.metric or not state.global_step:
            return
        if self.metric in (metrics or {}):
            self.scheduler.observe(val_metric=(metrics or {})[self.metric])
            self._show(given["lr_scheduler"])
        elif not self._missed:  # it may be one of several evaluations
            self._missed = True
            log.warning(
                "an evaluation has no %r, so that the LODE was not told of it; it has %s",
                self.metric,
                ", ".join(sorted(metrics or {})) or "nothing",
            )

    def state(self) -> dict[str, Any]:
        source = str(self.source) if isinstance(self.source, Path) else self.source
        kept = None if self.scheduler is None else self.scheduler.state_dict()
        # of JSON alone: a source that is an object is given again by whoever resumes
        named = source if isinstance(source, str) else ""
        return {
            "args": {"source": named, "metric": self.metric, **self.settings},
            "attributes": {"kept": kept},
        }

    def _show(self, theirs: LRScheduler) -> None:
        """What the trainer logs as the learning rate is what its own scheduler says."""
        assert self.scheduler is not None
        theirs._last_lr = self.scheduler.get_last_lr()


def _innermost(optimizer: Any) -> Optimizer:
    """The optimizer that Accelerate has wrapped."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    found: Optimizer = optimizer
    return found
