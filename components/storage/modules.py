"""Which modules of this project a module imports, at any depth, read from their source.

Nothing is imported to find out, so that it costs milliseconds, and a module whose import fails
here (a tool that is not installed) is read all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from components.storage.digests import file_digest

PACKAGE = "components"
_FOLDER = Path(__file__).resolve().parents[1]  # the package's own
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
_NEVER_RUNS = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imported_modules(*entry: str, barred: tuple[str, ...] = ()) -> dict[str, str]:
    """Source by module name of everything of this project that `entry` imports, sorted by name.

    `entry` itself and the packages around every module are among them; so are modules imported
    inside functions, and not those imported under `if TYPE_CHECKING`, which never run. A module
    that is only named in a string (`importlib.import_module("…")`) is not seen: name it in `entry`.

    Args:
        entry: dotted names of modules, e.g. `components.lode.fit`.
        barred: rooms (`settings`) that are neither listed nor looked into, `entry` excepted.

    Raises:
        ModuleNotFoundError: an `entry` is no module of this project.
    """
    for name in entry:
        if _file(name) is None:
            raise ModuleNotFoundError(f"{name} is no module of this project", name=name)
    rooms, sources = [[room] for room in barred], dict[str, str]()
    waiting = list(entry)
    while waiting:
        name = waiting.pop()
        known = name in sources or (name not in entry and name.split(".")[1:2] in rooms)
        path = None if known else _file(name)
        if path is None:
            continue
        status = path.stat()
        sources[name], names = _read(name, path, status.st_mtime_ns, status.st_size)
        waiting += names
    return dict(sorted(sources.items()))


def source_digests(modules: Iterable[str]) -> dict[str, str]:
    """Digest of the source of each of these modules that is there: told without parsing any."""
    files = {name: path for name in modules if (path := _file(name)) is not None}
    return {name: file_digest(path) for name, path in files.items()}


def _file(module: str) -> Path | None:
    """None for what is no module of this project, such as a name imported from one."""
    package, *parts = module.split(".")
    if package != PACKAGE:
        return None
    path = _FOLDER.joinpath(*parts)
    for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=1024)
def _read(module: str, path: Path, _mtime_ns: int, _size: int) -> tuple[str, tuple[str, ...]]:
    """Source of a module and the names it may depend on: those it imports, the packages around."""
    source = path.read_text(encoding="utf-8")
    parents = module.split(".")[:-1]
    around = [".".join(parents[: i + 1]) for i in range(len(parents))]
    inside = module if path.name == "__init__.py" else ".".join(parents)
    return source, tuple(dict.fromkeys([*around, *_imports(source, inside)]))


def _imports(source: str, package: str) -> list[str]:
    """What a module of `package` imports when it runs: not what only a type checker reads."""
    names: list[str] = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER_RUNS:
            waiting += node.orelse
            continue
        waiting += statements(node)
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            # `from components.lode import kernels` names a module, `… import LODE` does not
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return names


def statements(node: ast.AST) -> list[ast.AST]:
    """What of the node's children is or holds statements: a tenth of all nodes, and no other
    imports anything or has a docstring."""
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, _STATEMENTS)]


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The module or package that names are imported from, a relative one made absolute."""
    if not node.level:
        return node.module or ""
    around = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*around, *([node.module] if node.module else [])])
