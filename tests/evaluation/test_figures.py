import re
from pathlib import Path

import pytest

from components.evaluation import drawing, figures
from components.evaluation.evaluate import evaluate
from components.evaluation.results import PilotResult, SweptConfiguration
from components.evaluation.rows import group_runs
from components.evaluation.statistics import Summary
from components.evaluation.sweep_figure import sweep_overview
from components.schedulers.names import ROWS, label


def text_of(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def colors_of(path: Path) -> set[str]:
    return set(re.findall(r"stroke: (#[0-9a-f]{6})", path.read_text(encoding="utf-8")))


def test_lode_is_red_and_the_best_baseline_blue():
    found = drawing.looks(["cosine", "lode", "onecycle", "constant"], "cosine")
    assert found["lode"].color == drawing.RED and found["cosine"].color == drawing.BLUE
    looks = [(look.color, look.dash) for look in found.values()]
    assert len(set(looks)) == 4
    assert found["onecycle"].dash != "-" and found["constant"].dash != found["onecycle"].dash


def test_no_two_schedulers_look_alike_and_each_has_a_label():
    names = [row.name for row in ROWS]
    looks = drawing.looks(names, "cosine").values()
    assert len({(look.color, look.dash) for look in looks}) == len(names)
    assert {label(name) for name in names}.isdisjoint(names)


def test_learning_rates_show_lode_and_best_baseline_only(synthetic, tmp_path):
    path = tmp_path / "lr.svg"
    rows = group_runs(synthetic.scheduled(), synthetic.chosen(), range(100, 106))
    figures.learning_rates(rows, "cosine", path)
    assert {"LODE (6 runs)", "Cosine", "learning rate"} <= set(text_of(path))
    assert "OneCycle" not in text_of(path)
    assert {drawing.RED, drawing.BLUE} <= colors_of(path)


def test_a_finer_search_is_a_row_of_its_own(given_finer, tmp_path):
    found = evaluate(**given_finer)
    rows = group_runs(given_finer["runs"], given_finer["chosen"], given_finer["seeds"])
    figures.draw(found, rows, None, tmp_path)
    for name in ("train_loss", "val_metric", "test", "sharpness"):
        assert {"Finer search", "OneCycle", "LODE"} <= set(
            text_of(figures.figure_path(tmp_path, name))
        )
    swept = text_of(figures.figure_path(tmp_path, "sweep"))
    assert "Finer search" not in swept, "it is not of the sweep"


def test_plans_without_a_baseline_are_drawn(tmp_path):
    figures.plans(PilotResult(runs=1, plan=[0.1, 0.2], adopted=True), tmp_path / "plans.svg")
    assert "the plan" in text_of(tmp_path / "plans.svg")


def test_one_run_and_diverged_runs_are_drawn(synthetic, tmp_path):
    cosine = [synthetic.history("cosine", 0.01, seed, diverged=seed == 2) for seed in (1, 2)]
    rows = {
        "constant": [synthetic.history("constant", 0.01, 1, diverged=True)],
        "cosine": cosine,
        "lode": [synthetic.history("lode", None, 1)],
    }
    for column in ("train_loss", "val_metric"):
        figures.curves(rows, column, "cosine", tmp_path / f"{column}.svg")
        assert {"LODE", "Cosine"} <= set(text_of(tmp_path / f"{column}.svg"))
    values = {"lode": [0.9], "cosine": [0.8, None], "constant": [None]}
    figures.test_metrics(values, "cosine", tmp_path / "test.svg")
    assert {"LODE", "Cosine", "Constant"} <= set(text_of(tmp_path / "test.svg"))


def frames_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count(f"stroke: {drawing.RED}")


def test_grid_shows_every_mean_the_diverged_and_the_chosen(synthetic, given, tmp_path):
    path = tmp_path / "sweep.svg"
    broken = synthetic.history("constant", 0.001, 0, diverged=True)
    swept = [broken if h.run_id == broken.run_id else h for h in given["sweep"]]
    found = evaluate(**{**given, "sweep": swept}).sweep.configurations
    sweep_overview(found, path)
    shown = text_of(path)
    for one in found:
        assert f"{100 * one.validation.mean:.1f}" in shown
    assert "1 diverged" in shown
    assert frames_of(path) == 4, "one per scheduler"


def test_sampled_peaks_are_dots_not_a_grid(tmp_path):
    many = [
        SweptConfiguration("cosine", 0.001 * (1 + i), Summary(0.8 + 0.01 * i, 0.01, 3), 0, i == 11)
        for i in range(12)
    ]
    sweep_overview(many, tmp_path / "sweep.svg")
    assert "validation accuracy (%)" in text_of(tmp_path / "sweep.svg")


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_a_sweep_of_equal_values_can_be_drawn(tmp_path, value):
    flat = [SweptConfiguration("cosine", p, Summary(value, 0.0, 3), 0, p == 0.1) for p in (0.1, 1)]
    flat.append(SweptConfiguration("pbt", None, Summary(value, 0.0, 3), 0, True))
    sweep_overview(flat, tmp_path / "sweep.svg")
    assert f"{100 * value:.1f}" in text_of(tmp_path / "sweep.svg")
    assert frames_of(tmp_path / "sweep.svg") == 1, "what has no peak has no cell"


def test_trajectories_show_what_is_observed(synthetic, tmp_path):
    run = synthetic.history("onecycle", 0.05, 0)
    predicted = run.series()
    figures.trajectory(run, predicted, 20, tmp_path / "t.svg")
    assert {"observed", "LODE's prediction", "training loss"} <= set(text_of(tmp_path / "t.svg"))
    assert drawing.ORANGE in colors_of(tmp_path / "t.svg")


def test_nothing_is_left_of_a_figure_that_fails(synthetic, tmp_path):
    run = synthetic.history("onecycle", 0.05, 0)
    with pytest.raises(IndexError):
        figures.trajectory(run, run.points[["lr"]].to_numpy(), 20, tmp_path / "t.svg")
    assert list(tmp_path.iterdir()) == []
