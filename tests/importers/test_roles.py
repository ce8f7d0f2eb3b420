"""Which column is which: named, guessed where it is usual, and asked where two could be it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.importers.errors import RunsError
from components.importers.roles import mapped
from components.tasks.own import OwnMetric

ACC = OwnMetric("val_acc", "maximize", True)
LOSS = OwnMetric("val_loss", "minimize")


def roles(columns: str, metric: OwnMetric = ACC, named: str = "", **options: Any) -> dict[str, str]:
    pairs = [(a, b) for a, _, b in (pair.partition("=") for pair in named.split())]
    found = mapped(pairs, columns.split(), metric=metric, **options)
    return {role: "+".join(names) for role, names in found.columns.items()}


@pytest.mark.parametrize(
    ("columns", "metric", "expected"),
    [
        ("step train_loss val_acc lr", ACC, "step train_loss val_acc lr"),
        ("iter loss val_loss learning_rate", LOSS, "iter loss val_loss learning_rate"),
        # Lightning
        (
            "trainer/global_step train_loss_step val_acc lr-AdamW epoch",
            ACC,
            "trainer/global_step train_loss_step val_acc lr-AdamW",
        ),
        # Hugging Face under W&B and MLflow
        (
            "train/global_step train/loss eval/accuracy train/learning_rate train/epoch",
            OwnMetric("accuracy", "maximize"),
            "train/global_step train/loss eval/accuracy train/learning_rate",
        ),
        (
            "global_step loss eval_loss learning_rate",
            OwnMetric("perplexity", "minimize"),
            "global_step loss eval_loss learning_rate",
        ),
        # both kinds of metric are there: the goal tells
        (
            "step loss val_loss val_accuracy lr",
            OwnMetric("accuracy", "maximize"),
            "step loss val_accuracy lr",
        ),
        # its name tells, whatever it looks like
        ("step loss val_loss zähler lr", OwnMetric("zähler", "maximize"), "step loss zähler lr"),
        # one of a sweep's spread is no candidate
        ("step loss val_loss lr lr_std", LOSS, "step loss val_loss lr"),
    ],
)
def test_usual_names_are_guessed(columns: str, metric: OwnMetric, expected: str) -> None:
    found = roles(columns, metric)
    assert [found[r] for r in ("step", "train_loss", "val_metric", "lr")] == expected.split()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("step loss train_loss val_acc lr", "train_loss could be loss or train_loss: choose one"),
        ("step loss val_acc lr learning_rate", "lr could be lr or learning_rate: choose one"),
        (
            "step iter loss val_acc lr",
            "step could be step or iter: choose one, e.g. --map step=step",
        ),
        ("step loss val_accuracy val_f1 lr", "val_metric could be val_accuracy or val_f1"),
        ("step val_acc lr", "no column looks like the train_loss among"),
        ("step loss lr", "no column looks like the val_metric (val_acc, maximize) among"),
        ("step loss val_acc", "the lr among ['step', 'loss', 'val_acc']; name it with --map lr="),
        ("loss val_acc lr", "no column looks like the step"),
    ],
)
def test_what_could_be_two_and_what_could_be_none_is_asked(columns: str, said: str) -> None:
    with pytest.raises(RunsError, match=re.escape(said)):
        roles(columns)


def test_what_is_named_is_taken_and_the_rest_guessed() -> None:
    found = roles("a b val_acc lr learning_rate", named="step=a train_loss=b lr=learning_rate")
    assert found == {"step": "a", "train_loss": "b", "val_metric": "val_acc", "lr": "learning_rate"}
    for named, said in (
        ("lr=x", "--map lr=x: no run logged a column of that name"),
        ("rate=lr", "--map rate=…: no such thing; known: step, epoch"),
        ("lr=lr lr=b", "--map lr: named twice"),
    ):
        with pytest.raises(RunsError, match=re.escape(said)):
            roles("step b val_acc lr", named=named)


def test_what_changes_is_preferred_to_what_never_does() -> None:
    """A CSV of a sweep has the configured rate in every row, beside the one that was logged."""
    columns = "step loss val_acc lr learning_rate"
    assert roles(columns, constant={"lr"})["lr"] == "learning_rate"
    with pytest.raises(RunsError, match="lr could be"):
        roles(columns, constant={"lr", "learning_rate"})


def test_rates_of_several_groups_go_by_their_number() -> None:
    found = roles("step loss val_acc lr-SGD/pg10 lr-SGD/pg2")
    assert found["lr"] == "lr-SGD/pg2+lr-SGD/pg10"


def test_the_sources_own_count() -> None:
    """MLflow and TensorBoard are told the update; W&B counts its calls."""
    columns = "loss val_acc lr epoch global_step"
    assert roles(columns, own_step="_step", counts_updates=True)["step"] == "_step"
    assert roles(columns, own_step="_step")["step"] == "global_step"
    assert "step" not in roles("loss val_acc lr epoch", own_step="_step")  # epochs say more
    assert roles("loss val_acc lr", own_step="_step")["step"] == "_step"
    assert roles(columns, own_step="_step", named="epoch=epoch").get("epoch") == "epoch"
