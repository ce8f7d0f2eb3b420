"""What a flow run shows in Prefect's UI: the page's rows, from the report's files."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from components.evaluation.figures import figure_path
from components.evaluation.result_tables import result_table
from components.evaluation.results import (
    SCHEMA_VERSION,
    Decisions,
    Evaluation,
    LodeEntry,
    Price,
    Provenance,
    Quarantined,
    SchedulerEntry,
    Setup,
    SweepEntry,
    ValidationReport,
)
from components.evaluation.statistics import Comparison, Summary
from components.settings import Settings
from components.storage.workspace import Workspace
from flows.artifacts import (
    SHOWN_BAD_RUNS,
    data_url,
    figures,
    in_short,
    result,
    validation_summary,
    where_the_report_is,
)

NOTHING = Summary(None, None, 0)


def entry(scheduler: str, peak_lr: float | None, mean: float) -> SchedulerEntry:
    return SchedulerEntry(
        scheduler=scheduler,
        peak_lr=peak_lr,
        test_by_seed={"100": mean, "101": mean},
        test=Summary(mean, 0.1, 2),
        validation=Summary(mean, 0.1, 2),
        final_validation=Summary(mean, 0.1, 2),
        sharpness=NOTHING,
        sharpness_residual=None,
        seconds_per_epoch=NOTHING,
        diverged=0,
        price=Price(9, 0.0, 1.0, ""),
    )


@pytest.fixture
def evaluation() -> Evaluation:
    pair = Comparison(0.02, -0.01, 0.05, 0.123, 2, 0.123)
    other = Comparison(-0.02, -0.05, 0.01, 0.123, 2, 0.123)
    return Evaluation(
        schema=SCHEMA_VERSION,
        task="digits-mlp",
        metric="accuracy",
        setup=Setup(100, 20, None, [100, 101]),
        best_baseline="constant",
        schedulers={"constant": entry("constant", 0.01, 0.5), "lode": entry("lode", None, 0.52)},
        comparisons={"lode": {"constant": pair}, "constant": {"lode": other}},
        sweep=SweepEntry(9, 0, [0, 1, 2], 10.0, []),
        lode=LodeEntry(None, None, Decisions(0, {}), None),
        validation=None,
        provenance=Provenance("make demo", ["CPU"], [1], {}, "a", "b"),
    )


def test_the_result_says_what_came_out_in_words_and_in_the_terminals_table(
    evaluation: Evaluation,
) -> None:
    text = result(evaluation, "[The report](http://127.0.0.1:5000/x)")
    verdict, *rest = text.split("\n\n")
    assert verdict.startswith("**Use Constant (peak lr 0.01), the best baseline on validation")
    assert rest[0].startswith("- Expected gain: None that can be told from noise: LODE minus it")
    assert "[The report](http://127.0.0.1:5000/x)" in rest
    assert result_table(evaluation).markdown() in rest
    assert "| Constant | 50.00 ± 10.00 | ≈ −2.00 | 0.01 | 2 |" in text
    row = "| Constant (best on validation) | +2.00 | −1.00 to +5.00 | 0.12 | 2 |"
    assert row in text
    assert f"**{in_short(evaluation)}**" == verdict


def test_every_figure_that_was_drawn_is_shown_with_its_caption(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    for name in ("learning_rates", "test"):
        figure_path(tmp_path, name).write_text(f"<svg>{name}</svg>")
    text = figures(evaluation, tmp_path)
    assert text.count("](data:image/svg+xml;base64,") == 2
    assert text.startswith("## Test accuracy of every run\n\n![")
    assert "Constant is the best baseline" in text and "Training loss" not in text


def test_without_a_server_the_reports_path_is_said(tmp_path: Path) -> None:
    settings = Settings(task="digits-mlp")
    said = where_the_report_is(settings, Workspace(tmp_path))
    assert said == f"On the worker's machine: `{tmp_path}/reports/digits-mlp/index.html`"


def test_the_validation_summary_names_quarantined_runs() -> None:
    bad = Quarantined("onecycle 0.1 seed 3 (abc)", ["loss is NaN", "a | b"])
    counts = {"accepted": 70, "runs": 100, "quarantined": 30}
    text = validation_summary(ValidationReport(counts, 1, 2, [bad] * 30))
    assert "70 of 100 runs accepted" in text and "1 of 2 expectations met" in text
    assert "| onecycle 0.1 seed 3 (abc) | loss is NaN; a \\| b |" in text
    assert text.count("(abc)") == SHOWN_BAD_RUNS and "10 more" in text


def test_a_clean_validation_has_no_table() -> None:
    counts = {"accepted": 100, "runs": 100, "quarantined": 0}
    text = validation_summary(ValidationReport(counts, 2, 2, []))
    assert text == "**100 of 100 runs accepted**, 0 quarantined; 2 of 2 expectations met."


def test_a_figure_travels_inside_its_url(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_bytes(b"<svg/>")
    head, _, body = data_url(tmp_path / "a.svg").partition(",")
    assert head == "data:image/svg+xml;base64" and base64.b64decode(body) == b"<svg/>"
