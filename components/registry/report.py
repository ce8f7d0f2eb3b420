"""What the evaluation found, on the pages of the version that it evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from components.registry.connection import connect
from components.registry.models import weights_digest
from components.registry.registration import model_name

ARTIFACTS = "evaluation"  # the folder among the run's artifacts
PAGE = "index.html"  # among them; it holds its figures


def log_report(
    lode_dir: Path,
    *,
    task: str,
    version: int,
    tracking_uri: str,
    figures: Mapping[str, float],
    files: Sequence[Path],
    metrics: Mapping[str, float] = MappingProxyType({}),
) -> bool:
    """Log figures, as metrics and tags, further metrics, and files to a version's run; again, they
    are replaced.

    Returns:
        Whether it was: a version of other weights than those in `lode_dir` gets nothing.

    Raises:
        RegistryError: the registry is unreachable, or has no such version.
    """
    with connect(tracking_uri) as client:
        found = client.get_model_version(model_name(task), str(version))
        if not found.run_id or found.tags.get("weights_digest") != weights_digest(lode_dir):
            return False
        for name, value in {**metrics, **figures}.items():
            client.log_metric(found.run_id, name, value)
        for name, value in figures.items():
            client.set_model_version_tag(found.name, found.version, name, f"{value:.4f}")
        for path in files:
            if path.is_dir():
                client.log_artifacts(found.run_id, str(path), f"{ARTIFACTS}/{path.name}")
            elif path.exists():
                client.log_artifact(found.run_id, str(path), ARTIFACTS)
        return True


def report_address(server: str, task: str, version: int) -> str | None:
    """Where an MLflow server shows the report that `log_report` logged with a version.

    Args:
        server: its address, `http://…`.

    Returns:
        None if the version has no report.

    Raises:
        RegistryError: the server is unreachable, or has no such version.
    """
    path = f"{ARTIFACTS}/{PAGE}"
    with connect(server) as client:
        run_id = client.get_model_version(model_name(task), str(version)).run_id
        if not run_id or path not in {one.path for one in client.list_artifacts(run_id, ARTIFACTS)}:
            return None
        experiment = client.get_run(run_id).info.experiment_id
    shown = re.sub(r"//[^/@]*@", "//", server).rstrip("/")  # without its password
    run = f"{shown}/#/experiments/{experiment}/runs/{run_id}"
    return f"{run}/artifacts/{path}?workflowType=machine_learning"  # not among language models
