"""Versions of histories with real Git and DVC: made beside the user's work, brought back from the
remote, checked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from components.retraining.errors import VersioningError
from components.retraining.histories_versions import histories_versions, restore, snapshot
from components.storage.workspace import Workspace
from components.training.history import digest, read_histories, write_history
from tests.validation.conftest import make_history

ROOT = Path(__file__).parents[2]
TASK = "mnist1d-cnn"
pytestmark = pytest.mark.slow


def git(root: Path, *command: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
    done = subprocess.run(["git", *who, *command], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Workspace:
    """A clone with this project's DVC configuration, a commit, work in progress, and histories."""
    root = tmp_path / "clone"
    (root / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    git(root, "init", "--quiet", "--initial-branch=main")
    (root / "code.py").write_text("committed")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    (root / "code.py").write_text("being worked on")
    (root / "staged.py").write_text("staged")
    git(root, "add", "staged.py")
    workspace = Workspace(root)
    for seed in (0, 1):
        write_history(make_history("constant", 0.01, seed), workspace.histories(TASK))
    return workspace


def state(root: Path) -> tuple[str, ...]:
    return (
        git(root, "status", "--porcelain"),
        git(root, "rev-parse", "HEAD"),
        git(root, "symbolic-ref", "HEAD"),
        git(root, "write-tree"),
    )


def test_versions_are_made_beside_the_users_work_and_come_back_from_the_remote(
    clone: Workspace, tmp_path: Path
) -> None:
    before = state(clone.root)
    first = snapshot(clone, TASK, "first night")
    assert first.pushed and "2 runs, 2 added, 0 removed" in first.summary
    assert snapshot(clone, TASK, "again").revision == first.revision, "nothing changed"
    one = digest(read_histories(clone.histories(TASK)))

    write_history(make_history("cosine", 0.05, 3), clone.imported(TASK))
    next(clone.histories(TASK).glob("*.parquet")).unlink()
    second = snapshot(clone, TASK, "second night")
    assert "2 runs, 1 added, 1 removed" in second.summary
    assert state(clone.root) == before, "branch, index or working tree was touched"

    versions = histories_versions(clone, TASK)
    assert [v.revision for v in versions] == [second.revision, first.revision]
    assert [(v.runs, v.added, v.removed) for v in versions] == [(2, 1, 1), (2, 2, 0)]
    assert [v.message for v in versions] == ["second night", "first night"]
    tree = git(clone.root, "ls-tree", "-r", "--name-only", "lode-histories").splitlines()
    assert {f"lode-histories/{TASK}.dvc", f"lode-histories/{TASK}.json", "code.py"} <= set(tree)

    shutil.rmtree(clone.root / ".dvc" / "cache")
    shutil.rmtree(clone.histories(TASK))
    assert restore(clone, TASK, first.revision, tmp_path / "brought") == 2
    assert digest(read_histories(tmp_path / "brought")) == one
    with pytest.raises(VersioningError, match="not empty; choose another folder with --out"):
        restore(clone, TASK, first.revision, tmp_path / "brought")
    shutil.rmtree(clone.root / ".dvc" / "cache")
    shutil.rmtree(clone.root / "data" / "versions")
    with pytest.raises(VersioningError, match="neither in DVC's cache nor in its remote"):
        restore(clone, TASK, first.revision, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(VersioningError, match=r"no version of the histories of .*lode histories"):
        restore(clone, TASK, "HEAD", tmp_path / "elsewhere")
    assert state(clone.root) == before


def test_two_tasks_do_not_touch_each_other_and_a_lost_remote_is_said(clone: Workspace) -> None:
    config = clone.root / ".dvc" / "config"
    blocked = clone.root / "blocked"
    blocked.write_text("a file where the remote's folder should be")
    config.write_text(config.read_text().replace("../data/versions", "../blocked"))
    first = snapshot(clone, TASK, "first")
    assert first.revision and not first.pushed and "not pushed" in first.summary
    blocked.unlink()
    again = snapshot(clone, TASK, "first, once more")
    assert again.pushed and again.revision != first.revision
    write_history(make_history("cosine", 0.01, 0, task="digits-mlp"), clone.imported("digits-mlp"))
    other = snapshot(clone, "digits-mlp", "other")
    assert [v.revision for v in histories_versions(clone, TASK)] == [again.revision, first.revision]
    assert [v.revision for v in histories_versions(clone, "digits-mlp")] == [other.revision]


def test_without_git_or_dvc_it_is_said(clone: Workspace) -> None:
    shutil.rmtree(clone.root / ".git")
    made = snapshot(clone, TASK, "night")
    assert made.revision == "" and "no Git repository here" in made.summary
    with pytest.raises(VersioningError, match="no Git repository"):
        histories_versions(clone, TASK)
    shutil.rmtree(clone.root / ".dvc")
    assert "no DVC here" in snapshot(clone, TASK, "night").summary


def test_a_damaged_remote_is_noticed(clone: Workspace, tmp_path: Path) -> None:
    made = snapshot(clone, TASK, "night")
    stored = [p for p in (clone.root / ".dvc" / "cache").rglob("*") if p.is_file()]
    for path in stored:
        if path.suffix != ".dir":
            path.chmod(0o600)
            path.write_bytes(b"damaged")
    shutil.rmtree(clone.root / "data" / "versions")
    with pytest.raises(VersioningError):
        restore(clone, TASK, made.revision, tmp_path / "out")
