"""What a flow run shows in Prefect's UI: result table, learning rates, validation summary.

Everything is read from the report's files, so it is the same when a step had nothing to do.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from components.settings import Settings
from components.storage.workspace import Workspace

LR_FIGURE = "learning_rates.svg"
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
    evaluation = _read(workspace.evaluation(name))
    create_table_artifact(
        key=f"result-{name}",
        table=result_rows(evaluation),
        description=f"Test {evaluation['metric']} of {name} on {len(settings.evaluation.seeds)} "
        f"fresh seeds. Report: {workspace.page(name)}",
    )
    figure = workspace.reports(name) / "figures" / LR_FIGURE
    # an image artifact would print the URL, which is the whole picture, below it
    create_markdown_artifact(
        key=f"learning-rate-{name}",
        markdown=f"![learning rate over training]({data_url(figure)})",
        description="Learning rates: LODE against the best baseline.",
    )
    create_markdown_artifact(
        key=f"validation-{name}",
        markdown=validation_summary(_read(workspace.validation(name))),
        description="What the Great Expectations suite accepted and quarantined.",
    )


def result_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per scheduler, LODE first; the difference is LODE minus that scheduler."""
    against = evaluation["comparisons"].get("lode", {})
    names = sorted(evaluation["schedulers"], key=lambda name: (name != "lode", name))
    return [_row(name, evaluation["schedulers"][name], against.get(name)) for name in names]


def _row(name: str, result: dict[str, Any], pair: dict[str, Any] | None) -> dict[str, Any]:
    test, cost = result["test"], result["seconds_per_epoch"]
    pair = pair or {}
    return {
        "scheduler": name,
        "peak lr": _number(result["peak_lr"], "g"),
        "test": _spread(test, ".4f"),
        "LODE − this": _number(pair.get("mean"), "+.4f"),
        "95 % interval": f"{_number(pair.get('low'), '+.4f')} … {_number(pair.get('high'), '+.4f')}"
        if pair
        else "–",
        "p": _number(pair.get("p_value"), ".3g"),
        "λ_max": _spread(result["sharpness"], ".3g"),
        "s / epoch": _spread(cost, ".3g"),
        "diverged": result["diverged"],
    }


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _spread(summary: dict[str, Any], form: str) -> str:
    return f"{_number(summary['mean'], form)} ± {_number(summary['std'], form)}"


def validation_summary(validation: dict[str, Any]) -> str:
    """The counts, and the quarantined runs with their reasons."""
    counts, expectations = validation["counts"], validation["expectations"]
    met = sum(bool(expectation["success"]) for expectation in expectations)
    lines = [
        f"**{counts['accepted']} of {counts['runs']} runs accepted**, "
        f"{counts['quarantined']} quarantined; {met} of {len(expectations)} expectations met.",
    ]
    bad = validation["quarantined"]
    if bad:
        lines += ["", "| run | why it was quarantined |", "|---|---|"]
    for run in bad[:SHOWN_BAD_RUNS]:
        reasons = "; ".join(reason["problem"] for reason in run["reasons"])
        lines.append(f"| {run['run']} (`{run['run_id']}`) | {reasons} |")
    if len(bad) > SHOWN_BAD_RUNS:
        lines += ["", f"… and {len(bad) - SHOWN_BAD_RUNS} more, in Data Docs beside the report."]
    return "\n".join(lines)


def data_url(figure: Path) -> str:
    """The picture itself as a URL: the UI needs no access to the workspace."""
    return "data:image/svg+xml;base64," + base64.b64encode(figure.read_bytes()).decode()


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
