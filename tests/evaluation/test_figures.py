import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from components.evaluation import captions, drawing, figures
from components.evaluation.curves import curves
from components.evaluation.evaluate import evaluate
from components.evaluation.metric import Metric
from components.evaluation.results import PilotResult, SweptConfiguration
from components.evaluation.rows import group_runs
from components.evaluation.statistics import Summary
from components.evaluation.strips import strips
from components.evaluation.sweep_figure import sweep_overview
from components.schedulers.names import LABELS, ROWS, label

SEEDS = range(100, 106)


def text_of(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def colors_of(path: Path) -> set[str]:
    return set(re.findall(r"stroke: (#[0-9a-f]{6})", path.read_text(encoding="utf-8")))


def test_a_scheduler_looks_the_same_whatever_it_is_drawn_with():
    alone = {name: drawing.looks([name])[name] for name in LABELS}
    assert alone == drawing.looks(list(LABELS))
    assert alone["lode"] == drawing.Look(drawing.RED, "-")


def test_no_two_schedulers_look_alike_and_each_has_a_label():
    names = [row.name for row in ROWS] + [f"own-{i}" for i in range(30)]
    looks = drawing.looks(names).values()
    assert len({(look.color, look.dash) for look in looks}) == len(names)
    assert {look.color for look in looks} <= set(drawing.PALETTE)
    assert {label(row.name) for row in ROWS}.isdisjoint(names)


def luminance(color):
    def linear(channel):
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(color[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """WCAG 2's contrast of two colours."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_names_at_lines_can_be_read_on_light_and_on_dark_ground():
    grounds = drawing.PAPER, drawing.PALETTE[drawing.PAPER]
    for light, dark in drawing.PALETTE.items():
        if light not in (drawing.PAPER, drawing.GRID, drawing.SHADE):
            assert contrast(light, grounds[0]) >= 4.5, light
            assert contrast(dark, grounds[1]) >= 4.5, dark


@hypothesis_given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.2))
def test_names_do_not_touch_and_keep_their_order(places, gap):
    moved = drawing.apart(places, gap)
    room = min(gap, 1 / max(len(places) - 1, 1))
    ordered = sorted(moved)
    assert all(b - a >= room - 1e-9 for a, b in pairwise(ordered))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in moved)
    for (a, b), (c, d) in combinations(zip(places, moved, strict=True), 2):
        assert (a - c) * (b - d) >= -1e-9, "who was above stays above"
    spread = sorted(places)
    if all(b - a >= gap for a, b in pairwise(spread)):
        assert moved == pytest.approx(places)


def drawn_from(given):
    rows = group_runs(given["runs"], given["chosen"], given["seeds"])
    return figures.Drawn(evaluate(**given), rows, given["trajectories"])


def draw_one(name, drawn, folder):
    path = figures.figure_path(folder, name)
    next(entry for entry in figures.FIGURES if entry.name == name).draw(drawn, path)
    return path


def test_learning_rates_show_lode_and_best_baseline_only(given, tmp_path):
    path = tmp_path / "lr.svg"
    figures.learning_rates(drawn_from(given), path)
    assert {"LODE", "(6 schedules)", "OneCycle", "learning rate"} <= set(text_of(path))
    assert "Cosine" not in text_of(path)
    onecycle = drawing.looks(["onecycle"])["onecycle"].color
    assert {drawing.RED, onecycle} <= colors_of(path)


def test_runs_that_are_anothers_to_the_bit_are_one_line(synthetic, given, tmp_path):
    own = [synthetic.history("lode", None, seed, digest="0123456789abcdef") for seed in SEEDS]
    theirs = [h for h in given["runs"] if h.configuration == ("onecycle", 0.05)]
    for run, other in zip(own, theirs, strict=True):
        run.points = other.points.assign(run_id=run.run_id)
        run.meta |= {k: other.meta[k] for k in ("best_val_metric", "best_point", "test_metric")}
    given["runs"] = [h for h in given["runs"] if h.meta["scheduler"] != "lode"] + own
    drawn = drawn_from(given)
    for name in ("learning_rates", "val_metric", "test"):
        shown = text_of(draw_one(name, drawn, tmp_path))
        assert "LODE = OneCycle" in shown and "OneCycle" not in shown, name
    caption = captions.learning_rates(drawn.evaluation)
    assert caption.text == "One line: LODE's runs are OneCycle's to the bit, on every seed."
    assert "LODE = OneCycle: the same runs, drawn once." in captions.test(drawn.evaluation).text


def test_a_finer_search_is_a_row_of_its_own(given_finer, tmp_path):
    drawn = drawn_from(given_finer)
    for name in ("val_metric", "test", "sharpness"):
        shown = set(text_of(draw_one(name, drawn, tmp_path)))
        assert {"Finer search", "OneCycle", "LODE"} <= shown
    swept = text_of(draw_one("sweep", drawn, tmp_path))
    assert "Finer search" not in swept, "it is not of the sweep"


def test_plans_without_a_baseline_are_drawn(tmp_path):
    figures.draw_plans(PilotResult(runs=1, plan=[0.1, 0.2], adopted=True), tmp_path / "plans.svg")
    assert "LODE's plan" in text_of(tmp_path / "plans.svg")


def test_one_run_and_diverged_runs_are_drawn(synthetic, tmp_path):
    cosine = [synthetic.history("cosine", 0.01, seed, diverged=seed == 2) for seed in (1, 2)]
    rows = {
        "constant": [synthetic.history("constant", 0.01, 1, diverged=True)],
        "cosine": cosine,
        "lode": [synthetic.history("lode", None, 1)],
    }
    for column in ("train_loss", "val_metric"):
        curves(rows, LABELS, column, tmp_path / f"{column}.svg", Metric())
        assert {"LODE", "Cosine"} <= set(text_of(tmp_path / f"{column}.svg"))
        assert "Constant" not in text_of(tmp_path / f"{column}.svg")
    values = {"lode": [0.9], "cosine": [0.8, 0.7], "constant": []}
    strips(values, LABELS, tmp_path / "test.svg", "test accuracy")
    assert {"LODE", "Cosine", "Constant"} <= set(text_of(tmp_path / "test.svg"))


def frames_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count(f"stroke: {drawing.ORANGE}")


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


def test_what_a_race_left_says_on_how_many_seeds_it_ran(synthetic, given, tmp_path):
    path = tmp_path / "sweep.svg"
    left = {("constant", 0.001), ("cosine", 0.05)}
    raced = [h for h in given["sweep"] if h.configuration not in left or h.meta["seed"] == 0]
    assert len(given["sweep"]) > len(raced)
    for sweep, marked in ((given["sweep"], 0), (raced, 2)):
        evaluation = evaluate(**{**given, "sweep": sweep})
        sweep_overview(evaluation.sweep.configurations, path)
        assert text_of(path).count("n = 1") == marked
        assert ("as after a race" in captions.sweep(evaluation).text) == bool(marked)


def test_sampled_peaks_are_dots_not_a_grid(tmp_path):
    many = [
        SweptConfiguration(
            "cosine", 0.001 * (1 + i), Summary(0.8 + 0.01 * i, 0.01, 3), 0, chosen=i == 11
        )
        for i in range(12)
    ]
    sweep_overview(many, tmp_path / "sweep.svg")
    assert "validation accuracy (%)" in text_of(tmp_path / "sweep.svg")


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_a_sweep_of_equal_values_can_be_drawn(tmp_path, value):
    flat = [
        SweptConfiguration("cosine", p, Summary(value, 0.0, 3), 0, chosen=p == 0.1)
        for p in (0.1, 1)
    ]
    flat.append(SweptConfiguration("pbt", None, Summary(value, 0.0, 3), 0, chosen=True))
    sweep_overview(flat, tmp_path / "sweep.svg")
    assert f"{100 * value:.1f}" in text_of(tmp_path / "sweep.svg")
    assert frames_of(tmp_path / "sweep.svg") == 1, "what has no peak has no cell"


def test_trajectories_show_what_is_observed(synthetic, tmp_path):
    run = synthetic.history("onecycle", 0.05, 0)
    predicted = run.series()
    figures.trajectory(run, predicted, 20, tmp_path / "t.svg")
    assert {"observed", "predicted", "training loss"} <= set(text_of(tmp_path / "t.svg"))
    assert drawing.ORANGE in colors_of(tmp_path / "t.svg")


def test_nothing_is_left_of_a_figure_that_fails(synthetic, tmp_path):
    run = synthetic.history("onecycle", 0.05, 0)
    with pytest.raises(IndexError):
        figures.trajectory(run, run.points[["lr"]].to_numpy(), 20, tmp_path / "t.svg")
    assert list(tmp_path.iterdir()) == []
