"""A learned policy: the network that acts, what else it needs, and its two files.

`policy.safetensors` holds the weights, `config.json` everything else: what it was learned on, its
architecture and normalisation statistics, and what the learning cost. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from components.storage.files import atomic_path, write_text
from components.storage.shown import cut, shown
from components.storage.typed import DamagedError, check_seal, parsed, sealed, typed

WEIGHTS, CONFIG = "policy.safetensors", "config.json"
FORMAT = 2  # of config.json; 1, which is read too, has no seal
LARGEST = 10.0  # standardised quantities are cut off here


class PolicyError(ValueError):
    """A policy cannot be learned, read or used; the message names the file and the remedy."""


@dataclass(frozen=True)
class _Config:
    """`config.json`; `digest` is of all that determines what the policy does."""

    scheduler: str
    task: str
    settings: dict[str, Any]
    weights_sha256: str
    digest: str
    learning: dict[str, Any]


class Policy(nn.Module):
    """An actor-critic on the CPU: observations (B, …) to an action's mean, std and value, (B,).

    Attributes:
        network: `signature` of the networks it schedules.
    """

    network: str

    def settings(self) -> dict[str, Any]:
        """JSON-able keyword arguments that build it again, but for the weights."""
        raise NotImplementedError

    @classmethod
    def create(cls, network: nn.Module, lr_range: tuple[float, float]) -> Policy:
        """One that has learned nothing, for children like `network` with rates like these."""
        raise NotImplementedError

    def optimizer(self) -> Optimizer:
        """What it is learned with."""
        raise NotImplementedError

    def reseed(self, seed: int) -> None:
        """Before an episode of learning: the seed of what the policy itself draws, if anything."""

    def see(self, observation: Tensor) -> Tensor:
        """A raw observation as `forward` takes it, finite; without a batch dimension."""
        return torch.nan_to_num(observation, nan=0.0, posinf=0.0, neginf=0.0)

    def act(self, observation: Tensor) -> float:
        """The mean action: no draw, the same every time."""
        with torch.no_grad():
            return float(self(self.see(observation)[None])[0])


class Moments:
    """Running mean and variance of vectors (d,), float64; 0 and 1 before two were added."""

    def __init__(self, mean: list[float], squares: list[float], count: int = 0) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.squares = torch.tensor(squares, dtype=torch.float64)  # sums of squared deviations
        self.count = count

    @classmethod
    def of(cls, size: int) -> Moments:
        return cls([0.0] * size, [0.0] * size)

    def to_dict(self) -> dict[str, Any]:
        return {"mean": self.mean.tolist(), "squares": self.squares.tolist(), "count": self.count}

    def add(self, x: Tensor) -> None:
        """Take a vector in (Welford); one that is not finite is left out."""
        if torch.isfinite(x).all():
            self.count += 1
            change = x.double() - self.mean
            self.mean = self.mean + change / self.count
            self.squares = self.squares + change * (x.double() - self.mean)

    @property
    def std(self) -> Tensor:
        if self.count < 2:
            return torch.ones_like(self.mean)
        return (self.squares / self.count + 1e-8).sqrt()

    def standardise(self, x: Tensor) -> Tensor:
        """(x - mean) / std, within ±LARGEST, float32; 0 where x is not a number."""
        standard = (x.double() - (self.mean if self.count > 1 else 0.0)) / self.std
        return standard.clamp(-LARGEST, LARGEST).nan_to_num(nan=0.0).float()


@dataclass(frozen=True)
class Learned:
    """What `load_policy` found.

    Attributes:
        digest: 16 hex digits of all that determines what the policy does.
        learning: the summary of `components.schedulers.learning.learn`.
    """

    policy: Policy
    digest: str
    learning: dict[str, Any]


def signature(network: nn.Module) -> str:
    """16 hex digits of the names and shapes of a network's parameters."""
    shapes = [(name, list(p.shape)) for name, p in network.named_parameters()]
    return hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16]


def save_policy(
    policy: Policy, folder: Path, *, scheduler: str, task: str, learning: dict[str, Any]
) -> None:
    """Write the weights, then `config.json` with their digest, each whole or not at all."""
    payload = save({name: w.detach().contiguous() for name, w in policy.state_dict().items()})
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(payload)
    config: dict[str, Any] = {
        "format": FORMAT,
        "scheduler": scheduler,
        "task": task,
        "settings": policy.settings(),
        "weights_sha256": hashlib.sha256(payload).hexdigest(),
    }
    config |= {"digest": _digest(config), "learning": learning}
    write_text(folder / CONFIG, sealed(config))


def load_policy(kind: type[Policy], folder: Path, *, scheduler: str, task: str) -> Learned:
    """Read what `save_policy` wrote, in evaluation mode.

    Raises:
        PolicyError: nothing there, damaged, or learned for another scheduler or task.
    """
    remedy = f"run `lode learn --scheduler {scheduler} --task {task}`"
    config = _read_config(folder / CONFIG, remedy)
    if (config.scheduler, config.task) != (scheduler, task):
        learned_for = f"{cut(config.scheduler, 40)} on {cut(config.task, 40)}"
        raise PolicyError(
            f"{folder / CONFIG}: learned for {learned_for}, asked for {scheduler} on {task}; "
            f"{remedy}"
        )
    try:
        payload = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(payload).hexdigest() != config.weights_sha256:
            raise PolicyError(
                f"{folder / WEIGHTS}: not the weights that {CONFIG} names (damaged, or replaced); "
                f"{remedy}"
            )
        with torch.random.fork_rng(devices=[]):  # a run that loads a policy keeps its own draws
            policy = kind(**config.settings)
        policy.load_state_dict(load(payload))
    except FileNotFoundError:
        raise PolicyError(f"{folder / WEIGHTS}: no such file; {remedy} first") from None
    except OSError as error:
        raise PolicyError(
            f"{folder / WEIGHTS}: cannot be read ({error.strerror}); {remedy}"
        ) from None
    except PolicyError:
        raise
    except _NO_POLICY as error:
        raise PolicyError(
            f"{folder}: not a policy of this version ({cut(str(error), 100)}); {remedy}"
        ) from None
    return Learned(policy.eval(), config.digest, config.learning)


# What torch, safetensors and a policy's own class say of settings and weights that are not theirs.
_NO_POLICY = (
    SafetensorError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RuntimeError,
)


def _read_config(path: Path, remedy: str) -> _Config:
    try:
        raw = parsed(path.read_bytes())
        if raw.get("format") not in (1, FORMAT):
            raise DamagedError(f"format {shown(raw.get('format'))}")
        config: _Config = typed(_Config, raw)
        if raw["format"] == FORMAT:
            check_seal(raw)
        if config.digest != _digest(raw):
            raise DamagedError("its digest does not match")
        return config
    except FileNotFoundError:
        raise PolicyError(f"{path}: no such file; {remedy} first") from None
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (DamagedError, RecursionError) as error:
        raise PolicyError(
            f"{path}: damaged, changed by hand or of another version ({cut(str(error), 100)}); "
            f"{remedy}"
        ) from None


def _digest(config: dict[str, Any]) -> str:
    named = {key: config[key] for key in ("scheduler", "task", "settings", "weights_sha256")}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]
