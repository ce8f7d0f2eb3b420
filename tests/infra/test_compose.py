"""compose.yaml, read by the real tool and held to its rules: it cannot be started here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

INFRA = Path(__file__).parents[2] / "infra"
COMPOSE = INFRA / "compose.yaml"
REQUIRED = sorted(set(re.findall(r"\$\{([A-Z0-9_]+):\?", COMPOSE.read_text())))


def config(tool: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool, "--profile", "gpu", "-f", COMPOSE, "config"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/tmp", **environment},
    )


@pytest.fixture
def tool(needs_system: Any) -> Path:
    return Path(needs_system("/usr/bin/docker-compose", "docker-compose"))


@pytest.fixture
def services(tool: Path) -> dict[str, Any]:
    done = config(tool, **dict.fromkeys(REQUIRED, "x:y"))
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout)["services"])


def test_it_has_everything(services: dict[str, Any]) -> None:
    assert {"postgres", "prefect", "mlflow", "cpu-worker", "gpu-worker", "setup"} <= set(services)
    assert "nvidia" in str(services["gpu-worker"]["deploy"]), "the GPU is reserved"


@pytest.mark.parametrize("name", REQUIRED)
def test_without_a_secret_it_says_which(tool: Path, name: str) -> None:
    done = config(tool, **{key: "x:y" for key in REQUIRED if key != name})
    assert done.returncode != 0 and f"set {name}" in done.stderr


def test_secrets_are_in_no_file() -> None:
    """Whatever is called a secret is taken from the environment."""
    secret = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY)\w*\s*[:=]\s*(\S.*)")
    for path in [p for p in INFRA.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".md")]:
        for line in path.read_text().splitlines():
            found = secret.search(line.split("#")[0])
            given = not found or "$" in found[2] or re.match(r"'\w+'", found[2])  # psql's :'name'
            assert given or path.suffix == ".py", f"{path.name}: {line}"


def test_ports_are_loopback_images_pinned_and_nobody_is_root(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), f"{name} publishes {port}"
        assert re.search(r":\d+[\w.-]*|:RELEASE", service["image"]), f"{name}: {service['image']}"
        assert not service.get("privileged")
        assert str(service["user"]).split(":")[0] not in ("0", "root"), name
        assert service["cap_drop"] == ["ALL"], name


def test_what_stays_up_is_checked_and_starts_in_order(services: dict[str, Any]) -> None:
    for name in ("postgres", "prefect", "mlflow"):
        assert "test" in services[name]["healthcheck"], name
    waits = services["prefect"]["depends_on"]
    assert waits["postgres"]["condition"] == "service_healthy"


def test_the_images_it_builds_are_targets_of_the_dockerfile(services: dict[str, Any]) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)", (INFRA / "images/Dockerfile").read_text(), re.M)
    built = {s["build"]["target"] for s in services.values() if "build" in s}
    assert built and built <= set(stages)
