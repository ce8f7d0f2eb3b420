"""Runs in CSV or JSON-lines files, compressed or not: many in one file, or one in each.

A table of runs (`--runs`) adds what is known of a run as a whole. So does every column that never
changes within a run.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import itertools
import json
import lzma
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from components.importers.errors import RunsError
from components.importers.match import Match, text
from components.importers.source import NOT_FINITE, Listed, Param, flat
from components.storage.shown import cut, printable, shown

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")
COMPRESSED = (".gz", ".bz2", ".xz")
LONGEST_LINE = 10**6  # characters of a head
SEPARATORS = ",;\t|"
MOST_FILES = 100_000
_NUMBERS = ("nan", "inf", "-inf", "+inf", "infinity", "-infinity")
_EMPTY = ("", "na", "n/a", "null", "none")


class CsvSource:
    """Files as a source of runs."""

    kind, remote, counts_updates = "csv", False, False
    own_step: str | None = None

    def __init__(self, source: Path, *, run: str | None = None, table: Path | None = None) -> None:
        """
        Args:
            source: a file, or a folder that is searched for them.
            run: the column that says which run a row is of; None: every file is one.
            table: a file with one row a run, which has that column too (or the file's name).
        """
        self.label = printable(str(source))
        self.column, self.table = run, table
        self.missing: frozenset[str] = frozenset()
        self.logs: dict[str, pd.DataFrame] = {}
        self.names: dict[str, str] = {}
        self._read(Path(source))
        varying: set[str] = set()
        numeric: set[str] = set()
        for log in self.logs.values():
            numeric |= {str(name) for name in log if log[name].notna().any()}
            varying |= {str(name) for name in log if log[name].nunique() > 1}
        self.constant = frozenset(numeric - varying)

    def runs(self, match: Match) -> Iterable[Listed]:
        params = self._params()
        return [
            Listed(
                run_id,
                self.names[run_id],
                params[run_id],
                tuple(str(name) for name in log if log[name].notna().any()),
                fault="the table of runs has no row of it" if run_id in self.missing else "",
            )
            for run_id, log in self.logs.items()
        ]

    def log(self, run: Listed, columns: Sequence[str]) -> pd.DataFrame:
        log = self.logs[run.id]
        return log.reindex(columns=list(columns))

    def _read(self, source: Path) -> None:
        self.texts: dict[str, dict[str, Param]] = {}
        for path in _files(source):
            rows = read_table(path)
            if self.column is None:
                name = _name(path, source)
                self._add(name, name, rows)
                continue
            if self.column not in rows:
                raise RunsError(
                    f"{printable(str(path))}: no column {cut(self.column, 60)} that --run names; "
                    f"it has {shown(list(rows), 600)}"
                )
            for value, part in rows.groupby(self.column, sort=False):
                self._add(cut(_run_name(value), 200), cut(_run_name(value), 200), part)
        if not any(len(log) for log in self.logs.values()):
            raise RunsError(f"{self.label}: no rows there")

    def _add(self, run_id: str, name: str, rows: pd.DataFrame) -> None:
        log, texts = _split(rows.drop(columns=[self.column] if self.column else []))
        if run_id in self.logs:  # a run in several files, as after a resume
            log = pd.concat([self.logs[run_id], log], ignore_index=True)
            texts = self.texts[run_id] | texts
        self.logs[run_id], self.names[run_id], self.texts[run_id] = log, name, texts

    def _params(self) -> dict[str, dict[str, Param]]:
        """What never changes within a run, and what the table of runs says."""
        found = {
            run_id: self.texts[run_id]
            | {
                str(name): float(values.iloc[0])
                for name in log
                if len(values := log[name].dropna().drop_duplicates()) == 1
                and np.isfinite(values.iloc[0])
            }
            for run_id, log in self.logs.items()
        }
        if self.table is not None:
            rows = self._rows_of_table(self.table)
            missing = [one for one in found if one not in rows]
            self.missing = frozenset(missing)
            if len(missing) == len(found):
                raise RunsError(
                    f"{printable(str(self.table))}: it has none of the runs, e.g. "
                    f"{cut(missing[0], 60)}; its column {cut(self.column or '?', 60)} must have "
                    "their names"
                )
            found = {one: params | rows.get(one, {}) for one, params in found.items()}
        return found

    def _rows_of_table(self, path: Path) -> dict[str, dict[str, Param]]:
        table = read_table(path)
        key = self.column if self.column in table else None
        if key is None:  # of many files, the column that has their names
            names = {*self.logs, *map(_bare, self.logs)}
            fits = [str(name) for name in table if table[name].map(_run_name).isin(names).any()]
            if len(fits) != 1:
                raise RunsError(
                    f"{printable(str(path))}: which column says of which run a row is? Name it "
                    f"with --run; it has {shown(list(table), 600)}"
                )
            key = fits[0]
        rows: dict[str, dict[str, Param]] = {}
        stems = {_bare(one): one for one in self.logs}
        for row in table.to_dict("records"):
            name = cut(_run_name(row[key]), 200)
            name = name if name in self.logs else stems.get(name, name)
            if name in rows:
                raise RunsError(f"{printable(str(path))}: two rows are of run {cut(name, 60)}")
            rows[name] = flat({str(k): v for k, v in row.items() if k != key and not pd.isna(v)})
        return rows


def read_table(path: Path) -> pd.DataFrame:
    """A file's rows: columns of numbers as float64 (`NOT_FINITE` where one is a NaN or infinite,
    NaN where the cell is empty), others as text.

    Raises:
        RunsError: missing, not text, or rows that do not fit its head.
    """
    shown_path = printable(str(path))
    try:
        cells = _json_lines(path) if _is_json(path) else _csv(path)
    except FileNotFoundError:
        raise RunsError(f"{shown_path}: no such file") from None
    except (OSError, EOFError) as error:
        raise RunsError(f"{shown_path}: cannot be read ({cut(str(error))})") from None
    except (ValueError, csv.Error, RecursionError, MemoryError, ImportError) as error:
        raise RunsError(
            f"{shown_path}: neither CSV with a head nor JSON lines ({cut(str(error))})"
        ) from None
    except pd.errors.ParserWarning:
        raise RunsError(f"{shown_path}: a row has more cells than its head") from None
    except Exception as error:  # whatever a damaged file makes a decompressor raise
        raise RunsError(
            f"{shown_path}: damaged ({cut(str(error) or type(error).__name__)})"
        ) from None
    found = {str(name): _numbers(cells[name]) for name in cells}
    return pd.DataFrame(found, index=cells.index)


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        paths = (path for path in sorted(source.rglob("*")) if _is_table(path))
        found = list(itertools.islice(paths, MOST_FILES + 1))
        if not found:
            raise RunsError(f"{printable(str(source))}: no {', '.join(SUFFIXES)} in this folder")
        if len(found) > MOST_FILES:
            raise RunsError(f"{printable(str(source))}: more than {MOST_FILES} files")
        return found
    return [source]


def _is_table(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    return _plain(path).suffix.lower() in SUFFIXES


def _bare(name: str) -> str:
    """A file's name without folders and the suffixes of tables, which may have dots of its own."""
    path = _plain(Path(name))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def _name(path: Path, source: Path) -> str:
    inside = path.relative_to(source) if path != source else Path(path.name)
    return cut(printable(str(inside)), 200)


def _run_name(value: object) -> str:
    return text(value) if isinstance(value, float) else str(value)


def _is_json(path: Path) -> bool:
    return _plain(path).suffix.lower() in (".jsonl", ".ndjson", ".json")


def _csv(path: Path) -> pd.DataFrame:
    with _opened(path) as file:
        head = file.readline(LONGEST_LINE)
    if not head.strip():
        raise ValueError("it is empty")
    counts = {one: head.count(one) for one in SEPARATORS}
    separator = max(counts, key=lambda one: counts[one])
    names = next(csv.reader([head], delimiter=separator, skipinitialspace=True))
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise ValueError(f"two columns are called {twice!r}")
    with _opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of cells that would be dropped
        cells = pd.read_csv(
            file,
            sep=separator if counts[separator] else ",",
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            index_col=False,
        )
    return cells.rename(columns=lambda name: cut(str(name), 200))


def _json_lines(path: Path) -> pd.DataFrame:
    with _opened(path) as file:
        rows = [json.loads(line) for line in file if line.strip()]
    if len(rows) == 1 and isinstance(rows[0], list):
        rows = rows[0]
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("a line is no object")
    return pd.DataFrame([{k: _cell(v) for k, v in flat(row).items()} for row in rows], dtype=str)


def _opened(path: Path) -> TextIO:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener = openers.get(path.suffix.lower(), open)
    return opener(path, "rt", encoding="utf-8-sig")  # type: ignore[no-any-return]


def _cell(value: Param) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _numbers(column: pd.Series) -> pd.Series:
    """A column of text as numbers, if it is one."""
    cells = column.fillna("").astype(str).str.strip()
    small = cells.str.lower()
    empty = small.isin(_EMPTY)
    marked = small.isin(_NUMBERS)
    numbers = pd.to_numeric(cells.mask(empty | marked), errors="coerce")
    if (numbers.isna() & ~empty & ~marked).any() or empty.all():
        return cells.mask(empty)
    numbers = numbers.astype(np.float64)
    numbers[marked | ~np.isfinite(numbers.fillna(0.0))] = NOT_FINITE
    return numbers


def _split(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Param]]:
    """The columns of numbers, and what those of text say where they say one thing."""
    numeric = [name for name in rows if rows[name].dtype == np.float64]
    texts: dict[str, Param] = {}
    for name in rows:
        if name in numeric:
            continue
        values = rows[name].dropna().unique()
        if len(values) == 1:
            texts[str(name)] = cut(str(values[0]), 300)
    return rows[numeric].reset_index(drop=True), texts
