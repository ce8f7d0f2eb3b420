"""What the committed configuration promises: pins, silence, and a fast `--help`."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURSELVES = {"lode-pipeline", "pip"}  # pip comes with the venv


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+-]+", line) for line in lines)
    return {canonical(name): version for name, version in (line.split("==") for line in lines)}


def test_the_lock_pins_every_installed_package() -> None:
    installed = {canonical(d.name): d.version for d in metadata.distributions()}
    found = {name: pins().get(name) for name in installed if name not in OURSELVES}
    assert found == {name: installed[name] for name in found}


def test_the_lock_pins_what_installs_the_rest() -> None:
    assert {"uv", "setuptools"} <= set(pins())


def test_dvc_asks_and_tells_nobody() -> None:
    config = configparser.ConfigParser()
    config.read_string((ROOT / ".dvc/config").read_text().replace("    ", ""))
    silent = {"analytics": "false", "check_update": "false"}
    assert config["core"] == {**silent, "remote": "local"}


SILENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "true",
}


def without(names: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in names}


def test_importing_the_flows_turns_telemetry_off() -> None:
    code = (
        "import flows.pipeline, os\n"
        "from prefect.settings import get_current_settings\n"
        "assert not get_current_settings().server.analytics_enabled\n"
        f"print({{name: os.environ[name] for name in {list(SILENT)}}} == {SILENT})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=without(SILENT), capture_output=True, text=True
    )
    assert done.stdout.strip() == "True", done.stderr


def test_make_turns_telemetry_off(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text() + "\nshow:\n\t@env\n"
    (tmp_path / "Makefile").write_text(makefile)
    done = subprocess.run(
        ["make", "show"], cwd=tmp_path, env=without(SILENT), capture_output=True, text=True
    )
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert {name: told.get(name) for name in SILENT} == SILENT


def test_make_alone_explains_itself() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    for target in ("demo", "test", "lint", "serve", "bench", "clean"):
        assert f"make {target} " in done.stdout


def test_an_audit_that_asked_nobody_fails() -> None:
    """Where no advisories are reachable: without --strict, pip-audit finds no vulnerabilities."""
    done = subprocess.run(
        ["make", "audit", "--dry-run"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    (command,) = [line for line in done.splitlines() if "pip-audit" in line]
    assert {"--strict", "-r", "requirements.lock"} <= set(command.split())


def test_clean_all_deletes_nothing_unless_sure(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    history = tmp_path / "data/histories/mnist1d-cnn/abc.parquet"
    history.parent.mkdir(parents=True)
    history.touch()
    done = subprocess.run(["make", "clean-all"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "1 histories" in done.stdout and history.exists()


@pytest.mark.parametrize("module", ["components.cli", "flows"])
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__', alter_sys=False)\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'great_expectations', 'optuna', 'pandas', 'dvc'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Usage:" in done.stdout and done.stdout.endswith("heavy: []\n"), done.stdout
