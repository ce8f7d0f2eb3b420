"""`lode.LODEScheduler`: a fitted LODE, or the plan it made, as a scheduler of torch's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.optim import Optimizer

from components.adapters.rate_scheduler import Fixed, RateScheduler, controller_of
from components.lode.errors import LODEError
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.names import JUDGE_CONFIG
from components.lode.plan_file import Goal, Plan, read_plan
from components.storage.shown import shown

REGISTERED = "models:/"
Source = str | Path | Plan | LODE | tuple[LODE, Judge | None]


@dataclass(frozen=True)
class Found:
    """What a source holds: the metric's goal, and a plan, or a LODE with its judge (None: fitted
    without) and, where they are known, the settings of its controller."""

    goal: Goal
    plan: Plan | None = None
    lode: LODE | None = None
    judge: Judge | None = None
    controller: dict[str, Any] = field(default_factory=dict)


class LODEScheduler(RateScheduler):
    """A `torch.optim.lr_scheduler.LRScheduler` whose rates a LODE decides, or a plan of one.

    Made by `load`; `RateScheduler` says how it is used.
    """

    @classmethod
    def load(
        cls,
        source: Source,
        optimizer: Optimizer,
        *,
        total_steps: int,
        points: int | None = None,
        seed: int = 0,
        goal: Goal | None = None,
        tracking_uri: str | None = None,
        **controller: Any,
    ) -> LODEScheduler:
        """A scheduler for a run of `total_steps` updates.

        Args:
            source: `models:/lode-my-task@champion` (or `/3`; needs MLflow), the folder of a fitted
                LODE (`models/lode/<task>`), a plan.json, or what these hold: a `Plan`, a `LODE`
                with or without its `Judge`. Under a plan nothing is decided as the run goes.
            optimizer: any; the rates it was built with only say its groups' ratios.
            total_steps: N, updates of the run. Best what the LODE was fitted for; a warning says
                where it is not.
            points: T, log points of the run, 10 to N; None: as many as the fit had. They are when
                it is best told how the training goes.
            seed: of the latent noise.
            goal: `maximize` or `minimize`: what is better of the metric that `observe` is told.
                The LODE knows; who says it, too, is told when they differ.
            tracking_uri: of the registry; None: MLflow's own choice (MLFLOW_TRACKING_URI).
            controller: `mu`, `n`, `sigma`, `caution`, …, see `ControllerSettings`, in place of
                those that the version was registered with.

        Raises:
            LODEError: nothing there, damaged, or impossible lengths; names the thing and the
                remedy. RegistryError: the registry is unreachable or has no such version.
        """
        if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
            raise LODEError(
                f"total_steps = {shown(total_steps)}: the updates of the run, 1 or more"
            )
        found = found_in(source, tracking_uri)
        if goal not in (None, found.goal):
            raise LODEError(f"goal is {goal!r}, and {shown(source)} is of a metric to {found.goal}")
        goal = found.goal
        if found.plan is not None:
            if controller:
                raise LODEError(f"a plan is followed as it is; leave out {', '.join(controller)}")
            return cls(
                optimizer, Fixed(found.plan.lrs(total_steps)), total_steps=total_steps, goal=goal
            )
        assert found.lode is not None
        chosen = {**found.controller, **controller}
        rates = controller_of(found.lode, found.judge, total_steps, points, seed, chosen)
        return cls(optimizer, rates, total_steps=total_steps, goal=goal)


def found_in(source: Source, tracking_uri: str | None = None) -> Found:
    """What `LODEScheduler.load` is given.

    Raises:
        LODEError, RegistryError: as there.
    """
    if isinstance(source, Plan):
        return Found(source.metric.goal, source)
    if isinstance(source, LODE):
        return _found(source)
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], LODE):
        return _found(*source)
    if isinstance(source, str) and source.startswith(REGISTERED):
        return _registered(source, tracking_uri)
    if isinstance(source, str | Path):
        path = Path(source)
        return _in_folder(path) if path.is_dir() else found_in(read_plan(path))
    raise LODEError(
        f"{shown(source)} is no LODE: give models:/lode-<task>@champion, the folder of a LODE, a "
        "plan.json, or a LODE with its judge"
    )


def _in_folder(folder: Path) -> Found:
    judged = (folder / JUDGE_CONFIG).exists()
    return _found(LODE.load(folder), Judge.load(folder) if judged else None)


def _found(lode: LODE, judge: Judge | None = None) -> Found:
    return Found(lode=lode, judge=judge, goal=lode.config.metric_goal)


def _registered(uri: str, tracking_uri: str | None) -> Found:
    """Checked, copied and read; nothing of the version's own code is run."""
    try:
        from components.registry.following import followed  # pandas, and MLflow when it is used
    except ModuleNotFoundError as error:
        raise LODEError(
            f"{uri}: a registry needs MLflow, and {error.name} is not installed: pip install "
            "mlflow, or give the folder of a LODE or a plan.json"
        ) from None
    with TemporaryDirectory(prefix="lode-") as scratch:
        controller = followed(uri, Path(scratch), tracking_uri)
        found = _in_folder(Path(scratch))
    return replace(found, controller=controller)
