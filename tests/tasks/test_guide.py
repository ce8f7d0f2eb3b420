"""docs/guides/your-own-task.md, followed to the letter in a workspace."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from components.tasks.catalog import TASKS

ROOT = Path(__file__).parents[2]
LODE = ".venv/bin/lode"
PAGE = ROOT / "docs/guides/your-own-task.md"
BLOCK = re.compile(r"`(\S+)`:\n\n```(python|yaml)\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_the_guide_makes_a_task_that_trains(workspace: Path) -> None:
    page = PAGE.read_text()
    (file, _, code), (params, _, entry) = BLOCK.findall(page)
    assert params == "params.yaml" and page.count("```python") == page.count("```yaml") == 1
    (workspace / file).write_text(code)
    settings = (workspace / params).read_text()
    assert settings.count("\ntasks: {}") == 1
    (workspace / params).write_text(re.sub(r"\ntasks: \{\}.*\n", f"\n{entry}", settings, count=1))

    def run(*command: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=workspace,
            env=environment,
            text=True,
            capture_output=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (shell,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    commands = [shlex.split(line) for line in shell.splitlines()]
    assert [command[:2] for command in commands] == [[LODE, "tasks"], [LODE, "train"]]
    said = [run("components.cli", *command[1:]) for command in commands]
    assert "tumours-mlp " in said[0]
    accuracy = re.search(r"tumours-mlp onecycle 0\.01 seed 0: test ([\d.]+);", said[1])
    assert accuracy and float(accuracy[1]) > 0.85
    run("ruff", "check", "--ignore=I001", str(workspace / file))  # which packages are whose
    rules = f"--config={ROOT / 'pyproject.toml'}"
    run("ruff", "format", "--check", rules, str(workspace / file))


def test_every_task_is_described() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \|.*\|([^|]+)\|[^|]+\|$", (PAGE.parent / "tasks.md").read_text(), re.M
    )
    assert [name for name, _ in rows] == list(TASKS)
    for name, network in rows:
        parameters = sum(p.numel() for p in TASKS[name].network().parameters())
        assert network.strip().endswith(f", {parameters:,}"), name
