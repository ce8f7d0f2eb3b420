"""Where `lode` begins: without the pipeline's packages it says what to install."""

from __future__ import annotations

import sys

HINT = "the commands need the pipeline's packages: pip install 'lode-pipeline[pipeline]'"


def main() -> None:
    """Entry point of `lode`."""
    try:
        from components.cli.main import main as commands  # click, which the core does not bring
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("components", "flows"):
            raise
        sys.exit(f"lode: {error.name} is not installed; {HINT}")
    commands()
