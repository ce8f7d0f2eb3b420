"""Data Docs open without the network and show what was found."""

from __future__ import annotations

import errno
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.training.history import write_history
from components.validation import docs
from components.validation.errors import ValidationError
from components.validation.validate import validate

from .conftest import PEAK_LRS, SCHEDULERS, SEEDS, N, T, make_history, write_sweep


@pytest.mark.slow
def test_pages_name_the_quarantined_run_and_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    folder, reports = tmp_path / "histories", tmp_path / "reports"
    write_sweep(folder)
    bad = make_history("onecycle", 0.05, 1)
    bad.points.loc[3, "train_loss"] = math.nan
    write_history(bad, folder)
    for _ in range(2):  # the second time replaces the pages of the first
        validate(
            folder,
            report_dir=reports,
            task="mnist1d-cnn",
            schedulers=SCHEDULERS,
            peak_lrs=PEAK_LRS,
            seeds=SEEDS,
            updates=N,
            points=T,
        )

    docs = reports / "data_docs"
    tables = ["cells", "files", "points", "runs", "sweep"]
    expected = {"index.html", *(f"{t}.html" for t in tables), *(f"suite-{t}.html" for t in tables)}
    assert {path.name for path in docs.iterdir()} == expected
    assert {path.name for path in reports.iterdir()} == {
        "data_docs",
        "validation.json",
        "accepted.json",
    }
    for page in docs.iterdir():
        html = page.read_text()
        assert "http" not in html and "<script" not in html, page.name
        linked = set(re.findall(r'href="([^"#]+)"', html))
        assert all((docs / target).is_file() for target in linked), page.name
    index = (docs / "index.html").read_text()
    assert bad.run_id in index and "train_loss is not a number" in index
    assert bad.run_id in (docs / "points.html").read_text(), "Great Expectations names the row"


EVIL = "<img src=x onerror=alert(9)> & \"quoted\" '$HOME' ${x} {{ x }}"


class Tags(HTMLParser):
    """Every tag and attribute of a page, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.found |= {name for name, _ in attrs}
        self.found |= {f"src={value}" for name, value in attrs if name == "src"}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_word_of_a_file_is_a_tag_of_a_page(tmp_path: Path) -> None:
    """File names, schedulers, and what readers say of them; compared with a folder without."""
    evil = f"cosine {EVIL}"
    pages: dict[str, dict[str, Tags]] = {}
    for kind in ("plain", "evil"):
        folder, reports = tmp_path / kind / "histories", tmp_path / kind / "reports"
        write_sweep(folder)
        for path in (f"{EVIL}.parquet", "\x1b[31m\n.parquet", os.fsdecode(b"\xff.parquet")):
            (folder / (path if kind == "evil" else f"{len(path)}.parquet")).write_bytes(b"x")
        bad = make_history("constant", 0.05, 0, task="other")
        bad.meta["scheduler"] = evil if kind == "evil" else "linear"
        write_history(bad, folder)
        diverged = make_history("constant", 0.01, 0)
        diverged.meta |= {"scheduler": bad.meta["scheduler"], "status": "diverged"}
        write_history(diverged, folder)
        with pytest.raises(ValidationError, match=r"no Parquet file") as stopped:
            validate(
                folder,
                report_dir=reports,
                task="mnist1d-cnn",
                schedulers=[*SCHEDULERS, diverged.meta["scheduler"]],
                peak_lrs=PEAK_LRS,
                seeds=SEEDS,
                updates=N,
                points=T,
            )
        pages[kind] = {page.name: Tags(page) for page in (reports / "data_docs").iterdir()}
    assert f"{EVIL}.parquet" in str(stopped.value) and "\\xdcff.parquet" in str(stopped.value)
    assert pages["evil"].keys() == pages["plain"].keys()
    for name, page in pages["evil"].items():
        assert page.found <= pages["plain"][name].found, name
    shown = pages["evil"]
    assert EVIL in shown["files.html"].text and EVIL in shown["index.html"].text
    assert EVIL in (tmp_path / "evil/reports/validation.json").read_text().replace('\\"', '"')


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("place", ["pages", "index", "folder"])
def test_where_pages_cannot_be_written_the_report_of_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, place: str
) -> None:
    report, outcome = tmp_path / "validation.json", SimpleNamespace(table="files")
    result = SimpleNamespace(outcomes=[outcome])

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    def build(folder: Path) -> None:
        if place != "pages":  # else Great Expectations logs the error, and goes on
            for kind in ("expectations", "validations/files"):
                (folder / kind).mkdir(parents=True)
                (folder / kind / "files.html").write_text("")

    (tmp_path / "data_docs").mkdir()
    (tmp_path / "data_docs" / "index.html").write_text("before")
    if place != "pages":
        monkeypatch.setattr(docs, "_index" if place == "index" else "_flatten", fail)
    checker = SimpleNamespace(write_docs=build)
    with pytest.raises(ValidationError, match=r"data_docs: the pages cannot be written"):
        docs.write(checker, result, tmp_path / "data_docs")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["data_docs"], "nothing half"
    assert (tmp_path / "data_docs" / "index.html").read_text() == "before"
    assert not report.exists()


def test_importing_the_package_does_not_pay_for_great_expectations() -> None:
    code = "import sys, components.validation; print('great_expectations' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
