"""A test of a missing system package skips with its reason, and fails in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NAMES = "no-such-command", "no-such-package"


def test_skips_with_the_reason(needs_system, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-command.*install no-such-package"):
        needs_system(*NAMES)


def test_fails_in_ci(needs_system, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no-such-command.*install no-such-package"):
        needs_system(*NAMES)


def test_returns_what_is_there(needs_system) -> None:
    assert needs_system("sh", "dash").name == "sh"
    assert needs_system(Path(sys.executable), "python3") == Path(sys.executable)


def test_workspace_is_the_current_folder(workspace: Path) -> None:
    printed = subprocess.run(["pwd", "-P"], capture_output=True, text=True, check=True).stdout
    assert Path(printed.strip()) == workspace.resolve()
    assert [path.name for path in workspace.iterdir()] == ["params.yaml"]
