"""A model's two files: weights as safetensors, everything else as JSON that names them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from components.lode.errors import LODEError
from components.storage.files import atomic_path, write_text
from components.storage.shown import cut, shown
from components.storage.typed import DamagedError, check_seal, parsed, sealed

FORMAT = 2  # of the JSON; 1, which is read too, has no seal

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


def save(
    model: nn.Module,
    values: dict[str, Any],
    *,
    weights: Path,
    config: Path,
    allow_nan: bool = False,
) -> None:
    """Write the weights, then the JSON, each whole or not at all.

    The JSON holds the weights' digest, so a crash between the two is seen by `load`.

    Raises:
        ValueError: a value is not finite and `allow_nan` is false.
    """
    payload = save_tensors(
        {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    )
    with atomic_path(weights) as temporary:
        temporary.write_bytes(payload)
    facts = {"format": FORMAT, "weights_sha256": hashlib.sha256(payload).hexdigest()}
    write_text(config, sealed(facts | values, allow_nan=allow_nan))


def load(
    parse: Callable[[dict[str, Any]], Config],
    make: Callable[[Config], Model],
    *,
    weights: Path,
    config: Path,
) -> Model:
    """Read what `save` wrote, in eval mode on the CPU; a run that does so keeps its own draws.

    Args:
        parse: the JSON's content to all that `make` needs.

    Raises:
        LODEError: nothing there, damaged, changed, or of another architecture, format or fit; names
            the file and the remedy.
    """
    with _blamed(config):
        raw = parsed(config.read_bytes())
        _check_format(raw)
        settings = parse(raw)  # before the seal, since it can say which field is wrong
        if raw["format"] == FORMAT:
            check_seal(raw)
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # shapes, no memory
            expected = make(settings).state_dict()
    with _blamed(weights):
        payload = weights.read_bytes()
        if hashlib.sha256(payload).hexdigest() != raw.get("weights_sha256"):
            raise DamagedError(
                f"not the weights that {config.name} names: truncated, damaged or not of the same "
                "fit (one was interrupted or replaced)"
            )
        tensors = load_tensors(payload)
        _check(tensors, expected, config.name)
    with torch.random.fork_rng(devices=[]):
        model = make(settings)
    model.load_state_dict(tensors)
    return model.eval()


def _check_format(raw: dict[str, Any]) -> None:
    if type(raw.get("format")) is not int or raw["format"] not in (1, FORMAT):
        found = shown(raw.get("format"))
        raise DamagedError(f"format {found}, this version reads 1 and {FORMAT}")


def _check(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], config: str) -> None:
    for name in sorted(expected.keys() | found.keys()):
        have = tuple(found[name].shape) if name in found else "nothing"
        want = tuple(expected[name].shape) if name in expected else "nothing"
        if have != want:
            raise DamagedError(
                f"weights of another architecture: {name} is {have}, {config} asks for {want}"
            )
        if not found[name].isfinite().all():
            raise DamagedError(f"weights that are not finite: {name}")


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """What is wrong inside is wrong with this file."""
    try:
        yield
    except FileNotFoundError:
        raise LODEError(f"{path}: no such file; run `lode fit` first") from None
    except OSError as error:
        raise LODEError(
            f"{path}: cannot be read ({error.strerror}); run `lode fit` again"
        ) from None
    except (DamagedError, LODEError) as error:
        raise LODEError(f"{path}: {error}; run `lode fit` again") from None
    except (  # of torch and safetensors, of what nobody would write by accident
        SafetensorError,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        RuntimeError,
    ) as error:
        said = cut(str(error), 100)
        raise LODEError(f"{path}: not a model of ours ({said}); run `lode fit` again") from None
