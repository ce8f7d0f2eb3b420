"""Tables read back from where people see them, as rows of cells, to be compared with each other."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class _Tables(HTMLParser):
    """The cells of every table of a page, by its class's first word."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self._name, self._in_cell = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "table":
            self._name = (values.get("class") or "").split(" ")[0]
            self.tables.setdefault(self._name, [])
        elif tag == "tr":
            self.tables[self._name].append([])
        elif tag in ("th", "td"):
            self._in_cell = True
            self.tables[self._name][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[self._name][-1][-1] += data


def of_page(html: str, name: str) -> list[list[str]]:
    """A table of the report, its header first."""
    plain = html.replace("\N{NO-BREAK SPACE}", " ")
    return _Tables(re.sub(r"<svg.*?</svg>", "", plain, flags=re.DOTALL)).tables[name]


def of_markdown(text: str, first: str) -> list[list[str]]:
    """The table whose first column is called so, its header first."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def of_terminal(text: str, first: str) -> list[list[str]]:
    """The same of what a terminal shows, whose columns are two spaces apart or more."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    ruled = lines[start + 1]
    starts = [found.start() for found in re.finditer("─+", ruled)]
    ends = [*starts[1:], None]
    rows = []
    for line in (lines[start], *lines[start + 2 :]):
        if not line or "  " not in line:
            break
        rows.append([line[a:b].strip() for a, b in zip(starts, ends, strict=True)])
    return rows
