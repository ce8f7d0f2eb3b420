"""Data Docs open without the network and show what was found."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.training.history import write_history
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
    assert {path.name for path in reports.iterdir()} == {"data_docs", "validation.json"}
    for page in docs.iterdir():
        html = page.read_text()
        assert "http" not in html and "<script" not in html, page.name
        linked = set(re.findall(r'href="([^"#]+)"', html))
        assert all((docs / target).is_file() for target in linked), page.name
    index = (docs / "index.html").read_text()
    assert bad.run_id in index and "train_loss is not a number" in index
    assert bad.run_id in (docs / "points.html").read_text(), "Great Expectations names the row"


def test_importing_the_package_does_not_pay_for_great_expectations() -> None:
    code = "import sys, components.validation; print('great_expectations' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
