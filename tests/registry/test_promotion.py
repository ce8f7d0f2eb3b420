"""Aliases move last and on purpose; the way back; what the versions are."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from components.lode.model import LODE
from components.lode.settings import ControllerSettings
from components.registry.challenger import register_challenger
from components.registry.connection import RegistryError, connect
from components.registry.models import champion, register
from components.registry.promotion import appoint, find, promote, rollback, way_back
from components.registry.registration import Registration
from components.registry.versions import list_versions

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
        settings=ControllerSettings(mu=0.2),
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


def appointed(folder: Path, uri: str, *, trial: str = "", **tags: str) -> str:
    """What a version that the pipeline registers becomes."""
    root = Path(uri.removeprefix("sqlite:///")).parent / "artifacts"
    made = register(folder, task=TASK, tags=TAGS | tags, tracking_uri=uri, artifact_root=root)
    return appoint(made, trial=trial, tracking_uri=uri)


def test_only_the_first_and_the_same_once_more_become_champion_by_themselves(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    weights = [other_weights(lode_dir, tmp_path / str(i), i / 10) for i in range(4)]
    assert "of the trial t-1" in appointed(weights[0], tracking_uri, trial="t-1")
    with pytest.raises(RegistryError, match="@champion does not exist"):
        champion(TASK, tracking_uri=tracking_uri)
    assert appointed(weights[1], tracking_uri) == "the champion"
    assert appointed(weights[1], tracking_uri) == "the champion", "registered again"
    assert appointed(weights[2], tracking_uri) == "the champion", "the code has changed"
    said = appointed(weights[3], tracking_uri, settings_digest="other")
    assert said == (
        "a candidate: the champion, version 3, was made with other settings; `lode promote 4` "
        "makes it the champion"
    )
    assert "other histories" in appointed(weights[3], tracking_uri, histories_digest="o")
    assert champion(TASK, tracking_uri=tracking_uri).version == 3
    assert promote(TASK, 4, tracking_uri=tracking_uri, who="ann", why="faster") == (3, 4)
    tags = champion(TASK, tracking_uri=tracking_uri).tags
    assert (tags["promoted_by"], tags["previous_champion"]) == ("ann", "3")
    with pytest.raises(RegistryError, match="version 4 is the champion already"):
        promote(TASK, 4, tracking_uri=tracking_uri, who="ann", why="")


def test_the_way_back_leaves_out_what_was_rolled_back_or_never_champion(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    for number in range(1, 4):
        folder = other_weights(lode_dir, tmp_path / str(number), number / 10)
        trial = "" if number == 1 else f"t-{number}"
        appointed(folder, tracking_uri, trial=trial)
    for version in (2, 3):
        promote(TASK, version, tracking_uri=tracking_uri, who="ann", why="")
    assert rollback(TASK, tracking_uri=tracking_uri, who="ann", why="") == (3, 2)
    assert rollback(TASK, tracking_uri=tracking_uri, who="ann", why="") == (2, 1)
    promote(TASK, 3, tracking_uri=tracking_uri, who="ann", why="")  # whose rollback is forgotten
    assert way_back(TASK, tracking_uri=tracking_uri) == (3, 1)


def test_who_follows_the_champion_never_sees_a_trial(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    """Twenty trials, refusals, promotions and rollbacks, in an order drawn by a seed."""
    draw, seen, trials = random.Random(0), [], set()
    appointed(other_weights(lode_dir, tmp_path / "0", 0.01), tracking_uri)
    for number in range(1, 21):
        folder = other_weights(lode_dir, tmp_path / str(number), number / 10)
        now = champion(TASK, tracking_uri=tracking_uri).version
        what = draw.choice(["trial", "trial", "refused", "promoted", "rollback"])
        if what == "trial":
            appointed(folder, tracking_uri, trial=f"t-{number}", settings_digest=str(number))
            trials.add(list_versions(TASK, tracking_uri=tracking_uri)[-1].version)
        elif what == "rollback":
            with suppress(RegistryError):  # there is none before the first
                rollback(TASK, tracking_uri=tracking_uri, who="ann", why="")
        else:
            challenge(folder, tracking_uri, promote=what == "promoted", against=now)
        seen.append(champion(TASK, tracking_uri=tracking_uri).version)
    assert trials and len(set(seen)) > 3 and not trials & set(seen)
