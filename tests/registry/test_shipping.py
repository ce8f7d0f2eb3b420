"""What a model carries: all the code it needs, none that it does not, under a name of its own."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from components.registry import packaging
from components.registry.shipping import needed_modules, ship


def test_the_closure_of_the_scheduler_is_shipped_and_refers_only_to_itself(tmp_path: Path) -> None:
    modules = set(needed_modules())
    assert {"components", "components.lode.solver", "components.training.run"} <= modules
    assert {"components.lode.judge", "components.schedulers.plan"} <= modules
    assert {"components.lode.settings", "components.lode.opening"} <= modules
    rooms = {m.split(".")[1] for m in modules if m != "components"}
    expected = {"adapters", "lode", "schedulers", "storage", "tasks", "training"}
    assert rooms == expected, "no evaluation, no registry"
    tasks = {m for m in modules if m.startswith("components.tasks.")}
    assert tasks == {"components.tasks.errors", "components.tasks.rates"}, "nothing is trained"
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


def test_what_the_shipped_code_imports_is_among_the_models_requirements(tmp_path: Path) -> None:
    sources = [path.read_text() for path in ship(tmp_path).rglob("*.py")]
    sources.append(Path(packaging.__file__).with_name("pyfunc_lode.py").read_text())
    imported = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    foreign = {name for name in imported if not name.startswith("lode_core_")}
    foreign = {name.replace("_", "-") for name in foreign - set(sys.stdlib_module_names)}
    assert foreign | {"pyarrow"} == set(packaging.REQUIRES)
