"""The one table: what the program prints, the page shows and docs hold is formatted here."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.evaluation.notation import MINUS, NONE

_GAP = "  "
_SPREAD, _REACH = " ± ", " to "  # between two numbers of one cell
_TO_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "≈": r"$\approx$",
    "λₘₐₓ": r"$\lambda_{\max}$",
    "²": "$^2$",
}
_LATEX = re.compile("|".join(map(re.escape, sorted(_TO_LATEX, key=len, reverse=True))))


@dataclass(frozen=True)
class Table:
    """Text cells under named columns, the first of which says what a row is about.

    Raises:
        ValueError: a row is longer or shorter than the columns, or two columns have one name.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns of one name: {', '.join(self.columns)}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")

    @classmethod
    def of(cls, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
        return cls(tuple(columns), tuple(tuple(row) for row in rows))

    def select(self, columns: Mapping[str, str]) -> Table:
        """Some of the columns, in the given order, under other names: `{name: new name}`."""
        places = [self.columns.index(name) for name in columns]
        return Table.of(columns.values(), ((row[i] for i in places) for row in self.rows))

    def without(self, *columns: str) -> Table:
        return self.select({name: name for name in self.columns if name not in columns})

    def text(self, *, left: bool = False, rule: bool = True) -> str:
        """Aligned lines: the first column to the left, the others to the right.

        Args:
            left: all columns to the left, as fits words.
            rule: a line under the header.
        """
        lines = [[_one_line(cell) for cell in line] for line in (self.columns, *self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        if rule:
            lines.insert(1, ["─" * width for width in widths])
        return "\n".join(_aligned(line, widths, left) for line in lines)

    def markdown(self, *, left: bool = False) -> str:
        """As GitHub's Markdown; aligned like `text`."""
        dashes = ["---" if left or i == 0 else "---:" for i in range(len(self.columns))]
        lines = [[_escaped(cell) for cell in line] for line in (self.columns, *self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], dashes, *lines[1:]))

    def csv(self) -> str:
        """For programs: two numbers of one cell, `93.24 ± 0.12` or `−0.01 to +0.25`, are two
        columns; a minus is a hyphen, a dash an empty cell."""
        columns = [_separated(list(column)) for column in zip(*self.rows, strict=True)]
        columns = columns or [[] for _ in self.columns]
        names = [
            name
            for of, column in zip(self.columns, columns, strict=True)
            for name in _names(of, column)
        ]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        rows = zip(*columns, strict=True)
        writer.writerows([cell for cells in row for cell in cells] for row in rows)
        return text.getvalue()

    def latex(self) -> str:
        """A `tabular` that needs no package; aligned like `text`."""
        lines = [[_latex(cell) for cell in line] for line in (self.columns, *self.rows)]
        head, *body = (" & ".join(line) + r" \\" for line in lines)
        begin = r"\begin{tabular}{l" + "r" * (len(self.columns) - 1) + "}"
        rows = [r"\hline", head, r"\hline", *body, r"\hline"]
        return "\n".join([begin, *rows, r"\end{tabular}"]) + "\n"

    def records(self) -> list[dict[str, str]]:
        """A row each: column to cell."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    @property
    def width(self) -> int:
        """Characters of the longest line of `text`."""
        return max(map(len, self.text().split("\n")))


def _aligned(line: Sequence[str], widths: Sequence[int], left: bool) -> str:
    cells = [
        cell.ljust(width) if left or i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return _GAP.join(cells).rstrip(" ")


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines())


def _escaped(cell: str) -> str:
    """A bar would end the cell, and so would a backslash before the bar that does."""
    return _one_line(cell).replace("\\", "\\\\").replace("|", "\\|")


def _separated(column: list[str]) -> list[list[str]]:
    """The cells of a column, each in as many parts as the one with most."""
    parts = [re.split(f"{_SPREAD}|(?<=\\d){_REACH}(?=[+{MINUS}\\d])", cell) for cell in column]
    most = max(map(len, parts), default=1)
    return [[_plain(part) for part in one] + [""] * (most - len(one)) for one in parts]


def _names(column: str, cells: list[list[str]]) -> list[str]:
    """Of a column's parts: `Test (%)` and `Test (%) ±`; `95 % interval` and `95 % interval to`."""
    parts = max(map(len, cells), default=1)
    second = "to" if "interval" in column else "±"
    return [column, *[f"{column} {second}"] * (parts - 1)]


def _plain(cell: str) -> str:
    return "" if cell == NONE else cell.replace(MINUS, "-")


def _latex(cell: str) -> str:
    return _LATEX.sub(lambda found: _TO_LATEX[found[0]], _one_line(cell))
