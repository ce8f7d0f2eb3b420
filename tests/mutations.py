"""Changes of a file that whoever reads it must notice: of the values in JSON, and of bytes."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    -0.1,
    10**400,
    math.nan,
    math.inf,
    "",
    "x",
    "constant",
    "0.05",
    [],
    [[]],
    [None],
    ["constant", 0.2],
    [0.1] * 40,
    [-0.1, math.nan],
    {},
    {"table": []},
    "y" * 5000,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def changed(raw: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    raw = copy.deepcopy(raw)
    inside = raw
    for key in path[:-1]:
        inside = inside[key]
    change(inside, path[-1])
    return raw


def field_changes(raw: Any, draw: random.Random, count: int) -> Iterator[Any]:
    """Every key taken out, and every value replaced by `count` kinds of junk."""
    for path in places(raw):
        if isinstance(path[-1], str):
            yield changed(raw, path, lambda inside, key: inside.pop(key))
        for junk in draw.sample(JUNK, count):
            yield changed(raw, path, partial(setitem, junk))


def setitem(junk: Any, inside: Any, key: Any) -> None:
    inside[key] = junk


def byte_changes(content: bytes, draw: random.Random, count: int) -> Iterator[bytes]:
    """Flipped, cut, doubled, filled with zeros."""
    for _ in range(count):
        at = draw.randrange(len(content))
        end = min(len(content), at + draw.randrange(1, 40))
        yield from (
            content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :],
            content[:at],
            content[:at] + content[at:end] * 2 + content[end:],
            content[:at] + bytes(end - at) + content[end:],
        )
    yield from (b"", b"[" * 100_000, b'{"a":' * 100_000, b"null", b"[]", b"\xff\xfe", b'"x"')
