"""The aliases of a registered LODE: `champion`, in use; `challenger`, of the last night;
`candidate`, the last of the pipeline that nobody has made the champion."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, CANDIDATE = "champion", "challenger", "candidate"
# Tags of a version: whom it took the alias from, and when.
PREVIOUS, PROMOTED = "previous_champion", "promoted_at"
ROLLED_BACK = "rolled_back_at"  # it was left for being worse; promoted again it loses the tag


def aliases(client: MlflowClient, name: str) -> dict[str, int]:
    """Version by alias; empty where there is no such model."""
    models = client.search_registered_models(f"name='{name}'")
    return {alias: int(number) for model in models for alias, number in model.aliases.items()}


def make_champion(client: MlflowClient, name: str, version: int) -> None:
    """Point `champion` at a version, which remembers whom it follows; the alias moves last."""
    before = aliases(client, name).get(CHAMPION)
    if before == version:
        return
    tags = {PROMOTED: now()} | ({} if before is None else {PREVIOUS: str(before)})
    for key, value in tags.items():
        client.set_model_version_tag(name, str(version), key, value)
    if ROLLED_BACK in client.get_model_version(name, str(version)).tags:
        client.delete_model_version_tag(name, str(version), ROLLED_BACK)
    client.set_registered_model_alias(name, CHAMPION, str(version))
    if aliases(client, name).get(CANDIDATE) == version:
        client.delete_registered_model_alias(name, CANDIDATE)


def now() -> str:
    """Local time with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
