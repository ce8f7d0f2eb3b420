"""What can be chosen of a LODE: each setting, its default, its range, and how to choose it.

Plain dataclasses, stated here once: the fit, the controllers and the registered model take their
defaults from them, and `components/settings.py` has pydantic check a `params.yaml` against them.
Made by hand they are not checked. Registered models carry this file, so it stays light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Gt

Controller = Literal["default", "paper"]
Encoder = Literal["ode-rnn", "gru"]
Solver = Literal["rk4", "dopri5"]

CONTROLLERS: tuple[Controller, ...] = get_args(Controller)
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)
SOLVERS: tuple[Solver, ...] = get_args(Solver)
DEFAULT, PAPER = CONTROLLERS  # ours, and Algorithm 1 as printed


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
    latent: Annotated[int, Gt(0)] = 20
    hidden: Annotated[int, Gt(0)] = 20
    solver: Solver = "rk4"
    solver_steps: Annotated[int, Ge(2)] = 32


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
            fitted.
        seed: of the first weights and the batches.
    """

    updates: Annotated[int, Ge(1)] = 4000
    batch_size: Annotated[int, Gt(0)] = 100
    peak_lr: Annotated[float, Gt(0)] = 2e-2
    path_penalty: Annotated[float, Ge(0)] = 0.01
    held_out_seeds: Annotated[int, Ge(0)] = 1
    seed: Annotated[int, Ge(0)] = 0


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

    members: Annotated[int, Ge(2)] = 5
    updates: Annotated[int, Gt(0)] = 800
    peak_lr: Annotated[float, Gt(0)] = 5e-3
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class ControllerSettings(Checked):
    """The scheduler's decisions; `mu` and `horizon` are lengths in log points.

    Attributes:
        mu: update interval, and the paper's encoding length; 5 % of T there.
        n: ensemble size, 30.
        sigma: latent noise, 0.15.
        horizon: the paper's Δt; None is the longest, T − t_*, its best. Only `paper` has it.
        caution: κ of the default controller: a run leaves its plan only for a gain above κ times
            the judge's error. 0 follows whatever looks better, 1 is safe, a very large value keeps
            the plan.
    """

    mu: Annotated[int, Ge(2)] = 5
    n: Annotated[int, Gt(0)] = 30
    sigma: Annotated[float, Ge(0)] = 0.15
    horizon: Annotated[int, Gt(0)] | None = None
    caution: Annotated[float, Ge(0)] = 1.0
