"""A month of nights: what every store grows by, what `lode prune` leaves, and that it all works."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.registry.models import fetch
from components.registry.versions import Version, list_versions
from components.retraining.git_branch import pointer
from components.retraining.histories_versions import histories_versions, restore
from components.retraining.record import last_record
from components.retraining.retrain import retrain
from components.storage.workspace import Workspace
from components.training.history import digest, read_histories
from tests.tiny import in_this_process

from .conftest import TASK, bring, lode, tiny, variant
from .test_nights import spoil_champion

STORES = (
    ".git",
    "mlartifacts",
    "mlflow.db",
    "data/nightly",
    "data/versions",
    ".dvc/cache",
    "models/challenger",
    f"reports/{TASK}/nightly.jsonl",
    ".lode",
)


def size(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())


def sizes(root: Path) -> dict[str, int]:
    return {store: size(root / store) for store in STORES}


def registered(workspace: Workspace) -> dict[int, Version]:
    uri = workspace.database(tiny().registry.tracking_uri)
    return {one.version: one for one in list_versions(TASK, tracking_uri=uri)}


def spend(nights: int, workspace: Workspace) -> Iterator[tuple[str, str]]:
    """(digest, revision) of each night's histories. Two runs come from elsewhere every day. The
    third night has a bad champion to beat, and promotes; the others have a floor that refuses."""
    sweep = sorted(read_histories(workspace.histories(TASK)), key=lambda h: h.run_id)
    for night in range(1, nights + 1):
        settings = tiny() if night == 3 else tiny(retraining__max_error=1e-6)
        if night == 3:
            spoil_champion(settings, workspace)
        numbers = (2 * night + 100, 2 * night + 101)
        bring([variant(sweep[one % len(sweep)], one) for one in numbers], workspace)
        assert retrain(settings, workspace, in_this_process).ran
        found = last_record(workspace, TASK)
        assert found is not None and found.data_revision
        yield found.histories_digest, found.data_revision


def needed(versions: dict[int, Version], keep: int) -> set[int]:
    """Slowly: what has an alias, is among the newest, or was the champion before one of those."""
    found = {one for one, of in versions.items() if of.aliases} | set(sorted(versions)[-keep:])
    while True:
        before = {int(versions[one].tags.get("previous_champion", one)) for one in found}
        if before <= found:
            return found | {1}  # what `lode register` made
        found |= before


# A whole month (30, 10) takes minutes: its figures are in docs/guides/retraining.md.
@pytest.mark.acceptance
@pytest.mark.parametrize(("nights", "keep"), [(4, 1)])
def test_nights_grow_evenly_and_prune_leaves_what_can_be_needed(
    nights: int, keep: int, clone: Path, tmp_path: Path
) -> None:
    workspace = Workspace(clone)
    shutil.rmtree(workspace.artifacts)  # a copy that nobody refers to: version 1 is the original's
    grown, learned = [sizes(clone)], []
    for night in spend(nights, workspace):
        learned.append(night)
        grown.append(sizes(clone))
    check_growth(grown)

    before = registered(workspace)
    expected = needed(before, keep)
    assert f"{TASK} to prune" not in lode("prune", "--keep", str(keep), "--yes", root=clone)
    print("freed", {store: of - sizes(clone)[store] for store, of in grown[-1].items()})
    assert set(registered(workspace)) == expected < set(before)
    assert f"nothing of {TASK} to prune" in lode("prune", "--keep", str(keep), root=clone)

    check_nothing_is_orphaned(workspace, expected, keep, tmp_path)
    out = tmp_path / "third"
    restore(workspace, TASK, learned[2][1], out)  # its LODE is the champion, or was before it
    assert digest(read_histories(out)) == learned[2][0]
    lode("rollback", "--yes", root=clone)
    bring([variant(read_histories(out)[0], 999)], workspace)
    assert retrain(tiny(), workspace, in_this_process).ran


def check_growth(grown: list[dict[str, int]]) -> None:
    """No store grows faster in the last third of the nights than twice what it did in the first."""
    nights = len(grown) - 1
    third = max(1, nights // 3)
    for store in STORES:
        size_by_night = [one[store] for one in grown]
        first, last = (size_by_night[i + third] - size_by_night[i] for i in (0, nights - third))
        each = (size_by_night[-1] - size_by_night[0]) / nights
        print(f"{store}: {size_by_night[0]} bytes and {each:.0f} more a night")
        assert last <= 2 * first + 100_000, f"{store} grows ever faster"


def check_nothing_is_orphaned(
    workspace: Workspace, versions: set[int], keep: int, tmp_path: Path
) -> None:
    """Each file belongs to something that is kept, and all that is kept has its files."""
    uri, root = workspace.database(tiny().registry.tracking_uri), workspace.root
    for version in versions:
        fetch(f"models:/lode-{TASK}/{version}", tracking_uri=uri, folder=tmp_path / str(version))
    models = [path.parent for path in workspace.artifacts.rglob("MLmodel")]
    assert len(models) == len(versions - {1})
    left = [path for path in workspace.artifacts.rglob("*") if path.is_file()]
    assert all(any(path.is_relative_to(model) for model in models) for path in left)

    newest = [one.revision for one in histories_versions(workspace, TASK)[:keep]]
    tagged = [of.tags.get("data_revision", "none") for of in registered(workspace).values()]
    revisions = {*newest, *tagged} - {"none"}
    names = {pointer(root, one, TASK) for one in revisions}
    folders = {found for text in names for found in re.findall(r"[0-9a-f]{32}\.dir", text)}
    for store in (root / "data" / "versions", root / ".dvc" / "cache"):
        there = {path.parent.name + path.name for path in (store / "files").rglob("*.dir")}
        assert there == folders
    for one in revisions:
        assert restore(workspace, TASK, one, tmp_path / one)
