"""What readers of the report take away: schedules, figures as PNG, tables as CSV and LaTeX.

They lie beside the page, are in it as `data:` links, and go to MLflow with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components.evaluation.result_tables import TABLES
from components.evaluation.results import Evaluation
from components.storage.files import write_text

# Schedules by file name, and what the page calls them.
SCHEDULES = {
    "schedule.csv": "The recommended schedule (CSV)",
    "plan.json": "LODE's plan (JSON)",
    "plan.csv": "LODE's plan (CSV)",
}


def write_downloads(evaluation: Evaluation, schedules: Mapping[str, str], folder: Path) -> None:
    """Write tables and schedules to a folder; those of a former evaluation go.

    Args:
        schedules: texts of the files of `SCHEDULES` that there are.
    """
    for old in (path for kind in ("csv", "tex", "json") for path in folder.glob(f"*.{kind}")):
        old.unlink()
    for entry in TABLES:
        table = entry.table(evaluation)
        if table.rows:
            write_text(folder / f"{entry.name}.csv", table.csv())
            write_text(folder / f"{entry.name}.tex", table.latex())
    for name in SCHEDULES:
        if name in schedules:
            write_text(folder / name, schedules[name])
