"""The end of `make demo`, and `lode table`."""

from __future__ import annotations

from components.evaluation.result_tables import text_table
from components.settings import Settings
from components.steps.results import read_evaluation
from components.storage.workspace import Workspace


def result_table(settings: Settings, workspace: Workspace) -> str:
    """The comparison as text, and where the report lies."""
    found = read_evaluation(workspace.evaluation(settings.task))
    return f"{text_table(found)}\nreport: {workspace.page(settings.task)}"
