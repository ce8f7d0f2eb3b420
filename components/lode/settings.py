"""What can be chosen of a LODE: each setting, its default, its range, and how to choose it.

Plain dataclasses, stated here once: the fit, the controllers and the registered model take their
defaults from them, and `components/settings.py` has pydantic check a `params.yaml` against them.
Made by hand they are not checked. Registered models carry this file, so it stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

Controller = Literal["default", "paper"]
Encoder = Literal["ode-rnn", "gru"]
Solver = Literal["rk4", "dopri5"]

CONTROLLERS: tuple[Controller, ...] = get_args(Controller)
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)
SOLVERS: tuple[Solver, ...] = get_args(Solver)
DEFAULT, PAPER = CONTROLLERS  # ours, and Algorithm 1 as printed


class OutOfRangeError(ValueError):
    """A number that no setting of its kind may have; the message says which may, and why."""


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have, both ends included, and why no others.

    A field annotated with one is checked by pydantic, where somebody asks it to; whoever reads
    such a number elsewhere, as an option of a command, calls `check`.
    """

    low: float
    high: float
    why: str

    def check(self, value: float) -> float:
        """The value.

        Raises:
            OutOfRangeError: it is outside, or not a number at all.
        """
        if not self.low <= value <= self.high:
            raise OutOfRangeError(f"must be from {self.low} to {self.high}: {self.why}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        """Pydantic's hook, written out as it is so that a registered model needs no pydantic."""
        check = {"type": "no-info", "function": self.check}
        return {"type": "function-after", "schema": handler(source), "function": check}


RATES = Range(1e-12, 1000, "a smaller rate moves no weight, a larger one leaves none finite")
# PBT's members train with 1000 times the seed and more, which torch takes up to 2^63; Prefect's
# form and JSON keep whole numbers up to 2^53.
SEEDS = Range(0, 2**53 - 1, "whole numbers that JSON and torch keep exactly")
POINTS = Range(10, 10_000, "log points: fewer show no shape, the LODE reads more one by one")

_WIDTHS = Range(1, 1024, "the paper has 20; time and memory grow with the square")
# Earlier versions counted log points, so who writes 5 is told what it is called now.
SHARES = Range(1e-4, 1, "a share of the run; what was 5 of 100 log points is 0.05")
_UPDATES = Range(1, 10_000_000, "more take days, and the paper's fit has 4000")


class Checked:
    """A dataclass that pydantic, where somebody asks it to, reads as strictly as `params.yaml`:
    "5" is not 5, true is not 1, an unknown key is an error."""

    __pydantic_config__: ClassVar[Any] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }


@dataclass(frozen=True, kw_only=True)
class Architecture(Checked):
    """The LODE's networks (paper A.3: latent and hidden 20, field 2 × 20) and its solver.

    Attributes:
        encoder: `ode-rnn` (Rubanova et al. 2019), or `gru`, as in the authors' code.
        latent, hidden: dimension of the latent state, width of the layers.
        solver: `rk4` on a fixed grid with dense output; `dopri5`, torchdiffeq's, is adaptive.
        solver_steps: RK4 steps over one training length; the fit keeps its field so smooth that 32
            decode to 1e-3 standard deviations (rms) of the exact solution. 16 fit in two thirds of
            the time and are off by 1e-4 to 4e-3 (100 log points) and 2e-2 (the 50 of a short run).
    """

    encoder: Encoder = "ode-rnn"
    latent: Annotated[int, _WIDTHS] = 20
    hidden: Annotated[int, _WIDTHS] = 20
    solver: Solver = "rk4"
    solver_steps: Annotated[int, Range(2, 10_000, "with more, rounding outweighs the method")] = 32


@dataclass(frozen=True, kw_only=True)
class FitSettings(Checked):
    """The LODE's own training (paper A.3).

    Attributes:
        updates: until the held-out error is flat; 4,000 suffice for 100 histories of 100 points,
            8,000 pay for 300 and more, 16,000 if those have few log points
            (docs/results/table-a1.md).
        batch_size: runs per update; all of them where there are fewer.
        peak_lr: of the fit's own OneCycle; halve it should the fit's loss not stay finite.
        path_penalty: α, weight of the latent path length; 0 turns it off.
        held_out_seeds: so many sweep seeds (the largest) choose the best weights and are not
            fitted; where most configurations have one seed only, a fifth of the configurations.
        seed: of the first weights and the batches.
    """

    updates: Annotated[int, _UPDATES] = 4000
    batch_size: Annotated[int, Range(1, 100_000, "runs, of which nobody has more")] = 100
    peak_lr: Annotated[float, RATES] = 2e-2
    path_penalty: Annotated[float, Range(0, 1e6, "with more, nothing else is fitted")] = 0.01
    held_out_seeds: Annotated[int, Range(0, 999, "a sweep has at most 1000")] = 1
    seed: Annotated[int, SEEDS] = 0


@dataclass(frozen=True, kw_only=True)
class JudgeSettings(Checked):
    """The fit of the judge, the ODEs that say what a given schedule would do.

    Attributes:
        members: each is fitted without its own part of the configurations; 5 parts leave four
            fifths.
        updates: of AdamW on all runs at once; 800 take 27 s for 249 runs on a CPU core, and 600 to
            1,500 ranked unseen schedules equally well (docs/research/scheduler.md).
        peak_lr: of the fit's OneCycle; halve it should the loss not stay finite.
        seed: of the first weights, the parts and the runs' weights.
    """

    members: Annotated[int, Range(2, 100, "one says no spread, each takes a fit")] = 5
    updates: Annotated[int, _UPDATES] = 800
    peak_lr: Annotated[float, RATES] = 5e-3
    seed: Annotated[int, SEEDS] = 0


@dataclass(frozen=True, kw_only=True)
class ControllerSettings(Checked):
    """The scheduler's decisions; `mu` and `horizon` are lengths in shares of the run.

    Attributes:
        mu: μ, how often it decides, and what the paper's controller encodes: 0.05 of a run, as in
            the paper. Rounded to log points, two at least.
        n: ensemble size, 30.
        sigma: latent noise, 0.15.
        horizon: the paper's Δt; None is the longest, T − t_*, its best. Only `paper` has it.
        caution: κ of the default controller: a run leaves its plan only for a gain above κ times
            the judge's error. 0 follows whatever looks better, 1 is safe, a very large value keeps
            the plan.
    """

    mu: Annotated[float, SHARES] = 0.05
    n: Annotated[int, Range(1, 10_000, "each is decoded at every decision")] = 30
    sigma: Annotated[float, Range(0, 1000, "a latent state is of size 1")] = 0.15
    horizon: Annotated[float, SHARES] | None = None
    caution: Annotated[float, Range(0, 1e12, "no gain is so large")] = 1.0


def window_points(share: float, points: int) -> int:
    """Log points in `share` of a run that has `points`; at least 2, as one shows no slope."""
    return max(2, round(share * points))


def as_shares(controller: Mapping[str, Any], points: int) -> dict[str, Any]:
    """A controller's settings as they were registered, with lengths in shares of the run.

    Earlier versions registered them in log points: whole numbers, where a share is none.

    Args:
        controller: `horizon` may be 0, the longest. points: T of the fit.
    """
    found = dict(controller)
    for name in ("mu", "horizon"):
        if isinstance(found.get(name), int):
            found[name] = found[name] / points
    return found | {"horizon": found.get("horizon") or None}
