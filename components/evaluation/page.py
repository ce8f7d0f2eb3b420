"""The report as one self-contained page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.evaluation import wording
from components.evaluation.captions import Caption, figure_captions, table_captions
from components.evaluation.figures import figure_path
from components.evaluation.notation import unbroken
from components.evaluation.result_tables import (
    best_rows,
    comparison_table,
    error_table,
    ranked,
    result_table,
    test_column,
)
from components.evaluation.results import Evaluation
from components.schedulers.names import LODE
from components.storage.files import write_text

TEMPLATES = Path(__file__).with_name("templates")
WIDE = ("learning_rates", "sweep", "plans", "expectations")  # alone on their line


def write_page(evaluation: Evaluation, report_dir: Path) -> Path:
    """Write `<report_dir>/index.html` from the evaluation and `<report_dir>/figures/*.svg`."""
    path = report_dir / "index.html"
    write_text(path, render(evaluation, report_dir / "figures"))
    return path


def render(evaluation: Evaluation, figures: Path) -> str:
    """The page, with those figures inlined that lie in the folder."""
    import jinja2  # not on a bare GPU box, which needs the rest of this room
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: unbroken(value) if type(value) is str else value,
    )
    results, alike = result_table(evaluation), best_rows(evaluation)
    return environment.get_template("report.html").render(
        e=evaluation,
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        headline=wording.headline(evaluation),
        verdict=wording.verdict(evaluation),
        setup=wording.setup(evaluation),
        finer_search=wording.finer_search(evaluation),
        columns=results.columns,
        results=list(zip(ranked(evaluation), results.records(), strict=True)),
        own_row=LODE,
        test_column=test_column(evaluation.shown),
        bold=alike,
        bold_note=wording.bold(alike),
        comparisons=comparison_table(evaluation),
        errors=error_table(evaluation),
        captions=table_captions(evaluation),
        figure=_inlined(figures, figure_captions(evaluation)),
        lode=wording.lode(evaluation),
        sweep=wording.sweep(evaluation),
        quarantined=evaluation.validation.quarantined if evaluation.validation else [],
        provenance=wording.provenance(evaluation),
    )


def _inlined(folder: Path, captions: Mapping[str, Caption]) -> Callable[[str], Any]:
    """A function of a figure's name: the SVG with its caption; nothing where it was not drawn."""
    from markupsafe import Markup, escape

    def figure(name: str) -> Markup:
        path = figure_path(folder, name)
        if name not in captions or not path.exists():
            return Markup("")
        caption = captions[name]
        svg = _bare(path.read_text(encoding="utf-8"), name)
        svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption.alternative)}"', 1)
        return Markup("<figure{}>{}<figcaption><b>{}.</b> {}</figcaption></figure>").format(
            Markup(' class="wide"' if name in WIDE else ""),
            Markup(svg),
            unbroken(caption.title),
            unbroken(caption.text),
        )

    return figure


def _bare(svg: str, name: str) -> str:
    """An SVG without prologue, metadata and size, its ids its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # ids are a page's, not a figure's: the same clip path may be in two figures
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    return (
        re.sub(r' (?:width|height)="[\d.]+pt"', "", svg.partition(">")[0]) + svg[svg.index(">") :]
    )
