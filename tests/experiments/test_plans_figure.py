"""The picture of the plans."""

from __future__ import annotations

from pathlib import Path

from components.evaluation.results import Gain
from components.experiments.plans_figure import Panel, draw
from tests.experiments import made


def test_a_panel_for_each_setting_and_the_same_bytes_again(tmp_path: Path) -> None:
    panels = [
        Panel("digits-mlp, 300 updates", made.pilots()),
        Panel("text-minigpt, 100 updates", made.pilots(Gain(-0.01, 0.002, 20), adopted=False)),
    ]
    for name in ("one.svg", "two.svg"):
        draw(panels, tmp_path / name)
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.svg").read_text(encoding="utf-8")
    for said in (*(panel.title for panel in panels), "LODE's plan", "LODE's finalist, refused"):
        assert text.count(f">{said}<") == 1, said
    assert text.count(">OneCycle 0.05, the sweep's best<") == 2
