"""What a model carries: all the code it needs, none that it does not, under a name of its own."""

from __future__ import annotations

import ast
from pathlib import Path

from components.registry.shipping import needed_modules, ship


def test_the_closure_of_the_scheduler_is_shipped_and_refers_only_to_itself(tmp_path: Path) -> None:
    modules = set(needed_modules())
    assert {"components", "components.lode.solver", "components.training.run"} <= modules
    assert {"components.lode.judge", "components.schedulers.plan"} <= modules
    assert not {m for m in modules if m.split(".")[1:2] in (["registry"], ["tasks"], ["settings"])}
    assert (
        not {"components.lode.fit", "components.lode.judge_fit", "components.pilots.campaign"}
        & modules
    )
    package = ship(tmp_path)
    assert package.name == ship(tmp_path / "again").name, "the name follows from the content"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert {"__init__.py", "lode/__init__.py", "lode/scheduler.py"} <= files
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("components"), path
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith("components") for a in node.names), path
