"""The one table: what the program prints, the page shows and docs hold is formatted here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_GAP = "  "


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
