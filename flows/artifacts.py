"""What a flow run shows in Prefect's UI: result table, learning rates, validation summary.

Everything is read from the report's files, so it is the same when a step had nothing to do.
"""

from __future__ import annotations

import base64
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from components.evaluation.figures import figure_path
from components.evaluation.result_tables import comparison_table, result_table
from components.evaluation.results import Evaluation, ValidationReport
from components.evaluation.tables import Table
from components.evaluation.wording import headline
from components.settings import Settings
from components.steps.results import read_evaluation, read_validation_report
from components.storage.workspace import Workspace

LR_FIGURE = "learning_rates"
SHOWN_BAD_RUNS = 20  # the rest is in Data Docs


@task(
    name="publish",
    task_run_name="publish the results as artifacts",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
)
def publish(settings: Settings, workspace: Workspace) -> None:
    """Create the flow run's artifacts from the files in `reports/<task>`."""
    name = settings.task
    evaluation = read_evaluation(workspace.evaluation(name))
    create_table_artifact(
        key=f"result-{name}",
        table=result_table(evaluation).records(),
        description=result_description(evaluation, workspace.page(name)),
    )
    figure = figure_path(workspace.figures(name), LR_FIGURE)
    # an image artifact would print the URL, which is the whole picture, below it
    create_markdown_artifact(
        key=f"learning-rate-{name}",
        markdown=f"![learning rate over training]({data_url(figure)})",
        description="Learning rates: LODE against the best baseline.",
    )
    create_markdown_artifact(
        key=f"validation-{name}",
        markdown=validation_summary(read_validation_report(workspace.validation(name))),
        description="What the Great Expectations suite accepted and quarantined.",
    )


def result_description(evaluation: Evaluation, page: Path) -> str:
    """What the result table is of, the headline, and LODE against each other row, as Markdown."""
    seeds = len(evaluation.setup.seeds)
    about = f"Test {evaluation.metric} of {evaluation.task} on {seeds} fresh seeds. Report: {page}"
    return "\n\n".join([about, headline(evaluation), comparison_table(evaluation).markdown()])


def validation_summary(report: ValidationReport) -> str:
    """The counts, and the quarantined runs with their reasons, as Markdown."""
    counts, bad = report.counts, report.quarantined
    parts = [
        f"**{counts['accepted']} of {counts['runs']} runs accepted**, "
        f"{counts['quarantined']} quarantined; "
        f"{report.met} of {report.expectations} expectations met."
    ]
    if bad:
        rows = [(one.run, "; ".join(one.reasons)) for one in bad[:SHOWN_BAD_RUNS]]
        parts.append(Table.of(("run", "why it was quarantined"), rows).markdown(left=True))
    if len(bad) > SHOWN_BAD_RUNS:
        parts.append(f"… and {len(bad) - SHOWN_BAD_RUNS} more, in Data Docs beside the report.")
    return "\n\n".join(parts)


def data_url(figure: Path) -> str:
    """The picture itself as a URL: the UI needs no access to the workspace."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure.read_bytes()).decode()
