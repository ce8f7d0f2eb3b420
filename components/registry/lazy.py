"""MLflow and SQLAlchemy, imported when they are first used.

Importing MLflow takes 1 to 2 s, and most commands that import this room never reach a registry.
`connect` sets MLflow's environment before it touches it, and all else here runs inside `connect`.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

__all__ = ["db_utils", "loading", "mlflow", "sqlalchemy"]


@contextmanager
def loading() -> Iterator[None]:
    """For what imports much. Nothing of it is garbage, yet Python would look through it for some
    again and again: with MLflow a fifth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


if TYPE_CHECKING:
    import mlflow
    import mlflow.artifacts
    import mlflow.entities
    import mlflow.exceptions
    import mlflow.models
    import mlflow.pyfunc
    import mlflow.store.db.utils as db_utils
    import mlflow.tracking._model_registry.utils
    import mlflow.tracking._tracking_service.utils
    import mlflow.types
    import mlflow.types.schema
    import sqlalchemy
    import sqlalchemy.exc
else:

    class _Lazy:
        def __init__(self, module: str) -> None:
            self._module = module

        def __getattr__(self, name: str) -> Any:
            with loading():
                return getattr(importlib.import_module(self._module), name)

    mlflow, sqlalchemy = _Lazy("mlflow"), _Lazy("sqlalchemy")
    db_utils = _Lazy("mlflow.store.db.utils")
