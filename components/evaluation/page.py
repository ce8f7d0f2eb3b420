"""The report as one self-contained page: what it fetches from nowhere, it cannot lack."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluation import wording
from components.evaluation.captions import Caption
from components.evaluation.decision import decide
from components.evaluation.downloads import SCHEDULES
from components.evaluation.drawing import PALETTE
from components.evaluation.figures import FIGURES, FigureEntry, captioned, figure_path
from components.evaluation.notation import unbroken
from components.evaluation.order import shown_first
from components.evaluation.result_tables import TABLES, TableEntry
from components.evaluation.results import Evaluation
from components.evaluation.sharpness_table import edge_of_stability, measured_rows
from components.schedulers.names import LODE
from components.storage.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")
# Of the page's parts; what figures and tables are in each, their own lists say.
SECTIONS = {
    "results": "Results",
    "schedules": "Learning rates",
    "training": "Training",
    "lode": "The LODE",
    "sweep": "The sweep",
}
TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".csv": "text/csv",
    ".tex": "application/x-tex",
    ".json": "application/json",
}


@dataclass(frozen=True)
class Row:
    """Cells of a row; `own`: it is the LODE's; `best`: the column that is in bold."""

    cells: tuple[str, ...]
    own: bool = False
    best: str = ""


@dataclass(frozen=True)
class TableBlock:
    """A table as the page shows it: rows at once, and `more` when asked for."""

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: list[Row]
    more: list[Row]
    links: list[Markup]


@dataclass(frozen=True)
class FigureBlock:
    """A figure as the page shows it."""

    svg: Markup
    caption: Caption
    wide: bool
    links: list[Markup]


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    sentences: list[str]
    tables: list[TableBlock]
    figures: list[FigureBlock]

    def __bool__(self) -> bool:
        return bool(self.sentences or self.tables or self.figures)


def write_page(evaluation: Evaluation, report_dir: Path) -> Path:
    """Write `<report_dir>/index.html` from the evaluation, `figures/*.svg` and `downloads/*`."""
    path = report_dir / "index.html"
    write_text(path, render(evaluation, report_dir / "figures", report_dir / "downloads"))
    return path


def render(evaluation: Evaluation, figures: Path, downloads: Path) -> str:
    """The page, with those figures and files in it that lie in the folders."""
    sections = [
        _section(name, title, evaluation, figures, downloads) for name, title in SECTIONS.items()
    ]
    template = environment().get_template("report.html")
    return template.render(
        e=evaluation,
        decision=decide(evaluation),
        schedules=_links(downloads, SCHEDULES, evaluation.task),
        setup=wording.setup(evaluation),
        sections=[section for section in sections if section],
        quarantined=evaluation.validation.quarantined if evaluation.validation else [],
        words=wording.WORDS,
        provenance=wording.provenance(evaluation),
    )


def _section(
    name: str, title: str, evaluation: Evaluation, figures: Path, downloads: Path
) -> Section:
    """The sentences, tables and figures that say that they belong to it."""
    said = {
        "results": wording.finer_search,
        "training": lambda found: edge_of_stability(measured_rows(found), found.setup.points),
        "lode": wording.lode,
        "sweep": wording.sweep,
    }
    drawn = captioned(evaluation, figures)
    tables = [_table(one, evaluation, downloads) for one in TABLES if one.section == name]
    return Section(
        id=name,
        title=title,
        sentences=said[name](evaluation) if name in said else [],
        tables=[block for block in tables if block.rows],
        figures=[
            _figure(one, drawn[one.name], evaluation.task, figures, downloads)
            for one in FIGURES
            if one.section == name and one.name in drawn
        ],
    )


@cache
def environment() -> Environment:
    """The templates of this room's pages; everything is escaped, what is not given is an error."""
    import jinja2  # not on a bare GPU box, which needs the rest of this room
    from markupsafe import Markup

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: unbroken(value) if type(value) is str else value,
    )
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    made.globals["css"] = Markup(_variables() + css)
    return made


def _variables() -> str:
    """The figures' colours, on light and on dark ground."""
    light = "".join(f"{_variable(color)}: {color}; " for color in PALETTE)
    dark = "".join(f"{_variable(color)}: {other}; " for color, other in PALETTE.items())
    return f":root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n"


def _variable(color: str) -> str:
    return f"--c{color[1:]}"


def _table(entry: TableEntry, evaluation: Evaluation, downloads: Path) -> TableBlock:
    table = entry.table(evaluation)
    of = entry.rows(evaluation) if entry.rows else [""] * len(table.rows)
    best = entry.best(evaluation.shown) if entry.best else ""
    rows = [
        Row(cells, own=row == LODE, best=best if i == 0 else "")
        for i, (row, cells) in enumerate(zip(of, table.rows, strict=True))
    ]
    first = set(shown_first(evaluation)) if entry.rows else {""}
    names = {f"{entry.name}.csv": "CSV", f"{entry.name}.tex": "LaTeX"}
    return TableBlock(
        name=entry.name,
        title=entry.title,
        caption=entry.caption(evaluation),
        columns=table.columns,
        rows=[one for row, one in zip(of, rows, strict=True) if row in first],
        more=[one for row, one in zip(of, rows, strict=True) if row not in first],
        links=_links(downloads, names, evaluation.task),
    )


def _figure(
    entry: FigureEntry, caption: Caption, task: str, figures: Path, downloads: Path
) -> FigureBlock:
    from markupsafe import Markup, escape

    drawn, png = figure_path(figures, entry.name), figure_path(downloads, entry.name, ".png")
    svg = _bare(drawn.read_text(encoding="utf-8"), entry.name)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption.alternative)}"', 1)
    links = _links(figures, {drawn.name: "SVG"}, task) + _links(downloads, {png.name: "PNG"}, task)
    return FigureBlock(Markup(svg), caption, entry.wide, links)


def _links(folder: Path, names: Mapping[str, str], task: str) -> list[Markup]:
    """A link to take each file away that is there, named after its task; the page holds them."""
    from markupsafe import Markup

    return [
        Markup('<a class="file" download="{}" href="data:{};base64,{}">{}</a>').format(
            f"{task}-{name}",
            TYPES[Path(name).suffix],
            base64.b64encode((folder / name).read_bytes()).decode(),
            unbroken(text),
        )
        for name, text in names.items()
        if (folder / name).exists()
    ]


def _bare(svg: str, name: str) -> str:
    """An SVG without prologue, metadata and size, its ids its own, its colours the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # ids are a page's, not a figure's: the same clip path may be in two figures
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    svg = re.sub(r"(?<=(?:fill|roke): )#[0-9a-f]{6}", _themed, svg)
    head, _, rest = svg.partition(">")
    return re.sub(r' (?:width|height)="[\d.]+pt"', "", head) + ">" + rest


def _themed(color: re.Match[str]) -> str:
    return f"var({_variable(color[0])})" if color[0] in PALETTE else color[0]
