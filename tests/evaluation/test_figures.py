import re
from pathlib import Path

import pytest

from components.evaluation import figures
from components.evaluation.ranking import Configuration, configurations
from components.evaluation.statistics import Summary
from components.schedulers.names import SCHEDULERS


def text_of(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def colors_of(path: Path) -> set[str]:
    return set(re.findall(r"stroke: (#[0-9a-f]{6})", path.read_text(encoding="utf-8")))


def test_lode_is_red_and_the_best_baseline_blue():
    found = figures.looks(["cosine", "lode", "onecycle", "constant"], "cosine")
    assert found["lode"].color == figures.RED and found["cosine"].color == figures.BLUE
    looks = [(look.color, look.dash) for look in found.values()]
    assert len(set(looks)) == 4
    assert found["onecycle"].dash != "-" and found["constant"].dash != found["onecycle"].dash


def test_no_two_schedulers_look_alike_and_each_has_a_label():
    looks = figures.looks(SCHEDULERS, "cosine").values()
    assert len({(look.color, look.dash) for look in looks}) == len(SCHEDULERS)
    assert {figures.label(name) for name in SCHEDULERS}.isdisjoint(SCHEDULERS)


def test_learning_rates_show_lode_and_best_baseline_only(synthetic, tmp_path):
    path = tmp_path / "lr.svg"
    figures.learning_rates(synthetic.scheduled(), "cosine", path)
    assert {"LODE (6 runs)", "Cosine", "learning rate"} <= set(text_of(path))
    assert "OneCycle" not in text_of(path)
    assert {figures.RED, figures.BLUE} <= colors_of(path)


def test_one_run_and_diverged_runs_are_drawn(synthetic, tmp_path):
    runs = [
        synthetic.history("lode", None, 1),
        synthetic.history("cosine", 0.01, 1),
        synthetic.history("cosine", 0.01, 2, diverged=True),
        synthetic.history("constant", 0.01, 1, diverged=True),
    ]
    for column in ("train_loss", "val_metric"):
        figures.curves(runs, column, "cosine", tmp_path / f"{column}.svg")
        assert {"LODE", "Cosine"} <= set(text_of(tmp_path / f"{column}.svg"))
    values = {"lode": {1: 0.9}, "cosine": {1: 0.8, 2: None}, "constant": {1: None}}
    figures.test_metrics(values, "cosine", tmp_path / "test.svg")
    assert {"LODE", "Cosine", "Constant"} <= set(text_of(tmp_path / "test.svg"))


def test_grid_shows_every_mean_and_the_diverged(synthetic, tmp_path):
    sweep = synthetic.sweep()
    sweep[0] = synthetic.history("constant", 0.001, 0, diverged=True)
    path = tmp_path / "sweep.svg"
    found = configurations(sweep)
    figures.sweep_overview(found, {"onecycle": 0.05}, path)
    shown = text_of(path)
    for one in found:
        assert f"{100 * one.validation.mean:.1f}" in shown
    assert "1 diverged" in shown


def test_sampled_peaks_are_dots_not_a_grid(tmp_path):
    many = [
        Configuration("cosine", 0.001 * (1 + i), Summary(0.8 + 0.01 * i, 0.01, 3), 0)
        for i in range(12)
    ]
    figures.sweep_overview(many, {"cosine": 0.012}, tmp_path / "sweep.svg")
    assert "validation accuracy (%)" in text_of(tmp_path / "sweep.svg")


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_a_sweep_of_equal_values_can_be_drawn(tmp_path, value):
    flat = [Configuration("cosine", p, Summary(value, 0.0, 3), 0) for p in (0.1, 0.2)]
    figures.sweep_overview(flat, {"cosine": 0.1}, tmp_path / "sweep.svg")
    assert f"{100 * value:.1f}" in text_of(tmp_path / "sweep.svg")


def test_trajectories_show_what_is_observed(synthetic, tmp_path):
    run = synthetic.history("onecycle", 0.05, 0)
    predicted = run.series()
    figures.trajectories(run, predicted, 20, tmp_path / "t.svg")
    assert {"observed", "LODE's prediction", "training loss"} <= set(text_of(tmp_path / "t.svg"))
    assert figures.ORANGE in colors_of(tmp_path / "t.svg")


def test_nothing_is_left_of_a_figure_that_fails(synthetic, tmp_path):
    run = synthetic.history("onecycle", 0.05, 0)
    with pytest.raises(IndexError):
        figures.trajectories(run, run.points[["lr"]].to_numpy(), 20, tmp_path / "t.svg")
    assert list(tmp_path.iterdir()) == []
