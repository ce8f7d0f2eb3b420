"""Trials: what runs with settings other than those of params.yaml lies in a folder of its own.

`trials/<what is changed>-<digest>/` is a workspace below the workspace: production's reports, LODE
and stamps stay as they are, and two people's trials undo neither each other's. Data sets, finished
runs and the model registry are shared.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from components.settings import Settings, SettingsError, load
from components.steps.declared import values
from components.steps.pipeline import PIPELINE
from components.storage.digests import text_digest
from components.storage.workspace import Workspace

# What steps make depends on these; a task has folders of its own, and a registry is a place.
MAKING = tuple(sorted({key for step in PIPELINE for key in step.settings} - {"task", "registry"}))
LONGEST = 40  # characters of a trial's name before its digest


def opened(
    params: Path, overrides: dict[str, Any], task: str | None = None
) -> tuple[Settings, Workspace]:
    """The settings of a file with some replaced, and the workspace that belongs to them.

    Args:
        task: instead of the file's, which makes no trial; None: the file's.

    Raises:
        SettingsError
    """
    chosen = {"task": task} if task else {}
    settings = load(params, {**overrides, **chosen})
    home = Workspace.of(params)
    changed = _changed(params, settings)
    return settings, home.trial(trial_name(settings, changed)) if changed else home


def trial_name(settings: Settings, changed: dict[str, Any]) -> str:
    """`updates-50-3f2a91c0`: readable, and one for each set of settings."""
    said = "-".join(f"{key.rpartition('.')[2]}-{_word(value)}" for key, value in changed.items())
    digest = text_digest(values(settings, MAKING))[:8]
    return f"{said[:LONGEST].strip('-')}-{digest}"


def _changed(params: Path, settings: Settings) -> dict[str, Any]:
    """Of the settings that a result follows from, those that are not the file's, by dotted key."""
    try:
        plain = values(load(params, {"task": settings.task}), MAKING)
    except SettingsError:  # whose file needs what is replaced to be settings at all
        plain = {}
    mine = values(settings, MAKING)
    return {key: value for key, value in mine.items() if plain.get(key, ...) != value}


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
