"""JSON files of ours, read as if anybody had written them.

A file that we write carries a seal, the digest of all else in it, so that a change by hand or by a
damaged disk is seen; what is read is checked against the annotations of the dataclass that it is
to become. A seal is no signature: who means to deceive makes a new one.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from components.storage.digests import text_digest
from components.storage.files import write_text
from components.storage.shown import cut, shown

SEAL = "seal"
_LARGEST = 2**63  # a whole number of ours is an index, a count or a seed
MAY_BE_INFINITE = "may be infinite"  # in the annotation of a float that may
_WORDS = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
}


class DamagedError(ValueError):
    """A file does not hold what it should; the message says what is wrong, the caller where."""


def write_sealed(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file with its seal, whole or not at all.

    Raises:
        ValueError: something is not finite.
    """
    write_text(path, sealed(values))


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote.

    Raises:
        FileNotFoundError
        DamagedError: it cannot be read, or is not as it was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"cannot be read ({error.strerror})") from None
    found = parsed(content)
    check_seal(found)
    return found


def sealed(values: dict[str, Any], *, allow_nan: bool = False) -> str:
    """A JSON file's text with its seal.

    Raises:
        ValueError: something is not finite and `allow_nan` is false.
    """
    plain = json.loads(json.dumps(values, allow_nan=allow_nan))  # keys as they will be read
    whole = plain | {SEAL: _seal(plain)}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def parsed(content: bytes) -> dict[str, Any]:
    """A JSON file's object, whose seal is not looked at.

    Raises:
        DamagedError: it is no JSON, or no object.
    """
    try:
        found = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise DamagedError("not JSON of ours (nested too deeply)") from None
    except ValueError as error:
        raise DamagedError(f"not JSON ({cut(str(error), 100)})") from None
    if not isinstance(found, dict):
        raise DamagedError(f"{shown(found)} where {{…}} was expected")
    return found


def check_seal(found: dict[str, Any]) -> None:
    """
    Raises:
        DamagedError: the file is not as it was written.
    """
    try:
        whole = found.get(SEAL) == _seal(found)
    except RecursionError:
        whole = False
    if not whole:
        raise DamagedError("changed since it was written (its seal does not match)")


def _seal(values: dict[str, Any]) -> str:
    return text_digest({key: value for key, value in values.items() if key != SEAL})


def typed(kind: Any, value: Any, name: str = "value") -> Any:
    """What JSON has given, as a `kind`: lists become tuples, objects dataclasses.

    A dataclass needs all of its fields, also those with defaults; keys it does not have are left
    out. `Annotated` ranges are checked, floats are finite unless `MAY_BE_INFINITE`.

    Args:
        kind: int, float, str, bool, None, Any, Literal, tuple, list, dict, a union or a dataclass
            of such. name: of the value, for the message.

    Raises:
        DamagedError: it is not of that kind; names the field and, in short, what is there.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        return _annotated(arguments, value, name)
    if origin in (Union, UnionType):
        return _one_of(kind, value, name)
    if origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
        raise DamagedError(f"unknown {name} {shown(value)}; known: {', '.join(arguments)}")
    if origin in (tuple, list):
        return _sequence(kind, value, name)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, name)
    return _plain(origin or kind, value, name)


def _plain(kind: Any, value: Any, name: str) -> Any:
    if kind is float:
        return _number(value, name)
    fits = isinstance(value, kind)
    if kind is int:
        fits = type(value) is int and abs(value) < _LARGEST
    if not fits:
        raise DamagedError(f"{name} is {shown(value)}, not {_WORDS.get(kind, kind.__name__)}")
    return value


def _number(value: Any, name: str) -> float:
    try:
        good = not isinstance(value, bool) and isinstance(value, int | float)
        if good and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number beyond every float
        pass
    raise DamagedError(f"{name} is {shown(value)}, not {_WORDS[float]}")


def _annotated(arguments: tuple[Any, ...], value: Any, name: str) -> Any:
    kind, *bounds = arguments
    if MAY_BE_INFINITE in bounds and value == math.inf:
        return value
    found = typed(kind, value, name)
    for bound in bounds:
        met, wanted = _bound(bound, found)
        if not met:
            raise DamagedError(f"{name} = {shown(value)} must be {wanted}")
    return found


def _bound(bound: Any, found: Any) -> tuple[bool, str]:
    if isinstance(bound, Gt):
        return found > bound.gt, f"above {bound.gt}"
    if isinstance(bound, Ge):
        return found >= bound.ge, f"at least {bound.ge}"
    if isinstance(bound, Lt):
        return found < bound.lt, f"below {bound.lt}"
    if isinstance(bound, Le):
        return found <= bound.le, f"at most {bound.le}"
    if isinstance(bound, MinLen):
        return len(found) >= bound.min_length, f"of at least {bound.min_length} values"
    if check := getattr(bound, "check", None):  # a range of `components.lode.settings`
        try:
            check(found)
        except ValueError as error:
            return False, str(error).removeprefix("must be ")
    return True, ""


def _one_of(kind: Any, value: Any, name: str) -> Any:
    said = ""
    for one in get_args(kind):
        try:
            return typed(one, value, name)
        except DamagedError as error:
            said = said if one in (NoneType, tuple[()]) else str(error)
    raise DamagedError(said)


def _sequence(kind: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if not isinstance(value, list | tuple):
        raise DamagedError(f"{name} is {shown(value)}, not a list")
    if origin is list or arguments[1:] == (...,):
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise DamagedError(f"{name} has {len(value)} values, not {len(arguments)}")
    pairs = zip(arguments, value, strict=True)
    return origin(typed(one, each, f"{name}[{i}]") for i, (one, each) in enumerate(pairs))


def _dataclass(kind: type, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise DamagedError(f"{name} is {shown(value)}, not {{…}}")
    hints = _hints(kind)
    missing = sorted(hints.keys() - value.keys())
    if missing:
        raise DamagedError(f"{', '.join(missing)} missing")
    prefix = "" if name == "value" else f"{name}."
    return kind(**{key: typed(hint, value[key], prefix + key) for key, hint in hints.items()})


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in fields(kind) if one.init}
