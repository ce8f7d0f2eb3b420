"""What is deployed, as far as no server is needed to see it; tests/end_to_end deploys for real."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
    "deployments"
]


def deploy(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "flows.deploy", "--prefect-file", str(ROOT / "prefect.yaml")],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_without_a_server_it_says_how_to_have_one(tmp_path: Path) -> None:
    done = deploy(tmp_path)
    assert done.returncode == 1 and "make serve" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    # discard's port: nobody listens there
    done = deploy(
        tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0"
    )
    assert done.returncode == 1 and "http://127.0.0.1:9/api" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["entrypoint"])
def test_every_deployment_is_a_flow_on_a_pool_and_is_watched(deployment: dict[str, Any]) -> None:
    from components.steps.step import SCHEDULED_TRAINING, SWEEP_SHARD
    from flows.deploy import HEARTBEAT, POOLS, TAG

    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    pool = deployment["work_pool"]
    assert pool["name"] in POOLS and deployment["description"]
    # else the watch would take a living run for dead, or a dead one for living
    assert TAG in deployment["tags"]
    beat = pool["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    assert float(beat) == HEARTBEAT.total_seconds()
    asked_for = {
        "pipeline/on-demand",
        "nightly-retraining/nightly",
        SWEEP_SHARD,
        SCHEDULED_TRAINING,
    }
    assert f"{flow.name}/{deployment['name']}" in asked_for and len(DEPLOYMENTS) == len(asked_for)


def test_the_schedules_name_is_its_time_and_zone() -> None:
    for deployment in DEPLOYMENTS:
        for schedule in deployment.get("schedules", []):
            minute, hour, *rest = schedule["cron"].split()
            assert rest == ["*", "*", "*"]
            said = f"every day at {int(hour):02}:{int(minute):02} {schedule['timezone']}"
            assert schedule["slug"] == said


def test_no_two_deployments_have_one_name() -> None:
    names = [deployment["name"] for deployment in DEPLOYMENTS]
    assert len(set(names)) == len(names)
