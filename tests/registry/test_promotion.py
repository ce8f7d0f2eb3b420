"""Aliases move last and on purpose; the way back; what the versions are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.lode.model import LODE
from components.lode.settings import ControllerSettings
from components.registry import (
    Registration,
    RegistryError,
    champion,
    find,
    list_versions,
    register_challenger,
    rollback,
)
from components.registry.connection import connect

TASK = "mnist1d-cnn"
TAGS = {"settings_digest": "s" * 64, "histories_digest": "h" * 64}


def other_weights(lode_dir: Path, folder: Path, by: float) -> Path:
    lode = LODE.load(lode_dir)
    lode.readout.bias.data += by
    lode.save(folder)
    return folder


def challenge(folder: Path, uri: str, *, promote: bool, against: int | None) -> Registration:
    root = Path(uri.removeprefix("sqlite:///")).parent / "artifacts"
    return register_challenger(
        folder,
        task=TASK,
        tags=TAGS,
        decision={"decision": "promoted" if promote else "refused"},
        promote=promote,
        champion=against,
        tracking_uri=uri,
        artifact_root=root,
        controller="paper",
        settings=ControllerSettings(mu=4),
    )


@pytest.fixture
def three(lode_dir: Path, tracking_uri: str, tmp_path: Path) -> str:
    """Version 1, then 2 promoted over it, then 3 refused."""
    challenge(
        other_weights(lode_dir, tmp_path / "1", 0.1), tracking_uri, promote=True, against=None
    )
    challenge(other_weights(lode_dir, tmp_path / "2", 0.2), tracking_uri, promote=True, against=1)
    challenge(other_weights(lode_dir, tmp_path / "3", 0.3), tracking_uri, promote=False, against=2)
    return tracking_uri


def aliases(uri: str) -> list[tuple[str, ...]]:
    return [found.aliases for found in list_versions(TASK, tracking_uri=uri)]


def test_promoted_takes_the_alias_refused_leaves_it_and_tags_tell(
    three: str, tmp_path: Path
) -> None:
    assert aliases(three) == [(), ("champion",), ("challenger",)]
    one, two, last = list_versions(TASK, tracking_uri=three)
    assert [v.tags["decision"] for v in (one, two, last)] == ["promoted", "promoted", "refused"]
    assert "previous_champion" not in one.tags and two.tags["previous_champion"] == "1"
    assert "promoted_at" in two.tags and "promoted_at" not in last.tags
    assert last.tags["histories_digest"] == "h" * 64 and one.created <= two.created
    challenge(tmp_path / "3", three, promote=False, against=2)  # after a kill: nothing twice
    assert aliases(three) == [(), ("champion",), ("challenger",)]
    challenge(tmp_path / "2", three, promote=False, against=1)  # killed after the alias moved
    assert aliases(three) == [(), ("champion",), ("challenger",)]
    assert list_versions(TASK, tracking_uri=three)[1].tags == two.tags


def test_a_champion_that_changed_meanwhile_stops_a_promotion(three: str, tmp_path: Path) -> None:
    rollback(TASK, tracking_uri=three, who="ann", why="slow")
    with pytest.raises(RegistryError, match=r"is version 1 by now, compared was version 2: run"):
        challenge(tmp_path / "3", three, promote=True, against=2)
    assert champion(TASK, tracking_uri=three).version == 1


def test_rollback_goes_back_says_who_and_why_and_can_be_told_where(three: str) -> None:
    assert rollback(TASK, tracking_uri=three, who="ann", why="worse on Monday") == (2, 1)
    left: Any = list_versions(TASK, tracking_uri=three)[1].tags
    assert (left["rolled_back_by"], left["rolled_back_to"]) == ("ann", "1")
    assert left["rolled_back_why"] == "worse on Monday" and "rolled_back_at" in left
    assert aliases(three) == [("champion",), (), ("challenger",)]
    with pytest.raises(RegistryError, match=r"version 1 followed no other .*--to VERSION .*2, 3"):
        rollback(TASK, tracking_uri=three, who="ann", why="")
    assert rollback(TASK, tracking_uri=three, who="bob", why="", to=3) == (1, 3)
    with pytest.raises(RegistryError, match="version 3 is the champion already"):
        rollback(TASK, tracking_uri=three, who="bob", why="", to=3)
    with pytest.raises(RegistryError, match="/9: no such version; lode-mnist1d-cnn has versions"):
        rollback(TASK, tracking_uri=three, who="bob", why="", to=9)


def test_an_empty_registry(tracking_uri: str) -> None:
    assert find(TASK, "champion", tracking_uri=tracking_uri) is None
    assert list_versions(TASK, tracking_uri=tracking_uri) == []
    with pytest.raises(RegistryError, match="the registry is empty"):
        rollback(TASK, tracking_uri=tracking_uri, who="ann", why="")
    with connect(tracking_uri) as client:
        client.create_registered_model(f"lode-{TASK}")
    assert find(TASK, "champion", tracking_uri=tracking_uri) is None


def test_an_unreachable_server_is_said_in_words() -> None:
    with pytest.raises(RegistryError, match="make serve"):
        find(TASK, "champion", tracking_uri="http://127.0.0.1:9")
