"""The code that a registered model carries, so that it loads where this project is not installed.

The modules that the LODE's scheduler needs, torch's face of it included, are copied under a package
name of their own, `lode_core_<digest>`. A user's own `components` package cannot get in the way,
and two models of different revisions live side by side in one process.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from components.storage.modules import PACKAGE, imported_modules

ENTRY = (
    "components.lode.model",
    "components.lode.scheduler",
    "components.adapters.rate_scheduler",
)
_IMPORT = re.compile(rf"^(\s*(?:from|import)\s+){PACKAGE}(?=[.\s])", re.MULTILINE)


def needed_modules() -> dict[str, str]:
    """Source by name of every module that a registered model needs."""
    return imported_modules(*ENTRY)


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
