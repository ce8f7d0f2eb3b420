"""Several processes of one training: the first decides, the others do as it says.

Decisions are numerics, and two machines' need not agree in the last bit; their rates have to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

from components.lode.errors import LODEError

ERROR = "error"


def processes() -> int:
    """How many take part; 1 where there is no process group."""
    distributed = torch.distributed
    return distributed.get_world_size() if _running() else 1


def decided_by_the_first(decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `decide` returns in the process of rank 0, in all of them; JSON-able.

    Raises:
        LODEError: it raised one there; then here as well, so that nobody waits for the others.
    """
    first = torch.distributed.get_rank() == 0
    said: dict[str, Any] = {}
    if first:
        try:
            said = decide()
        except LODEError as error:
            said = {ERROR: str(error)}
    said = json.loads(_broadcast(json.dumps(said).encode() if first else b""))
    if set(said) == {ERROR}:
        raise LODEError(said[ERROR])
    return said


def _broadcast(text: bytes) -> bytes:
    """Bytes as a tensor: torch's own way for objects would load pickles."""
    nccl = torch.distributed.get_backend() == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
    length = torch.tensor([len(text)], dtype=torch.int64, device=device)
    torch.distributed.broadcast(length, src=0)
    sent = torch.zeros(int(length), dtype=torch.uint8, device=device)
    if text:
        sent.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    torch.distributed.broadcast(sent, src=0)
    return bytes(sent.cpu().numpy())


def _running() -> bool:
    distributed = torch.distributed
    return bool(distributed.is_available() and distributed.is_initialized())
