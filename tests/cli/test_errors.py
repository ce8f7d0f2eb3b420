"""Both doors end in one line: what was done, what happened, and what to do about it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.cli import errors, look
from components.cli.main import main
from components.storage.workspace import WorkspaceError
from flows import demo

Door = tuple[Callable[[], None], Any, list[str], str]
DOORS: list[Door] = [
    (main, look, ["lode", "table"], "lode table"),
    (demo.entry, demo, ["flows"], "python -m flows"),
]
both_doors = pytest.mark.parametrize("door", DOORS, ids=["lode", "flows"])


class WordlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even a message")


def fail_with(error: BaseException, door: Door, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exit code of a door whose work raises this."""

    def read_settings(*_: Any) -> Any:
        raise error

    entry, module, arguments, _ = door
    monkeypatch.setattr(module, "read_settings", read_settings)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        entry()
    return stopped.value.code


@both_doors
@pytest.mark.parametrize(
    "error",
    [
        TypeError("no attribute\nat all"),
        KeyError("x"),
        ValueError(),
        RecursionError("too deep"),
        RuntimeError("x" * 5_000_000),
        OSError(errno.EIO, "Input/output error"),
        FileNotFoundError(2, "No such file", "a"),
        BrokenPipeError(32, "of a worker, not of our own output"),
        MemoryError(),
        WordlessError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_ours_is_one_line_and_a_log(
    door: Door,
    error: Exception,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fail_with(error, door, monkeypatch) == errors.FAULT
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and len(said) < 400
    assert said.startswith(f"{door[3]}: ") and type(error).__name__ in said
    assert "this is a fault of ours" in said
    log = workspace / said.rstrip().rpartition(" is in ")[2]
    assert log.parent == workspace / ".lode" / "errors"
    text = log.read_text()
    assert "Traceback" in text and "read_settings" in text and door[2][0] in text


@both_doors
def test_an_expected_error_is_its_message(
    door: Door,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    denied = PermissionError(errno.EACCES, "Permission denied", "reports/x.html")
    frozen = OSError(errno.EROFS, "Read-only file system", "models")
    for error, said in [
        (WorkspaceError("no histories; run `lode sweep`"), "no histories; run `lode sweep`"),
        (full, "no space left on the disk; free some and start again"),
        (denied, "reports/x.html: Permission denied; change its owner or permissions"),
        (frozen, "models: Read-only file system; change"),
    ]:
        assert fail_with(error, door, monkeypatch) == 1
        line = capsys.readouterr().err
        assert said in line and line.count("\n") == 1
    assert not (workspace / ".lode").exists()


@both_doors
def test_an_interrupt_is_no_error(
    door: Door,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fail_with(KeyboardInterrupt(), door, monkeypatch) == errors.STOPPED == 130
    assert capsys.readouterr().err.startswith("stopped; finished runs are kept")


@pytest.mark.parametrize("place", ["no workspace", "a file in the way", "elsewhere", "nowhere"])
def test_where_the_traceback_is_kept(
    place: str,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    temporary = workspace / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary if place != "nowhere" else "/proc/no"))
    arguments, expected = ["lode", "table"], temporary
    if place == "elsewhere":
        (workspace / "other").mkdir()
        (workspace / "params.yaml").rename(workspace / "other" / "p.yaml")
        arguments.append("--params=other/p.yaml")
        expected = workspace / "other" / ".lode" / "errors"
    elif place == "no workspace":
        (workspace / "params.yaml").unlink()
    else:
        (workspace / ".lode").touch()
    assert fail_with(TypeError("x"), (main, look, arguments, ""), monkeypatch) == errors.FAULT
    said = capsys.readouterr().err
    if place == "nowhere":
        assert "its traceback could not be written anywhere" in said
    else:
        (log,) = expected.iterdir()
        assert "Traceback" in log.read_text() and log.name in said


def test_a_password_is_not_kept(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["lode", "table", "--set", "registry.tracking_uri=postgresql://u:secret@h/d"]
    fail_with(TypeError("x"), (main, look, arguments, ""), monkeypatch)
    (log,) = (workspace / ".lode" / "errors").iterdir()
    assert "secret" not in log.read_text() and "postgresql://…@h/d" in log.read_text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from([TypeError, OSError, Exception]), text=st.text(max_size=300))
def test_whatever_an_exception_says_it_is_one_line(
    kind: type[Exception], text: str, workspace: Path
) -> None:
    line = errors.unexpected(kind(text), "lode")
    assert len(line.splitlines()) == 1 and len(line) < 500


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["tasks", "--help"]])
def test_nobody_reads(arguments: list[str]) -> None:
    """`lode --help | head -0`"""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "components.cli", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (errors.NOBODY_READS, "")
