"""Every setting of the pipeline, typed and checked before any work.

`load("params.yaml")` returns a frozen `Settings`; a missing file, an unknown key, a wrong type or
an impossible value raises `SettingsError`, whose message names the key, the value and what would
be valid.
"""

from components.settings.own_tasks import MetricSettings, OwnTaskSettings
from components.settings.reading import load
from components.settings.section import SettingsError
from components.settings.sections import FEWEST_PILOTS, Seeds, SweepSettings
from components.settings.whole import FINER_FAMILIES, Settings

__all__ = [
    "FEWEST_PILOTS",
    "FINER_FAMILIES",
    "MetricSettings",
    "OwnTaskSettings",
    "Seeds",
    "Settings",
    "SettingsError",
    "SweepSettings",
    "load",
]
