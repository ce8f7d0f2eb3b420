"""The code that a registered model carries, so that it loads where this project is not installed.

The modules that the LODE's scheduler needs are copied under a package name of their own,
`lode_core_<digest>`. A user's own `components` package cannot get in the way, and two models of
different revisions live side by side in one process.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from pathlib import Path

PACKAGE = "components"
ENTRY = ("components.lode.model", "components.lode.scheduler")
_IMPORT = re.compile(rf"^(\s*(?:from|import)\s+){PACKAGE}(?=[.\s])", re.MULTILINE)


def needed_modules(entry: tuple[str, ...] = ENTRY) -> dict[str, str]:
    """Source by module name of everything of this project that `entry` imports, at any depth."""
    sources: dict[str, str] = {}
    waiting = list(entry)
    while waiting:
        name = waiting.pop()
        path = _source_file(name)
        if name in sources or path is None:
            continue
        sources[name] = path.read_text(encoding="utf-8")
        parents = name.split(".")[:-1]
        waiting += [".".join(parents[: i + 1]) for i in range(len(parents))]
        waiting += _imports(sources[name])
    return dict(sorted(sources.items()))


def ship(folder: Path) -> Path:
    """Write the package below `folder`; returns its path, whose name is the package's."""
    sources = needed_modules()
    packages = {name.rpartition(".")[0] for name in sources} | {PACKAGE}
    text = "\0".join(f"{name}\0{source}" for name, source in sources.items())
    package = f"lode_core_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    for name, source in sources.items():
        parts = [package, *name.split(".")[1:]]
        parts = [*parts, "__init__"] if name in packages else parts
        path = folder.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_IMPORT.sub(rf"\g<1>{package}", source), encoding="utf-8")
    return folder / package


def _source_file(module: str) -> Path | None:
    """None for what is no module of this project, such as a name imported from one."""
    if module.partition(".")[0] != PACKAGE:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imports(source: str) -> list[str]:
    """What a module imports when it runs: not what only a type checker reads."""
    names: list[str] = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from components.lode import fused` names a module, `… import LODE` does not
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
