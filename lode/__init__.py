"""Learned learning-rate schedules in a training script of your own.

    from lode import LODEScheduler

    scheduler = LODEScheduler.load("plan.json", optimizer, total_steps=N)

Names are imported when they are first asked for, so that `import lode` itself takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.adapters.lightning import LightningCallback as LightningCallback
    from components.adapters.recorder import Run as Run
    from components.adapters.torch_scheduler import LODEScheduler as LODEScheduler
    from components.adapters.transformers import TransformersCallback as TransformersCallback
    from components.lode.plan_file import Plan as Plan
    from components.lode.plan_file import read_plan as read_plan
    from components.steps.study import Study as Study

# Where each public name lives.
_HOMES = {
    "LODEScheduler": "components.adapters.torch_scheduler",
    "LightningCallback": "components.adapters.lightning",
    "Plan": "components.lode.plan_file",
    "Run": "components.adapters.recorder",
    "Study": "components.steps.study",
    "TransformersCallback": "components.adapters.transformers",
    "read_plan": "components.lode.plan_file",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lode' has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
