"""A real, short Hugging Face training, resumed in the middle: the rates are the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip(
    "transformers", reason="pip install 'lode-pipeline[transformers]'"
)

from components.adapters.transformers import TransformersCallback  # noqa: E402
from components.lode.errors import LODEError  # noqa: E402
from components.lode.names import PLAN  # noqa: E402
from components.lode.plan_file import read_plan  # noqa: E402

from .made import MU, POINTS, UPDATES  # noqa: E402

SETTINGS = {"mu": MU / POINTS, "n": 30, "sigma": 0.5, "caution": 0.0, "seed": 1}


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.layer(x)
        return {"loss": ((out[:, 0] - labels) ** 2).mean(), "logits": out}


class Rates(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
    """The rate of every update, and what the trainer says that it is."""

    def __init__(self) -> None:
        self.rates, self.logged = list[float](), dict[int, float]()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.rates.append(given["optimizer"].param_groups[0]["lr"])

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        if "learning_rate" in logs:
            self.logged[state.global_step] = logs["learning_rate"]


def trained(
    callback: TransformersCallback, folder: Path, resume: Path | None = None, **given: Any
) -> Rates:
    torch.manual_seed(1)
    rows = [{"x": x, "labels": 0.6 * x.sum()} for x in torch.randn(8, 4)] * 10
    options: dict[str, Any] = {
        "max_steps": UPDATES,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "logging_steps": 10,
        "save_steps": 100,
        "optim": "sgd",
    } | given
    watched = Rates()
    trainer = transformers.Trainer(
        model=Model(),
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=8,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **options,
        ),
        train_dataset=rows,
        eval_dataset=rows[:8],
        compute_metrics=lambda p: {"score": float(1 / (1 + ((p[0][:, 0] - p[1]) ** 2).mean()))},
        callbacks=[watched, callback],
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return watched


@pytest.mark.slow
@pytest.mark.parametrize("restoring", [False, True])
def test_resumed_in_the_middle_the_rates_are_the_same(
    restoring: bool, lode_dir: Path, tmp_path: Path
) -> None:
    whole = TransformersCallback(lode_dir, "eval_score", **SETTINGS)
    seen = trained(whole, tmp_path / "whole")
    assert whole.scheduler is not None and len(seen.rates) == UPDATES
    assert any(move.changed for move in whole.scheduler.decisions), "or this shows nothing"
    # the trainer logs the rate of the update it has done
    assert seen.logged == {done: seen.rates[done - 1] for done in range(10, UPDATES + 1, 10)}
    second = TransformersCallback(lode_dir, "eval_score", **SETTINGS)
    again = trained(
        second,
        tmp_path / "again",
        tmp_path / "whole/checkpoint-100",
        restore_callback_states_from_checkpoint=restoring,
    )
    assert again.rates == seen.rates[100:]


def test_a_plan_is_followed_whatever_the_trainer_would_do(lode_dir: Path, tmp_path: Path) -> None:
    callback = TransformersCallback(lode_dir / PLAN)
    given = {"max_steps": 30, "gradient_accumulation_steps": 2, "lr_scheduler_type": "cosine"}
    rates = trained(callback, tmp_path, **given, save_steps=20).rates
    assert rates == read_plan(lode_dir / PLAN).lrs(30).tolist()


def test_what_is_missing_is_named(
    lode_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained(TransformersCallback(lode_dir, "eval_loss_"), tmp_path / "one", max_steps=20)
    assert caplog.text.count("an evaluation has no 'eval_loss_'") == 1
    assert "eval_score" in caplog.text
    bare = TransformersCallback(lode_dir / PLAN)
    trained(bare, tmp_path / "two", max_steps=20, save_steps=10)
    state = tmp_path / "two/checkpoint-10/trainer_state.json"
    state.write_text(state.read_text().replace('"TransformersCallback"', '"Another"'))
    with pytest.raises(LODEError, match="a training without TransformersCallback"):
        trained(bare, tmp_path / "two", tmp_path / "two/checkpoint-10", max_steps=20)
