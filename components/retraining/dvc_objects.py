"""The files in which DVC keeps versions of histories, and which of them belong to which version.

DVC names each file after the MD5 of what it holds, so that versions share most of theirs, with each
other and with the stages of dvc.yaml. `dvc gc` deletes from a cache what one kind of pointer does
not name, other tasks' and stages' files too; here only what is named as old and by nobody else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from components.retraining.dvc_folder import places

_NAME = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")
_FOLDER = ".dir"


def own_stores(root: Path) -> tuple[list[Path], list[str]]:
    """DVC's cache and default remote: those in this workspace, and those that are elsewhere.

    Others may share what is elsewhere, so nothing is ever deleted there.
    """
    own, elsewhere = [], []
    for place in places(root):
        if "://" not in place and Path(place).resolve().is_relative_to(root.resolve()):
            own.append(Path(place))
        else:
            elsewhere.append(place)
    return own, elsewhere


def names_in(texts: Iterable[str], stores: Iterable[Path]) -> set[str]:
    """Names of all objects that pointer files name, with the files of the folders among them."""
    names = {name for text in texts for name in _NAME.findall(text)}
    folders = [name for name in names if name.endswith(_FOLDER)]
    return names.union(*(_listed(name, stores) for name in folders))


def files_of(names: Iterable[str], stores: Iterable[Path]) -> list[Path]:
    """The files of these objects that are there; those of folders last, so that a kill while they
    are deleted leaves no file that nobody names."""
    ordered = sorted(names, key=lambda name: (name.endswith(_FOLDER), name))
    paths = [_path(store, name) for name in ordered for store in stores]
    return [path for path in paths if path.is_file()]


def _listed(folder: str, stores: Iterable[Path]) -> set[str]:
    for store in stores:
        try:
            return {str(one["md5"]) for one in json.loads(_path(store, folder).read_bytes())}
        except (OSError, ValueError, LookupError, TypeError):  # not there, or damaged
            continue
    return set()


def _path(store: Path, name: str) -> Path:
    return store / "files" / "md5" / name[:2] / name[2:]
