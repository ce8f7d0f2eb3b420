"""The MLflow registry: a sweep's runs, and the LODE under `lode-<task>@champion`."""

from components.registry.connection import RegistryError
from components.registry.models import Registration, champion, fetch, model_name, register
from components.registry.promotion import (
    Version,
    find,
    list_versions,
    register_challenger,
    rollback,
)
from components.registry.tracking import log_sweep

__all__ = [
    "Registration",
    "RegistryError",
    "Version",
    "champion",
    "fetch",
    "find",
    "list_versions",
    "log_sweep",
    "model_name",
    "register",
    "register_challenger",
    "rollback",
]
