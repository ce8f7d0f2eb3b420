"""Two pipelines in one workspace: the second waits, and says for whom."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from components.storage.lock import _describe, only_one
from components.storage.workspace import Workspace, WorkspaceError

HOLD = """
import sys, time
from pathlib import Path
from components.storage.workspace import Workspace
from components.storage.lock import only_one
with only_one(Workspace(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(root: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_second_waits_and_names_the_first(tmp_path: Path) -> None:
    first = hold(tmp_path, 2)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    started = time.monotonic()
    out, said = hold(tmp_path, 0).communicate(timeout=30)
    assert f"process {first.pid}, since 20" in said and "waiting" in said
    assert out == "held\n" and time.monotonic() - started > 1
    assert first.wait() == 0


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    first = hold(tmp_path, 60)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    first.kill()
    first.wait()
    out, said = hold(tmp_path, 0).communicate(timeout=30)
    assert (out, said) == ("held\n", "")


def test_it_may_be_nested(tmp_path: Path) -> None:
    with only_one(Workspace(tmp_path)), only_one(Workspace(tmp_path)):
        pass
    out, said = hold(tmp_path, 0).communicate(timeout=30)
    assert (out, said) == ("held\n", "")


@pytest.mark.parametrize("name", ["", "pipeline.lock", "pipeline.json"])
def test_what_cannot_be_written_is_said_with_the_remedy(tmp_path: Path, name: str) -> None:
    """As in a workspace that is read-only, of which root, who may be testing, knows nothing."""
    if name:
        (tmp_path / ".lode" / name).mkdir(parents=True)
    else:
        (tmp_path / ".lode").touch()
    with (
        pytest.raises(WorkspaceError, match=r"\.lode.*cannot be written to.*owner"),
        only_one(Workspace(tmp_path)),
    ):
        pass


@pytest.mark.parametrize(
    "error", [OSError(30, "Read-only file system"), OSError(28, "No space"), NotImplementedError()]
)
def test_a_file_system_that_does_not_take_part(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(WorkspaceError, match=r"\.lode: "), only_one(Workspace(tmp_path)):
        pass


def test_the_work_under_the_lock_keeps_its_own_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), only_one(Workspace(tmp_path)):
        tmp_path.read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "null", '{"pid": "x"}', '{"pid": []}', "[" * 100_000])
def test_who_holds_the_lock_is_not_worth_an_error(tmp_path: Path, text: str) -> None:
    holder = tmp_path / "pipeline.json"
    holder.write_text(text)
    assert _describe(holder) == "a pipeline is running"
