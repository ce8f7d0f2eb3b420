"""Find a registered version, or say what the registry holds instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.registry.connection import RegistryError
from components.registry.lazy import mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# MLflow's codes for a model or an alias that is not there.
_ABSENT = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def resolve(client: MlflowClient, uri: str) -> ModelVersion:
    """The version a models URI means.

    Raises:
        RegistryError: it does not exist; the message names what does.
    """
    name, alias, version_ = parse(uri)
    if alias:
        return by_alias(client, name, alias)
    found = [v for v in versions(client, name) if int(v.version) == version_]
    if not found:
        raise RegistryError(f"{uri}: no such version; {_what_exists(client, name)}")
    return found[0]


def parse(uri: str) -> tuple[str, str, int]:
    """(name, alias, version) of a models URI; alias `""` or version 0 where not given."""
    name, _, alias = uri.removeprefix("models:/").partition("@")
    if uri.startswith("models:/") and name and alias:
        return name, alias, 0
    name, _, number = name.rpartition("/")
    if uri.startswith("models:/") and name and number.isdecimal() and not alias:
        return name, "", int(number)
    raise RegistryError(
        f"{uri}: not a model; expected models:/lode-<task>@champion or models:/lode-<task>/3"
    )


def by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion:
    """As `resolve`, for an alias."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
    raise RegistryError(f"models:/{name}@{alias} does not exist; {_what_exists(client, name)}")


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a model, oldest first; empty where there is no such model."""
    found = list(client.search_model_versions(f"name='{name}'"))
    return sorted(found, key=lambda v: int(v.version))


def _what_exists(client: MlflowClient, name: str) -> str:
    known = versions(client, name)
    if not known:
        names = sorted(model.name for model in client.search_registered_models())
        holds = f"the registry holds {', '.join(names)}" if names else "the registry is empty"
        return f"{holds}; run `lode register` first"
    aliases = sorted(client.get_registered_model(name).aliases)
    return (
        f"{name} has versions {', '.join(str(v.version) for v in known)} and "
        f"{'aliases ' + ', '.join(aliases) if aliases else 'no alias'}; run `lode register` to "
        "register and promote the fitted LODE"
    )
