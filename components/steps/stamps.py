"""How a step knows that its output is finished and still belongs to what it was made from.

A step leaves `.lode/stamps/<task>/<step>.json`: the settings it depends on, digests of the code
that did the work and of what it read, and the SHA-256 of every file that came out. What differs
next time is why it runs again, and is said.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.steps.declared import values
from components.storage.digests import file_digest, text_digest
from components.storage.modules import imported_modules, source_digests, statements
from components.storage.typed import DamagedError, read_sealed, write_sealed
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import digest, read_once

if TYPE_CHECKING:
    from components.settings import Settings
    from components.steps.step import Step

# Rooms that move data and compute nothing: a change there makes no other result.
NOT_COMPUTING = ("settings", "storage", "steps")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST = 60  # characters of a value that a message shows
SHOWN = 3  # of what has changed; the rest is counted
PARTS = ("settings", "code", "read", "written")
SOURCE = "source"  # of the code: where that is as it was, so is what it means
Stamp = dict[str, dict[str, Any]]  # these parts, each by name


def stamp_path(workspace: Workspace, task: str, name: str) -> Path:
    return workspace.state / "stamps" / task / f"{name}.json"


def why_stale(step: Step, settings: Settings, workspace: Workspace) -> str | None:
    """What makes the step run: None if its finished output is there; empty if it never ran."""
    before = read_stamp(step.name, settings.task, workspace)
    if before is None:
        return ""
    try:
        now = _stamp(step, settings, workspace, before)
    except (OSError, ValueError, RuntimeError, KeyError):  # what comes before is not there yet
        return "what it needs or made is missing or damaged"
    changed = [name for part in PARTS for name in _differing(before[part], now[part])]
    return _have_changed(changed) if changed else None


def check_settings_of(name: str, settings: Settings, workspace: Workspace) -> None:
    """For a step that reads what the step `name` has made: the settings must still be those.

    Where that step has left no stamp (files from elsewhere, `.lode` deleted) nothing can be said.

    Raises:
        WorkspaceError: it was made with others, or nobody can read with which; says what to run.
    """
    path = stamp_path(workspace, settings.task, name)
    if not path.exists():
        return
    before = read_stamp(name, settings.task, workspace)
    if before is None:
        raise WorkspaceError(f"{path}: damaged, or of another version; run `lode {name}` again")
    now = values(settings, tuple(before["settings"]))
    changed = _differing(before["settings"], now)
    if changed:
        key = changed[0]
        made = f"{key} = {_short(before['settings'][key])}, which is {_short(now.get(key))} now"
        more = f", and {len(changed) - 1} other settings" if len(changed) > 1 else ""
        raise WorkspaceError(
            f"what `lode {name}` has made was made with {made}{more}; run `lode {name}` first"
        )


def read_stamp(name: str, task: str, workspace: Workspace) -> Stamp | None:
    """A step's stamp; None if it has left none, or one that is damaged or of another version."""
    try:
        found = read_sealed(stamp_path(workspace, task, name))
    except (OSError, DamagedError):
        return None
    return found if all(isinstance(found.get(part), dict) for part in PARTS) else None


def write_stamp(step: Step, settings: Settings, workspace: Workspace) -> None:
    """Say that the step made what is there now, of what is there now."""
    made = _stamp(step, settings, workspace)
    write_sealed(stamp_path(workspace, settings.task, step.name), made)


def code_of(module: str) -> dict[str, str]:
    """Digest by name of every module of a computing room that `module` imports, itself included.

    Of the syntax tree without docstrings: comments and formatting make no other result.
    """
    found = imported_modules(module, barred=NOT_COMPUTING)
    return {name: _meaning(source) for name, source in found.items() if "." in name}


def rooms_of(module: str) -> list[str]:
    """The rooms of those modules, as paths; for the step's own room its file alone."""
    own = f"{module.replace('.', '/')}.py"
    rooms = {"/".join(name.split(".")[:2]) for name in code_of(module) if name != module}
    return sorted([own, *rooms])


def _stamp(
    step: Step, settings: Settings, workspace: Workspace, before: Stamp | None = None
) -> Stamp:
    def relative(path: Path) -> str:
        return path.relative_to(workspace.main.root).as_posix()

    read = {
        relative(one.place(workspace, settings.task)): content(one.files(settings, workspace))
        for one in step.reads
    }
    written = {
        relative(path): file_digest(path)
        for one in step.writes
        for path in one.files(settings, workspace)
    }
    return {
        "settings": values(settings, step.settings),
        **_code(step.module, before or {}),
        "read": read,
        "written": written,
    }


def _code(module: str, before: Stamp) -> Stamp:
    """What `code_of` says, and of which source; parsing takes a second, so not where the source of
    every module is that of `before`."""
    known = before.get(SOURCE)
    if isinstance(known, dict) and known and source_digests(known) == known:
        return {"code": before["code"], SOURCE: known}
    code = code_of(module)
    return {"code": code, SOURCE: source_digests(code)}


def content(files: Sequence[Path]) -> str:
    """What files say; histories without their timings, so that a repeated run is the same run."""
    histories = [path for path in files if path.suffix == ".parquet"]
    others = [path for path in files if path.suffix != ".parquet"]
    facts = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in histories)
    return text_digest(_histories(facts), sorted((p.name, file_digest(p)) for p in others))


@lru_cache(maxsize=32)  # several steps read the same folder
def _histories(files: tuple[tuple[Path, int, int], ...]) -> str:
    return digest(read_once(path) for path, _, _ in files)


@lru_cache(maxsize=1024)
def _meaning(source: str) -> str:
    tree = ast.parse(source)
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        waiting += statements(node)
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body.pop(0)
    return text_digest(ast.dump(tree))


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted({*before, *now})
    return [name for name in names if before.get(name, ...) != now.get(name, ...)]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _have_changed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{shown}{more} {'has' if len(names) == 1 else 'have'} changed"
