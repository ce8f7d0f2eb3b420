"""The table formatter: aligned text, Markdown that keeps its cells, records."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.tables import Table

# Whatever people write in a cell, but for control characters, which nobody does.
CELLS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(CELLS, min_size=1, max_size=5, unique=True))
    row = st.lists(CELLS, min_size=len(columns), max_size=len(columns))
    return Table.of(columns, draw(st.lists(row, max_size=5)))


def cut(line: str, widths: list[int]) -> list[str]:
    """The cells of a line of text, by position."""
    cells, start = [], 0
    padded = line.ljust(sum(widths) + 2 * len(widths))
    for width in widths:
        cells.append(padded[start : start + width])
        assert padded[start + width : start + width + 2] == "  ", "a gap between columns"
        start += width + 2
    return cells


@given(tables(), st.booleans(), st.booleans())
def test_text_is_aligned(table: Table, left: bool, rule: bool) -> None:
    lines = table.text(left=left, rule=rule).split("\n")
    widths = [
        max(len(column), *(len(row[i]) for row in table.rows), 0)
        for i, column in enumerate(table.columns)
    ]
    if rule:
        assert lines.pop(1) == "  ".join("─" * width for width in widths).rstrip()
    assert len(lines) == 1 + len(table.rows)
    for line, cells in zip(lines, (table.columns, *table.rows), strict=True):
        assert not line.endswith(" ")
        for i, (found, cell) in enumerate(zip(cut(line, widths), cells, strict=True)):
            first = left or i == 0
            assert found == (cell.ljust(widths[i]) if first else cell.rjust(widths[i]))


def parse(line: str) -> list[str]:
    """The cells of a line of GitHub's Markdown: a bar ends one unless it is escaped."""
    cells = re.findall(r"(?:\\.|[^|\\])*", line[1:])
    return [
        re.sub(r"\\(.)", r"\1", cell.removeprefix(" ").removesuffix(" ")) for cell in cells if cell
    ]


@given(tables(), st.booleans())
def test_markdown_keeps_its_cells(table: Table, left: bool) -> None:
    header, dashes, *lines = table.markdown(left=left).split("\n")
    assert parse(header) == list(table.columns)
    assert [parse(line) for line in lines] == [list(row) for row in table.rows]
    assert [cell.strip() for cell in dashes.strip("|").split("|")] == [
        "---" if left or i == 0 else "---:" for i in range(len(table.columns))
    ]


@given(tables())
def test_records_make_the_table_again(table: Table) -> None:
    records = table.records()
    assert len(records) == len(table.rows)
    assert Table.of(table.columns, (record.values() for record in records)) == table


def test_how_it_looks() -> None:
    table = Table.of(("Name", "Value"), [("a", "1.5"), ("bcdef", "22")])
    assert table.text() == "Name   Value\n─────  ─────\na        1.5\nbcdef     22"
    assert table.text(left=True, rule=False) == "Name   Value\na      1.5\nbcdef  22"
    assert table.markdown() == "| Name | Value |\n| --- | ---: |\n| a | 1.5 |\n| bcdef | 22 |"
    assert table.width == 12
    assert table.select({"Value": "V"}) == Table.of(["V"], [["1.5"], ["22"]])
    assert table.without("Value") == Table.of(["Name"], [["a"], ["bcdef"]])


def test_a_cell_stays_on_its_line() -> None:
    table = Table.of(("why",), [("first\nsecond | third",)])
    assert table.text(rule=False) == "why\nfirst second | third"
    assert table.markdown().endswith("| first second \\| third |")


def test_rows_must_fit_their_columns() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        Table.of(("a", "b"), [("1",)])
    with pytest.raises(ValueError, match="one name: a, a"):
        Table.of(("a", "a"), [])


def test_csv_has_a_number_in_a_cell():
    table = Table.of(
        ("Scheduler", "Test (%)", "95 % interval"),
        [("One, two", "93.24 ± 0.12", "−0.01 to +0.25"), ("LODE", "–", "–")],
    )
    assert list(csv.reader(io.StringIO(table.csv()))) == [
        ["Scheduler", "Test (%)", "Test (%) ±", "95 % interval", "95 % interval to"],
        ["One, two", "93.24", "0.12", "-0.01", "+0.25"],
        ["LODE", "", "", "", ""],
    ]
    assert Table.of(("a", "b"), []).csv() == "a,b\n"


def test_latex_is_escaped_and_whole():
    table = Table.of(("a_b & c", "λₘₐₓ"), [("100 % {$x^2}\\", "≈ −0.1 ± 2")])
    assert table.latex().splitlines() == [
        r"\begin{tabular}{lr}",
        r"\hline",
        r"a\_b \& c & $\lambda_{\max}$ \\",
        r"\hline",
        r"100 \% \{\$x\textasciicircum{}2\}\textbackslash{} & $\approx$ $-$0.1 $\pm$ 2 \\",
        r"\hline",
        r"\end{tabular}",
    ]
