"""Versions of histories, with real git and DVC in a clone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from components import versioning
from components.training.history import digest, history_path, read_histories
from components.versioning import VersioningError, bring_back, snapshot, versions
from components.workspace import Workspace

from .lode.conftest import synthetic

ROOT = Path(__file__).parents[1]
TASK = "mnist1d-cnn"
pytestmark = pytest.mark.slow


def git(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clone")
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc")
    shutil.copy(ROOT / ".gitignore", root)
    git(root, "init", "--quiet", "-b", "work")
    git(root, "add", "-A")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "code")
    return root


@pytest.fixture
def workspace(repository: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(repository, tmp_path / "clone")))


OLD = [synthetic("cosine", 0.1, seed) for seed in range(2)]
NEW = [*OLD[1:], synthetic("constant", 0.1, 0), synthetic("constant", 0.2, 0)]


def test_a_version_comes_back_from_the_remote_and_nothing_else_is_touched(
    workspace: Workspace, tmp_path: Path
) -> None:
    root = workspace.root
    (root / "untracked.txt").write_text("mine")
    git(root, "add", "untracked.txt")
    before = git(root, "status", "--porcelain"), git(root, "log", "--oneline", "work")
    first = snapshot(workspace, TASK, OLD, "sweep")
    second = snapshot(workspace, TASK, NEW, "night 1")
    assert first and second and first != second
    assert (git(root, "status", "--porcelain"), git(root, "log", "--oneline", "work")) == before
    assert git(root, "branch", "--show-current").strip() == "work"
    assert git(root, "worktree", "list").count("\n") == 1

    shutil.rmtree(root / ".dvc/cache")  # only the remote has the data now
    for revision, histories in ((first, OLD), (second, NEW)):
        out = tmp_path / revision
        assert bring_back(workspace, TASK, revision, out) == len(histories)
        assert digest(read_histories(out)) == digest(histories)
        assert all(history_path(out, h.run_id).exists() for h in histories)


def test_the_branch_tells_what_changed(workspace: Workspace) -> None:
    assert versions(workspace, TASK) == []
    first = snapshot(workspace, TASK, OLD, "sweep")
    second = snapshot(workspace, TASK, NEW, "night 1")
    found = versions(workspace, TASK)
    assert [v.revision for v in found] == [second, first]
    assert [v.runs for v in found] == [3, 2]
    assert [v.digest for v in found] == [digest(NEW), digest(OLD)]
    assert found[0].message == f"{TASK}: night 1"
    assert "3 runs, 2 added, 1 removed" in git(workspace.root, "log", "-1", versioning.BRANCH)
    shown = git(workspace.root, "show", versioning.BRANCH, "--", f"training-sets/{TASK}.json")
    assert "+  " in shown and "constant 0.2 seed 0" in shown
    assert "training-sets" not in git(workspace.root, "ls-tree", "--name-only", "work")


def test_the_same_histories_are_the_same_version(workspace: Workspace) -> None:
    first = snapshot(workspace, TASK, OLD, "sweep")
    assert snapshot(workspace, TASK, list(reversed(OLD)), "again") == first
    assert len(versions(workspace, TASK)) == 1


def test_an_unknown_version_names_the_known(workspace: Workspace, tmp_path: Path) -> None:
    first = snapshot(workspace, TASK, OLD, "sweep")
    with pytest.raises(VersioningError, match=f"no version of {TASK}.*known: {first}"):
        bring_back(workspace, TASK, "work", tmp_path / "out")
    with pytest.raises(VersioningError, match="no version of digits-mlp"):
        bring_back(workspace, "digits-mlp", str(first), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lost_data_is_said(workspace: Workspace, tmp_path: Path) -> None:
    first = snapshot(workspace, TASK, OLD, "sweep")
    shutil.rmtree(workspace.root / ".dvc/cache")
    shutil.rmtree(workspace.root / ".dvc/remote")
    with pytest.raises(VersioningError, match="pull"):
        bring_back(workspace, TASK, str(first), tmp_path / "out")


def test_without_git_there_are_no_versions(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert snapshot(workspace, TASK, OLD, "sweep") is None
    assert versions(workspace, TASK) == []
    with pytest.raises(VersioningError, match="not a git repository"):
        bring_back(workspace, TASK, "abc", tmp_path / "out")
