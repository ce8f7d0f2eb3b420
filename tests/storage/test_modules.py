"""What a module imports: at any depth, in functions too, and nothing that never runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.storage import modules
from components.storage.modules import imported_modules


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `components` of a few files, in the place of this project's."""
    folder = tmp_path / "components"
    files = {
        "__init__.py": "",
        "top.py": "import json\nfrom components.room import part, Thing\n",
        "room/__init__.py": "Thing = 1\n",
        "room/part.py": "def later():\n    import components.room.deep\n",
        "room/deep.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import components.types\n"
            "else:\n    from . import near\n"
            "if not TYPE_CHECKING:\n    from ..other import VALUE\n"
        ),
        "room/near.py": "from components import top\n",
        "other.py": "VALUE = 1\n",
        "types.py": "import components.room.unread\n",
        "room/unread.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(modules, "_FOLDER", folder)
    return folder


def test_imports_are_followed_at_any_depth_in_functions_and_in_a_circle(project: Path) -> None:
    found = imported_modules("components.top")
    assert list(found) == [
        "components",
        "components.other",
        "components.room",
        "components.room.deep",
        "components.room.near",
        "components.room.part",
        "components.top",
    ]
    assert found["components.room"] == "Thing = 1\n"
    both = imported_modules("components.other", "components.types")
    assert list(both) == [
        "components",
        "components.other",
        "components.room",
        "components.room.unread",
        "components.types",
    ]


def test_barred_rooms_are_neither_listed_nor_looked_into_unless_asked_for(project: Path) -> None:
    assert list(imported_modules("components.top", barred=("room",))) == [
        "components",
        "components.top",
    ]
    found = imported_modules("components.room.near", barred=("room", "other"))
    assert list(found) == ["components", "components.room.near", "components.top"]


def test_a_changed_file_is_read_again(project: Path) -> None:
    assert "components.room.unread" not in imported_modules("components.other")
    path = project / "other.py"
    before = path.stat()
    path.write_text("import components.room.unread\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the size alone tells
    assert "components.room.unread" in imported_modules("components.other")


def test_an_entry_that_is_no_module_is_named(project: Path) -> None:
    for name in ("components.gone", "components.room.Thing", "json", "componentsx"):
        with pytest.raises(ModuleNotFoundError, match=f"{name} is no module of this project"):
            imported_modules(name)


def test_what_is_found_is_what_python_loads() -> None:
    """For modules that import nothing late, in the order in which Python would find them."""
    entry = "components.schedulers.plan"
    code = (
        f"import sys, {entry}; print(*(m for m in sys.modules if m.split('.')[0] == 'components'))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert sorted(loaded) == list(imported_modules(entry))
