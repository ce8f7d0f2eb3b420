"""Which version is in use: promotion, and the way back.

MLflow has no compare-and-swap for aliases. So the alias `champion` is moved last, after everything
that explains it is written, and only if it still points where the caller saw it. Between that look
and the move a few milliseconds remain in which another's move would be overwritten; its version and
its tags stay, and `lode versions` shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.registry.aliases import (
    CANDIDATE,
    CHAMPION,
    PREVIOUS,
    ROLLED_BACK,
    aliases,
    make_champion,
    now,
)
from components.registry.connection import RegistryError, connect, is_there
from components.registry.lookup import resolve, versions
from components.registry.registration import Registration, as_registration, model_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def find(task: str, alias: str, *, tracking_uri: str) -> Registration | None:
    """The version that an alias points to; None where there is no such model or alias.

    Raises:
        RegistryError: the registry is unreachable.
    """
    name = model_name(task)
    if not is_there(tracking_uri):
        return None
    with connect(tracking_uri) as client:
        number = aliases(client, name).get(alias)
        if number is None:
            return None
        return as_registration(client.get_model_version(name, str(number)))


def appoint(registered: Registration, *, trial: str, tracking_uri: str) -> str:
    """What a version that the pipeline has registered is from now on: the champion, or a candidate.

    It becomes the champion only where nobody else is, or where it is the champion's own settings
    and histories once more (the code has changed, or the files were lost). Whatever else is better
    or worse than the champion, which a night's gate or a person decides.

    Args:
        trial: the name of the trial that fitted it; empty: it is of params.yaml.

    Returns:
        One clause: `the champion`, or `a candidate: …` and why.

    Raises:
        RegistryError: the registry is unreachable.
    """
    with connect(tracking_uri) as client:
        name, version = registered.name, registered.version
        current = aliases(client, name).get(CHAMPION)
        if current == version:
            return "the champion"
        why = _why_candidate(client, registered, trial, current)
        if why is None:
            tag(client, registered, {"decision": "promoted", "reasons": _IN_FAVOUR})
            make_champion(client, name, version)
            return "the champion"
        tag(client, registered, {"decision": "candidate", "reasons": why, "trial": trial or "none"})
        client.set_registered_model_alias(name, CANDIDATE, str(version))
        return f"a candidate: {why}; `lode promote {version}` makes it the champion"


_IN_FAVOUR = "no other champion, or the champion's own settings and histories once more"


def _why_candidate(
    client: MlflowClient, registered: Registration, trial: str, current: int | None
) -> str | None:
    if trial:
        return f"it is of the trial {trial}"
    if current is None:
        return None
    tags = client.get_model_version(registered.name, str(current)).tags
    for key, what in (("settings_digest", "settings"), ("histories_digest", "histories")):
        if tags.get(key) != registered.tags.get(key):
            return f"the champion, version {current}, was made with other {what}"
    return None


def promote(
    task: str, version: int, *, tracking_uri: str, who: str, why: str
) -> tuple[int | None, int]:
    """Make a version the champion because a person says so; returns (before, now in use).

    It gets the tags `promoted_at`, `_by` and `_why`.

    Raises:
        RegistryError: unreachable; no such version, or it is the champion.
    """
    name = model_name(task)
    _check_there(name, tracking_uri)
    with connect(tracking_uri) as client:
        found = as_registration(resolve(client, f"models:/{name}/{version}"))
        current = aliases(client, name).get(CHAMPION)
        if current == version:
            raise RegistryError(f"{name} version {version} is the champion already")
        facts = {"decision": f"promoted by {who}", "promoted_by": who, "promoted_why": why}
        tag(client, found, facts)
        make_champion(client, name, version)
        return current, version


def way_back(task: str, *, tracking_uri: str, to: int | None = None) -> tuple[int, int]:
    """Which version is the champion, and which one `rollback` goes to: `to`, or the last one before
    it that was the champion and was not itself left for being worse.

    Raises:
        RegistryError: unreachable; no champion; no version before it is known; `to` does not exist
            or is the champion.
    """
    name = model_name(task)
    _check_there(name, tracking_uri)
    with connect(tracking_uri) as client:
        left = resolve(client, f"models:/{name}@{CHAMPION}")
        target = _before(client, left) if to is None else to
        if target is None:
            others = [str(v.version) for v in versions(client, name) if v.version != left.version]
            raise RegistryError(
                f"{name} version {left.version} followed no other champion; choose one with "
                f"--to VERSION ({'there are ' + ', '.join(others) if others else 'it is the only'})"
            )
        found = resolve(client, f"models:/{name}/{target}")
        if found.version == left.version:
            raise RegistryError(f"{name} version {target} is the champion already")
        return int(left.version), int(found.version)


def _before(client: MlflowClient, left: ModelVersion) -> int | None:
    """The last champion before a version that was not rolled back; None: there was none."""
    known = {int(found.version): found for found in versions(client, left.name)}
    seen, number = {int(left.version)}, left.tags.get(PREVIOUS)
    while number is not None and int(number) in known and int(number) not in seen:
        found = known[int(number)]
        if ROLLED_BACK not in found.tags:
            return int(number)
        seen.add(int(number))
        number = found.tags.get(PREVIOUS)
    return None


def rollback(
    task: str, *, tracking_uri: str, who: str, why: str, to: int | None = None
) -> tuple[int, int]:
    """Move `champion` back; returns (left, now in use), as of `way_back`.

    The version that is left gets the tags `rolled_back_at`, `_by`, `_why` and `_to`; nothing is
    deleted.

    Raises:
        RegistryError: as of `way_back`.
    """
    name = model_name(task)
    left, target = way_back(task, tracking_uri=tracking_uri, to=to)
    with connect(tracking_uri) as client:
        facts = {ROLLED_BACK: now(), "rolled_back_by": who, "rolled_back_why": why}
        for key, value in {**facts, "rolled_back_to": str(target)}.items():
            client.set_model_version_tag(name, str(left), key, value)
        client.set_registered_model_alias(name, CHAMPION, str(target))
    return left, target


def _check_there(name: str, tracking_uri: str) -> None:
    if not is_there(tracking_uri):
        raise RegistryError(f"no version of {name} yet: there is no registry; run `lode register`")


def tag(client: MlflowClient, found: Registration, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(found.name, str(found.version), key, str(value))
