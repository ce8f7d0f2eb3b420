"""The end of `make demo`, and `lode table`."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.metric import Metric
from components.evaluation.notation import NONE
from components.evaluation.ranking import Configuration, configurations, standing
from components.evaluation.result_tables import text_table
from components.evaluation.tables import Table
from components.runs.sweep_histories import sweep_histories
from components.settings import Settings
from components.steps.results import read_evaluation
from components.storage.workspace import Workspace
from components.training.history import History

SHOWN = 10  # of a ranking's configurations


def result_table(settings: Settings, workspace: Workspace) -> str:
    """The comparison as text, and where the report lies; of imported histories, which nothing was
    compared with, how their configurations rank."""
    if settings.own is not None and settings.own.imported:
        found = ranking(sweep_histories(settings.task, workspace))
        return f"{found}\nthe LODE and its plan: {workspace.lode(settings.task)}"
    evaluation = read_evaluation(workspace.evaluation(settings.task))
    return f"{text_table(evaluation)}\nreport: {workspace.page(settings.task)}"


def ranking(histories: Sequence[History]) -> str:
    """Configurations of runs, the best first: scheduler, peak lr, runs, validation metric."""
    metric = Metric.of(histories)
    ranked = sorted(configurations(histories), key=standing, reverse=True)
    rows = [_row(one, metric) for one in ranked[:SHOWN]]
    columns = ("scheduler", "peak lr", "runs", f"validation {metric.name}{metric.column}")
    more = f"\nand {len(ranked) - SHOWN} configurations more" if len(ranked) > SHOWN else ""
    return Table.of(columns, rows).text() + more


def _row(one: Configuration, metric: Metric) -> tuple[str, str, str, str]:
    peak = NONE if one.peak_lr is None else f"{one.peak_lr:g}"
    return one.scheduler, peak, str(one.validation.n), metric.spread(one.validation)
