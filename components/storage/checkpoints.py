"""Checkpoints of what may be killed: numbers and tensors in one file, trusted only if it is whole.

A safetensors file whose header says the digest of all that it holds: a flipped bit of a weight
would otherwise be another result without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from components.storage.files import atomic_path

_STATE, _DIGEST = "state", "sha256"  # of the header


def write_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], state: Any) -> None:
    """Write `tensors`, and `state` (JSON-able), whole or not at all."""
    held, text = dict(tensors), json.dumps(state)
    content = save(held, {_STATE: text, _DIGEST: _digest(held, text)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], Any] | None:
    """What `write_checkpoint` wrote; None if there is none, or a damaged one."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = header.get(_STATE, "")
        whole = header.get(_DIGEST) == _digest(tensors, text)
        return (tensors, json.loads(text)) if whole else None
    except (OSError, SafetensorError, ValueError):
        return None


def _digest(tensors: dict[str, torch.Tensor], text: str) -> str:
    return hashlib.sha256(save(tensors) + text.encode()).hexdigest()
