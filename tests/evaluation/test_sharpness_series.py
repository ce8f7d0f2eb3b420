"""What is made of λ over training: typed results, the table, the sentences, the figure."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components.evaluation import drawing
from components.evaluation.evaluate import evaluate
from components.evaluation.page import render
from components.evaluation.results import Evaluation
from components.evaluation.sharpness_figure import sharpness_over_training
from components.evaluation.sharpness_series import measurements, sharpness_series
from components.evaluation.sharpness_table import (
    edge_of_stability,
    measured_rows,
    sharpness_table,
)
from components.schedulers.names import label
from components.steps.results import read_evaluation
from components.training.history import History

RECORD = {
    "point": 10,
    "lr": 0.1,
    "threshold": 38.0,
    "lambda_max": 20.0,
    "residual": 1e-4,
    "lambda_min": -3.0,
    "residual_min": 2e-4,
    "preconditioned": 190.0,
    "residual_preconditioned": 3e-4,
}


def run(synthetic: ModuleType, seed: int, *records: dict[str, Any], row: str = "cosine") -> History:
    history: History = synthetic.history(row, None if row == "lode" else 0.01, seed)
    history.meta["sharpness_series"] = list(records)
    return history


def test_one_measurement(synthetic) -> None:  # type: ignore[no-untyped-def]
    plain = {key: value for key, value in RECORD.items() if "preconditioned" not in key}
    history = run(synthetic, 1, RECORD, {**plain, "point": 1, "threshold": 2.0})
    first, second = measurements(history)
    assert (first.point, second.point) == (1, 10)
    assert first.product == second.product == pytest.approx(2.0), "of the plain Hessian"
    assert first.of_edge == pytest.approx(1.0), "gradient descent sees that one"
    assert second.of_edge == pytest.approx(0.5), "190 · 0.1 of 38"
    assert (first.residual, second.residual) == (2e-4, 3e-4)


@pytest.mark.parametrize(
    ("change", "product", "of_edge"),
    [
        ({"preconditioned": None}, 2.0, None),  # not found: the plain one does not stand in
        ({"lambda_max": None}, None, 0.5),
        ({"threshold": None}, 2.0, None),
    ],
)
def test_what_was_not_found_is_none(synthetic, change, product, of_edge) -> None:  # type: ignore[no-untyped-def]
    (found,) = measurements(run(synthetic, 1, RECORD | change))
    assert (found.product, found.of_edge) == (product, of_edge)


def test_a_row_is_the_mean_of_its_runs_as_far_as_they_got(synthetic) -> None:  # type: ignore[no-untyped-def]
    late = RECORD | {"point": 20, "lambda_max": 8.0, "residual": 0.01}
    runs = [
        run(synthetic, 1, RECORD, late),
        run(synthetic, 2, RECORD | {"lambda_max": 30.0}),  # it diverged
        synthetic.history("cosine", 0.01, 3),  # of another version: nothing measured
    ]
    found = sharpness_series(runs)
    assert found and [at.point for at in found.points] == [10, 20]
    assert found.points[0].lambda_max.mean == 25 and found.points[0].lambda_max.n == 2
    assert found.points[1].lambda_max.mean == 8 and found.points[1].lambda_max.std is None
    assert found.points[0].product == pytest.approx(6**0.5), "geometric, of 2 and 3"
    assert found.residual == 0.01 and found.threshold == 38 and found.preconditioned
    assert sharpness_series(runs[2:]) is None


def shown(found: Evaluation) -> tuple[Any, int]:
    """What table and sentences are made of."""
    return measured_rows(found), found.setup.points


def evaluated(given: dict[str, Any], **of_edge: list[float]) -> Evaluation:
    """With these multiples of the edge by row, from log point 10 on; others were not measured."""
    changed = []
    for history in given["runs"]:
        meta = {**history.meta, "sharpness_series": None}
        if (times := of_edge.get(meta["scheduler"])) is not None:
            meta["sharpness_series"] = [
                RECORD | {"point": point, "preconditioned": 380 * one}
                for point, one in zip((10, 40), times, strict=False)
            ]
        changed.append(History(history.points, meta))
    return evaluate(**{**given, "runs": changed})


def test_whether_runs_sat_at_the_edge(given) -> None:  # type: ignore[no-untyped-def]
    *said, threshold = edge_of_stability(
        *shown(evaluated(given, lode=[1500, 0.75], cosine=[0.9], onecycle=[0.1, 0.2]))
    )
    assert said == [
        "At the edge of stability or beyond for most of the training: Cosine (1 of 1 measurements, "
        "highest 0.9× at 25 %).",
        "At the edge of stability or beyond for a part of the training: LODE (1 of 2 measurements, "
        "highest 1,500× at 25 %; else at most 0.75× at 100 %).",
        "Below the edge of stability throughout: OneCycle (at most 0.2× at 100 %).",
    ]
    assert "η·λₘₐₓ = 38 of the Hessian as the optimizer preconditions it" in threshold


def test_another_threshold_is_named(given) -> None:  # type: ignore[no-untyped-def]
    found = evaluated(given, lode=[1500, 0.75], cosine=[0.9], onecycle=[0.1, 0.2])
    other = replace(found.sharpness_series["cosine"], threshold=20.0)
    changed = replace(found, sharpness_series={**found.sharpness_series, "cosine": other})
    assert "η·λₘₐₓ = 38 (Cosine: 20) of" in edge_of_stability(*shown(changed))[-1]


def test_the_table_has_the_rows_that_were_measured(given) -> None:  # type: ignore[no-untyped-def]
    found = evaluated(given, lode=[1.5, 0.1], cosine=[0.9, 0.1])
    table = sharpness_table(*shown(found))
    assert table.columns == (
        "Scheduler",
        "λₘₐₓ at 25 %",
        "λₘₐₓ at 100 %",
        "λₘᵢₙ, last",
        "Highest η·λₘₐₓ",
        "Of the edge, median",
    )
    assert [row[0] for row in table.rows] == ["LODE", "Cosine"]
    assert table.rows[0][1:] == ("20.0 ± 0.0", "20.0 ± 0.0", "−3.00 ± 0.00", "2", "0.8×")


def test_nothing_measured_nothing_said(given, tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = evaluated(given)
    assert found.sharpness_series == {} and edge_of_stability(*shown(found)) == []
    assert sharpness_table(*shown(found)).rows == ()
    assert "Sharpness over training" not in render(found, tmp_path, tmp_path)


def test_the_page_and_the_file_say_the_same(finished: tuple[Evaluation, Path]) -> None:
    found, folder = finished
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert read_evaluation(folder / "evaluation.json") == found
    for row in sharpness_table(*shown(found)).rows:
        assert all(f">{cell}<" in page.replace("\N{NO-BREAK SPACE}", " ") for cell in row)
    for sentence in edge_of_stability(*shown(found)):
        assert sentence in page.replace("\N{NO-BREAK SPACE}", " ")


def drawn(path: Path) -> tuple[list[str], set[str]]:
    """Texts and line colours."""
    svg = path.read_text(encoding="utf-8")
    colors = set(re.findall(r"stroke: (#[0-9a-f]{6})", svg))
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg), colors


def test_the_figure_names_every_line(synthetic, tmp_path) -> None:  # type: ignore[no-untyped-def]
    lower = RECORD | {"point": 20, "lambda_max": -1.0}  # has no place on a log axis
    rows = {
        "cosine": [run(synthetic, seed, RECORD, lower) for seed in (1, 2)],
        "onecycle": [run(synthetic, 1, RECORD, row="onecycle")],
        "constant": [synthetic.history("constant", 0.01, 1)],
        "lode": [run(synthetic, 1, RECORD, lower, row="lode")],
    }
    sharpness_over_training(rows, {row: label(row) for row in rows}, tmp_path / "figure.svg")
    texts, colors = drawn(tmp_path / "figure.svg")
    for name in ("Cosine", "OneCycle", "LODE"):
        assert texts.count(name) == 2, "one for each panel"
    assert "edge of stability" in texts and "Constant" not in texts
    assert {drawing.RED, drawing.BLUE} <= colors


def test_without_an_edge_there_is_one_panel(synthetic, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = {"cosine": [run(synthetic, 1, RECORD | {"threshold": None})]}
    sharpness_over_training(rows, {row: label(row) for row in rows}, tmp_path / "figure.svg")
    texts, _ = drawn(tmp_path / "figure.svg")
    assert texts.count("Cosine") == 1 and "edge of stability" not in texts


def test_nothing_is_drawn_where_nothing_was_measured(synthetic, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = {"cosine": [synthetic.history("cosine", 0.01, 1)]}
    sharpness_over_training(rows, {row: label(row) for row in rows}, tmp_path / "figure.svg")
    assert not (tmp_path / "figure.svg").exists()
