"""What flow runs are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.utilities.names import generate_slug

from flows.names import shown, suggested, task_of, words

ROOT = Path(__file__).parents[2]


def test_what_prefects_server_makes_up_is_nobodys_name() -> None:
    assert all(suggested(generate_slug(2)) for _ in range(300))


@pytest.mark.parametrize("name", ["xi782-loval-manifold", "tau-moria", "mu7-ursae-majoris-x"])
def test_what_the_form_suggests_is_nobodys_name(name: str) -> None:
    assert suggested(name)


@pytest.mark.parametrize(
    "name", ["warm-start", "my first try", "beta 2", "sigma-0.3", "mu=3", "ok"]
)
def test_what_people_type_is_theirs(name: str) -> None:
    assert not suggested(name)


def test_changes_are_said_in_the_forms_words() -> None:
    assert words("training.updates") == "updates" and words("pilots.runs") == "pilot runs"
    assert words("lode.fit.held_out_seeds") == "fit held out seeds"
    assert words("execution.mode") == "execution mode"
    assert shown([0.01, 0.05]) == "0.01, 0.05" and shown(None) == "empty"
    assert shown([100, 101, 102]) == "100–102" and shown([]) == "none"


def test_the_task_is_named_though_the_settings_are_impossible(tmp_path: Path) -> None:
    assert task_of(ROOT / "params.yaml", "as in params.yaml") == "mnist1d-cnn"
    assert task_of(tmp_path / "none.yaml", "digits-mlp") == "digits-mlp"
    assert "as in params.yaml" in task_of(tmp_path / "none.yaml", "as in params.yaml")
