"""The form as it is deployed: labels, limits and present values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.lode.settings import POINTS, RATES, SEEDS
from components.settings import FEWEST_PILOTS, Settings, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings() -> Settings:
    return load(ROOT / "params.yaml", {"training.updates": 1234, "pilots.runs": None})


def form_of(name: str, settings: Settings | None) -> dict[str, Any]:
    from flows.deploy import deployed
    from flows.form import form

    return form(deployed(ROOT / "prefect.yaml")[name], settings)


def test_every_field_says_what_params_yaml_has(settings: Settings) -> None:
    schema = form_of("pipeline/on-demand", settings)
    fields = schema["definitions"]["Changes"]["properties"]
    assert fields["updates"]["description"].endswith("In params.yaml: 1234.")
    assert fields["peak_lrs"]["description"].endswith(
        "In params.yaml: 0.001, 0.005, 0.01, 0.05, 0.1."
    )
    assert fields["fresh_seeds"]["description"].endswith("In params.yaml: 100–119.")
    assert fields["pilots"]["description"].endswith("In params.yaml: empty.")
    assert fields["execution"]["description"].endswith("In params.yaml: local.")
    assert schema["properties"]["task"]["description"].endswith("In params.yaml: mnist1d-cnn.")


def test_limits_are_the_settings_own(settings: Settings) -> None:
    fields = form_of("pipeline/on-demand", settings)["definitions"]["Changes"]["properties"]
    points = fields["points"]
    assert (points["minimum"], points["maximum"]) == (POINTS.low, POINTS.high)
    assert "From 10 to 10,000." in points["description"]
    assert fields["fresh_seeds"]["minItems"] == 2
    assert "2 to 1,000 of them." in fields["fresh_seeds"]["description"]
    assert f"0, or {FEWEST_PILOTS} and more" in fields["pilots"]["description"]


def test_a_field_that_may_be_empty_is_a_field_and_no_switch(settings: Settings) -> None:
    schema = form_of("pipeline/on-demand", settings)
    fields = schema["definitions"]["Changes"]["properties"]
    assert all("anyOf" not in field for field in fields.values())
    changes = schema["properties"]["changes"]
    assert None not in changes["default"].values()
    assert "properties" not in changes, "the page would show these, without limits and values"


@pytest.mark.parametrize(
    "name",
    [
        "pipeline/on-demand",
        "nightly-retraining/nightly",
        "sweep-shard/sweep-on-gpu",
        "scheduled-training/scheduled-on-gpu",
    ],
)
def test_labels_are_of_one_style(name: str, settings: Settings) -> None:
    schema = form_of(name, settings)
    forms = [schema, *(d for k, d in schema.get("definitions", {}).items() if k == "Changes")]
    for shown in forms:
        for field in shown["properties"].values():
            title = field["title"]
            assert title[0].isupper() and title[1:] == title[1:].lower() and "_" not in title
            assert "lr" not in title.lower().split()
            assert field["description"]


def test_without_settings_it_says_limits_and_no_values() -> None:
    fields = form_of("pipeline/on-demand", None)["definitions"]["Changes"]["properties"]
    assert fields["points"]["minimum"] == POINTS.low
    assert "In params.yaml" not in str(fields)


def test_a_training_of_ones_own_has_the_settings_limits_too(settings: Settings) -> None:
    fields = form_of("scheduled-training/scheduled-on-gpu", settings)["properties"]
    rate = fields["peak_lr"]
    assert (rate["minimum"], rate["maximum"]) == (RATES.low, RATES.high) and "anyOf" not in rate
    assert rate["description"].endswith("From 1e-12 to 1,000.")
    assert fields["seeds"]["items"]["minimum"] == SEEDS.low
