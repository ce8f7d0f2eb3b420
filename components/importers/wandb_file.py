"""W&B's offline files (`run-*.wandb`), read without the package.

A file is a log in LevelDB's format: blocks of 32 KiB with records cut to fit, each part with a
checksum; a record is a protobuf message. W&B reads them in Go only, so the framing is read here,
and protobuf is told the few fields that are needed, by their numbers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

BLOCK, HEAD = 32 * 1024, 7  # of a block and of a part, in bytes
MAGIC = b":W&B"
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # which part of a record
# name -> (number, type, repeated); types that are messages by their name
_FIELDS: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Record": {
        "history": (2, "History", False),
        "config": (5, "Config", False),
        "run": (17, "Run", False),
        "exit": (18, "Exit", False),
    },
    "History": {"item": (1, "Item", True), "step": (2, "Step", False)},
    "Item": {
        "key": (1, "string", False),
        "nested_key": (2, "string", True),
        "boolean": (4, "bool", False),
        "integer": (5, "sint64", False),
        "number": (6, "double", False),
        "text": (7, "string", False),
        "value_json": (16, "string", False),
    },
    "Step": {"num": (1, "int64", False)},
    "Config": {"update": (1, "Item", True)},
    "Run": {
        "run_id": (1, "string", False),
        "project": (3, "string", False),
        "config": (4, "Config", False),
        "display_name": (8, "string", False),
    },
    "Exit": {"exit_code": (1, "int32", False)},
}


class DamagedFileError(ValueError):
    """A file that is none of W&B's, or not whole where it must be."""


@dataclass
class WandbFile:
    """What a run left: its id, name, configuration and logged rows; `ended`: whether it says so."""

    run_id: str = ""
    name: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False


def read_wandb(path: Path) -> WandbFile:
    """Read a file up to its end, or to where the writing of it broke off.

    Raises:
        DamagedFileError: not W&B's, or its head is damaged.
    """
    found, kind = WandbFile(), _messages()["Record"]
    for number, text in enumerate(_records(path.read_bytes())):
        try:
            record = kind.FromString(text)
        except Exception as error:  # protobuf's own error is not public
            if number == 0:
                raise DamagedFileError("its first record is damaged") from error
            break
        _take(record, found)
    return found


def _take(record: Any, found: WandbFile) -> None:
    if record.HasField("run"):
        found.run_id = record.run.run_id or found.run_id
        found.name = record.run.display_name or found.name
        found.project = record.run.project or found.project
        _update(found.config, record.run.config)
    if record.HasField("config"):
        _update(found.config, record.config)
    if record.HasField("history"):
        row = {_key(item): _value(item) for item in record.history.item}
        if record.history.HasField("step"):
            row.setdefault("_step", record.history.step.num)
        found.rows.append(row)
    if record.HasField("exit"):
        found.ended = True


def _update(config: dict[str, Any], record: Any) -> None:
    for item in record.update:
        config[_key(item)] = _value(item)


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _value(item: Any) -> Any:
    for name in ("value_json", "number", "integer", "boolean", "text"):
        if item.HasField(name):
            value = getattr(item, name)
            return _json(value) if name == "value_json" else value
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a log, up to the first part that is not whole."""
    if data[:4] != MAGIC:
        raise DamagedFileError("it does not begin as W&B's files do")
    at, parts = HEAD, b""
    while at + HEAD <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEAD:  # too small for a part: zeros
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        body = data[at + HEAD : at + HEAD + length]
        check = zlib.crc32(bytes([kind]) + body) & 0xFFFFFFFF
        if len(body) < length or int.from_bytes(data[at : at + 4], "little") != check:
            return
        at += HEAD + length
        parts = body if kind in (FULL, FIRST) else parts + body
        if kind in (FULL, LAST):
            yield parts


def _messages() -> dict[str, Any]:
    """Message classes of `_FIELDS`; what else the records hold is passed over."""
    file = descriptor_pb2.FileDescriptorProto(name="wandb_file", package="lode", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for key, (number, kind, repeated) in fields.items():
            one = message.field.add(name=key, number=number)
            one.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _FIELDS:
                one.type, one.type_name = kinds.TYPE_MESSAGE, f".lode.{kind}"
            else:
                one.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"lode.{name}"))
        for name in _FIELDS
    }
