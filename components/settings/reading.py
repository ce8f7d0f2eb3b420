"""From a settings file to `Settings`, or one message that names every fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.lode.settings import OutOfRangeError
from components.settings.own_tasks import MetricSettings, OwnTaskSettings
from components.settings.section import SettingsError, nearest
from components.settings.whole import Settings
from components.storage.addresses import AddressError
from components.storage.shown import cut, shown
from components.storage.strict_yaml import LARGEST, YamlError, read_yaml
from components.tasks.names import TASKS

MOST_FAULTS = 10  # named in one message
_OF_ONE_VALUE = (AddressError, OutOfRangeError)  # and so shown beside it


def load(path: Path | str = "params.yaml", overrides: dict[str, Any] | None = None) -> Settings:
    """Read and check a settings file.

    Args:
        path: a YAML file as `params.yaml`.
        overrides: dotted keys that replace the file's values, e.g. `{"sweep.seeds": [0, 1]}`.

    Raises:
        SettingsError: file missing, not YAML, empty; key unknown, value of a wrong type or
            impossible.
    """
    path = Path(path)
    raw = _read(path)
    name = cut(str(path), 300)
    if not isinstance(raw, dict):
        raise SettingsError(f"{name}: empty or not a mapping; at least `task: …` must be there")
    for key, value in (overrides or {}).items():
        _override(raw, key, value)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        faults = [_explain(e) for e in error.errors()]
        if len(faults) > MOST_FAULTS:
            faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} faults more"]
        raise SettingsError(f"{name}: " + "\n  ".join(faults)) from None


def _read(path: Path) -> Any:
    name = cut(str(path), 300)
    try:
        with path.open(encoding="utf-8") as file:
            return read_yaml(file.read(LARGEST + 1), name)  # /dev/zero has no end
    except FileNotFoundError:
        raise SettingsError(
            f"{name}: no such file; run in the repository's root or name one with --params"
        ) from None
    except OSError as error:
        raise SettingsError(f"{name}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: not UTF-8 text, at byte {error.start}") from None
    except YamlError as error:
        raise SettingsError(str(error)) from None
    except ValueError as error:  # a null character in its name
        raise SettingsError(f"{name!r}: not a file's name ({error})") from None


def _override(raw: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise SettingsError(f"{cut(dotted)}: {cut(section, 60)} is a value, not a section")
    raw[key] = value


def _explain(error: Any) -> str:
    where = cut(".".join(str(part) for part in error["loc"]))
    value = error["input"]
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        valid = _keys_at(error["loc"][:-1])
        return f"unknown key {where} = {shown(value)}; {nearest(str(error['loc'][-1]), valid)}"
    if error["type"] == "missing":
        return f"{where} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and not isinstance(error["ctx"]["error"], _OF_ONE_VALUE):
        return f"{where}: {message}" if where else message
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value):
        message += f" (YAML reads {cut(value, 40)} as text: write 1.0e-3, with a point)"
    return f"{where} = {shown(value)}: {message[:1].lower()}{message[1:]}"


def _keys_at(location: tuple[Any, ...]) -> tuple[str, ...]:
    """The keys of a section: every one of them has a default, but those of a task of one's own."""
    metric = MetricSettings(name="-", goal="maximize")
    own = {str(location[1]): OwnTaskSettings(command="-", metric=metric)} if location[1:] else {}
    section = {**Settings(task=TASKS[0]).model_dump(), "tasks": own}
    for part in location:
        found = section[part]
        section = found if isinstance(found, dict) else found.model_dump()
    return tuple(section)
