"""What a flow run shows in Prefect's UI: result, figures, validation summary.

Everything is read from the report's files, so it is the same when a step had nothing to do.
"""

from __future__ import annotations

import base64
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from components.evaluation.decision import decide
from components.evaluation.figures import captioned, figure_path
from components.evaluation.result_tables import TABLES
from components.evaluation.results import Evaluation, ValidationReport
from components.evaluation.tables import Table
from components.evaluation.wording import finer_search
from components.registry.connection import RegistryError
from components.registry.report import report_address
from components.settings import Settings
from components.steps.results import read_evaluation, read_registration, read_validation_report
from components.storage.workspace import Workspace, WorkspaceError
from flows.server import running_server

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
    create_markdown_artifact(
        key=f"result-{name}",
        markdown=result(evaluation, where_the_report_is(settings, workspace)),
        description=in_short(evaluation),
    )
    create_markdown_artifact(
        key=f"figures-{name}",
        markdown=figures(evaluation, workspace.figures(name)),
        description="The report's figures: test results, learning rates, training, the sweep.",
    )
    create_markdown_artifact(
        key=f"validation-{name}",
        markdown=validation_summary(read_validation_report(workspace.validation(name))),
        description="Which runs may teach the LODE, and which were quarantined and why.",
    )


def where_the_report_is(settings: Settings, workspace: Workspace) -> str:
    """A link to the report on the MLflow server there is, and its path; in Markdown."""
    path = f"On the worker's machine: `{workspace.page(settings.task)}`"
    server = mlflow_server(settings, workspace)
    if server is None:
        return path
    try:
        version = read_registration(workspace.registration(settings.task)).version
        address = report_address(server, settings.task, version)
    except (RegistryError, WorkspaceError) as error:  # the results are worth showing all the same
        get_run_logger().warning(f"no link to the report: {error}")
        return path
    return f"[The report, on MLflow's page]({address}). {path}" if address else path


def mlflow_server(settings: Settings, workspace: Workspace) -> str | None:
    """The address of the MLflow server that shows what is registered; None: there is none."""
    uri = settings.registry.tracking_uri
    if uri.startswith("http"):
        return uri
    served = running_server(workspace)
    return served.get("mlflow") if served else None


def in_short(evaluation: Evaluation) -> str:
    """The decision in a line, which the run's page shows of the artifact."""
    return decide(evaluation).use


def result(evaluation: Evaluation, report: str) -> str:
    """What came out: the decision, with its notes, and the tables; as Markdown.

    Args:
        report: where the report is, as Markdown.
    """
    use, *answers = decide(evaluation).lines()
    listed = "\n".join(f"- {answer}" for answer in answers)
    parts = [f"**{use}**", listed, *finer_search(evaluation), *evaluation.notes, report]
    for entry in TABLES:
        table = entry.table(evaluation)
        if table.rows:
            parts += [f"## {entry.title}", table.markdown(), entry.caption(evaluation)]
    return "\n\n".join(parts)


def figures(evaluation: Evaluation, folder: Path) -> str:
    """Those that were drawn, each with its title and caption; as Markdown."""
    # an image artifact would print the URL, which is the whole picture, below it
    return "\n\n".join(
        f"## {caption.title}\n\n![{caption.alternative}]({data_url(figure_path(folder, name))})\n\n"
        f"{caption.text}"
        for name, caption in captioned(evaluation, folder).items()
    )


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
