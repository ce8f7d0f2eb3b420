"""docs/guides/your-own-task.md, followed to the letter in a copy of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.tasks.catalog import TASKS

ROOT = Path(__file__).parents[2]
LODE = ".venv/bin/lode"
PAGE = ROOT / "docs/guides/your-own-task.md"
BLOCK = r"```(?:python|text)\n(.*?)```"  # ruff would reformat single lines as python
NEW_FILE = re.compile(rf"^`(\S+)`:\n\n{BLOCK}", re.MULTILINE | re.DOTALL)
NEW_LINES = re.compile(
    rf"^In `([^`\n]+)`, below `([^`\n]+)`[^`]*?:\n\n{BLOCK}", re.MULTILINE | re.DOTALL
)


def follow(page: str, root: Path) -> list[Path]:
    """Write the page's file and insert its lines; returns the files touched."""
    files = NEW_FILE.findall(page)
    for name, content in files:
        assert not (root / name).exists()
        (root / name).write_text(content)
    lines = NEW_LINES.findall(page)
    for name, above, added in lines:
        text = (root / name).read_text()
        assert text.count(f"\n{above}\n") == 1, f"{name} does not have one line {above!r}"
        (root / name).write_text(text.replace(f"\n{above}\n", f"\n{above}\n{added}"))
    assert len(files) + len(lines) == len(re.findall(BLOCK, page, re.DOTALL)), (
        "a block without a place"
    )
    return [root / name for name, *_ in files + lines]


@pytest.mark.slow
def test_the_guide_makes_a_task_that_trains(tmp_path: Path) -> None:
    tests = ("tests/tasks", "tests/conftest.py", "tests/tiny.py")
    for name in ("components", *tests, "pyproject.toml", "params.yaml"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    page = PAGE.read_text()
    touched = follow(page, tmp_path)

    def run(*command: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
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
    run(
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/tasks/test_catalog.py",
        "-k",
        "tumours or names_are_those",
    )
    run("ruff", "check", *map(str, touched))
    run("ruff", "format", "--check", *map(str, touched))


def test_every_task_is_described() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \|.*\|([^|]+)\|[^|]+\|$", (PAGE.parent / "tasks.md").read_text(), re.M
    )
    assert [name for name, _ in rows] == list(TASKS)
    for name, network in rows:
        parameters = sum(p.numel() for p in TASKS[name].network().parameters())
        assert network.strip().endswith(f", {parameters:,}"), name
