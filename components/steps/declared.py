"""The part of the settings that a step has declared, and nothing else of them."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from components.storage.digests import text_digest

if TYPE_CHECKING:
    from components.settings import Settings

# They change how fast a result comes, not what it is.
ONLY_SPEED = ("sweep.workers", "training.device", "execution", "own.timeout")
# What a LODE depends on; how it is evaluated is not among them, nor are the limits of validation:
# which runs these accept is in the digest of the histories.
LEARNING = ("task", "training", "sweep", "lode")


class UndeclaredError(RuntimeError):
    """A step reads a setting that it has not declared; the message names both."""


class _Part:
    """Looks like a section of the settings; hands out what `keys` name."""

    def __init__(self, whole: Any, keys: frozenset[str], who: str, prefix: str = "") -> None:
        self._whole, self._keys, self._who, self._prefix = whole, keys, who, prefix

    def __getattr__(self, name: str) -> Any:
        key = f"{self._prefix}{name}"
        if key in self._keys:
            return getattr(self._whole, name)
        if any(one.startswith(f"{key}.") for one in self._keys):
            return _Part(getattr(self._whole, name), self._keys, self._who, f"{key}.")
        computed = getattr(type(self._whole), name, None)
        if isinstance(computed, property) and computed.fget is not None:
            return computed.fget(self)  # from what is declared, or not at all
        raise UndeclaredError(
            f"{self._who} reads the setting {key}, which it does not declare: add it to its "
            "`settings` in components/steps/pipeline.py and to its stage in dvc.yaml"
        )


def declared(settings: Settings, keys: tuple[str, ...], who: str) -> Settings:
    """`settings` as somebody sees them who has declared `keys`.

    Raises (what is returned, where another is read):
        UndeclaredError
    """
    return cast("Settings", _Part(settings, frozenset(keys), who))


def values(settings: Settings, keys: tuple[str, ...]) -> dict[str, Any]:
    """Key and JSON value of the settings below `keys` that determine a result, flat and sorted."""
    plain = settings.model_dump(mode="json")
    if settings.own is not None:  # of the section `tasks`, what is said of this one
        plain["own"] = settings.own.model_dump(mode="json")
    found = dict(_flat(plain))
    return {
        key: found[key]
        for key in sorted(found)
        if any(_below(key, one) for one in keys) and not any(_below(key, one) for one in ONLY_SPEED)
    }


def spelled(settings: Settings, keys: tuple[str, ...]) -> dict[str, str]:
    """Key and JSON text of the settings below `keys` that determine a result, as a step sees them
    that has declared these."""
    found = _flat({key: _plain(attrgetter(key)(settings)) for key in keys})
    return {
        key: json.dumps(value, ensure_ascii=False)
        for key, value in sorted(found)
        if not any(_below(key, one) for one in ONLY_SPEED)
    }


def learning_digest(settings: Settings) -> str:
    """SHA-256 (hex) of the settings that a LODE depends on."""
    say = {key: _plain(getattr(settings, key)) for key in LEARNING}
    for key in ONLY_SPEED:
        section, _, name = key.partition(".")
        if section in say:
            del say[section][name]
    if settings.own is not None:
        say["own"] = settings.own.model_dump(mode="json", exclude={"timeout"})
    return text_digest(*say.values())


def _plain(section: Any) -> Any:
    if is_dataclass(section) and not isinstance(section, type):
        return asdict(section)
    return section.model_dump(mode="json") if hasattr(section, "model_dump") else section


def _below(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _flat(say: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in say.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
