"""The rules between rooms hold: what they forbid is planted in a copy, and `lint-imports` fails."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from components.storage.modules import imported_modules

ROOT = Path(__file__).parents[1]
ROOMS = sorted(p.name for p in (ROOT / "components").iterdir() if (p / "__init__.py").exists())
# Every tool, planted in every room but its own.
TOOLS = {
    "prefect": {"flows"},
    "mlflow": {"components/registry"},
    "optuna": {"components/sweep"},
    "great_expectations": {"components/validation"},
    "dvc": set[str](),
}
CORE = ("tasks", "training", "schedulers", "lode", "evaluation", "storage")
# One line, in a module of a room; each must break the rules.
PLANTED = [
    *(
        (f"components/{room}", f"import {tool}")
        for tool, own in TOOLS.items()
        for room in ROOMS
        if f"components/{room}" not in own
    ),
    *(("flows", f"import {tool}") for tool in ("mlflow", "optuna", "great_expectations", "dvc")),
    *((f"components/{room}", "import pydantic") for room in CORE),
    *((f"components/{room}", "import flows.pipeline") for room in ROOMS),
    *((f"components/{room}", "import lode") for room in ROOMS),
    ("lode", "import flows.pipeline"),
    ("lode", "import mlflow"),
    ("components/lode", "from components.adapters import torch_scheduler"),
    ("components/registry", "from components.adapters import torch_scheduler"),
    ("components/training", "from components.pilots import campaign"),
    ("components/tasks", "from components.evaluation import figures"),
    ("components/storage", "import components.settings"),
    ("components/training", "from components.schedulers import plan"),
    ("components/evaluation", "from components.lode import model"),
    ("components/runs", "from components.steps import pipeline"),
    ("components/sweep", "from components.pilots import budget"),
    ("components/registry", "from components.validation import accepted"),
    ("components/steps", "from components.retraining import gate"),
    ("components/retraining", "from components.cli import main"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for name in ("components", "flows", "lode"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)


def test_as_it_is_every_rule_holds(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


def test_every_forbidden_import_breaks_a_rule(copy: Path) -> None:
    """All planted at once, each in a module of its own; each must be named in the output."""
    planted = []
    for number, (room, line) in enumerate(PLANTED):
        inside = number % 2 == 0  # an import inside a function counts like one at the top
        text = f"def f():\n    {line}\n" if inside else f"{line}\n"
        path = copy / room / f"planted_{number}.py"
        path.write_text(text)
        planted.append(path)
    try:
        done = lint(copy)
    finally:
        for path in planted:
            path.unlink()
    assert done.returncode != 0
    unseen = [
        f"{room}: {line}"
        for number, (room, line) in enumerate(PLANTED)
        if f"planted_{number} " not in done.stdout and f"planted_{number}\n" not in done.stdout
    ]
    assert not unseen, unseen


def test_a_room_that_is_not_listed_breaks_a_rule(copy: Path) -> None:
    room = copy / "components" / "attic"
    room.mkdir()
    (room / "__init__.py").touch()
    try:
        done = lint(copy)
    finally:
        shutil.rmtree(room)
    assert done.returncode != 0 and "attic" in done.stdout


def test_there_is_no_circle_between_rooms() -> None:
    """Imports inside functions count, those for a type checker do not."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "components").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        room = name.split(".")[1:2]
        for other in direct(name):
            if room and other.split(".")[1:2] not in ([], room):
                arrows[room[0]].add(other.split(".")[1])
    for room in list(arrows):
        assert room not in reached(room, arrows), f"{room} leads back to itself"


def direct(name: str) -> set[str]:
    """The modules that one imports itself."""
    others = imported_modules(name)
    source = ast.parse(others.pop(name))
    skipped = {
        inner
        for node in ast.walk(source)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    found: set[str] = set()
    for node in set(ast.walk(source)) - skipped:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(others)


def reached(room: str, arrows: dict[str, set[str]]) -> set[str]:
    found, waiting = set[str](), list(arrows[room])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += arrows.get(one, ())
    return found
