"""How `lode` and `python -m flows` end when they cannot go on: in one line, whatever has happened.

- A mistake on the command line, or what a room of ours says (`SettingsError`, `HistoryError`, …):
  its message, which names the thing and the remedy.
- What the machine lacks, wherever it is noticed: room on a disk, permission to write, a package.
- Anything else is a fault of ours: what was done, the exception, and where its traceback is kept.
"""

from __future__ import annotations

import errno
import os
import platform
import select
import sys
import tempfile
import traceback
from datetime import datetime
from itertools import takewhile
from pathlib import Path

import click

from components.cli.start import HINT
from components.storage.shown import cut, printable, shown

EXPECTED = (ValueError, LookupError, RuntimeError, OSError)  # where a room of ours defines them
OURS = ("components.", "flows.")
STOPPED, FAULT, NOBODY_READS = 130, 70, 141  # as shells and sysexits.h have them
LONGEST = 3000  # characters of a message: ten faults of a params.yaml, each with its remedy
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def run(command: click.Command, name: str, said_by: str) -> None:
    """Run a command on `sys.argv`; a failure ends the process.

    Args:
        name: what people type, for its usage. said_by: begins the line of an expected error.
    """
    if f"_{name.upper()}_COMPLETE" in os.environ:  # a shell asks what may come next
        command.main(prog_name=name)
    try:
        # not command.main, which takes every broken pipe for a reader that has gone
        with command.make_context(name, sys.argv[1:]) as context:
            command.invoke(context)
    except click.exceptions.Exit as end:  # --help
        sys.exit(end.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("stopped; finished runs are kept, start again to go on", err=True)
        # One that came while an extension module ran Python code of its own (imports do) is noted
        # as unhandled, and Python would end by SIGINT whatever is said here; running a text resets
        # that.
        exec("")
        sys.exit(STOPPED)
    except click.ClickException as error:
        if not isinstance(error, click.exceptions.NoArgsIsHelpError):  # whose message is the help
            error.message = cut(error.message, 500)  # type: ignore[misc]
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(NOBODY_READS)
        message = expected(error)
        if message is None:
            click.echo(unexpected(error, name), err=True)
            sys.exit(FAULT)
        click.echo(f"{said_by}: {message}", err=True)
        sys.exit(1)


def expected(error: Exception) -> str | None:
    """The message of an error that is not a fault of ours; None: it is one."""
    if isinstance(error, ModuleNotFoundError) and not _ours(error.name):
        return f"{error.name} is not installed; {HINT}"
    if isinstance(error, EXPECTED) and type(error).__module__.startswith(OURS):
        text = str(error)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in NO_ROOM:
        return f"{where}no space left on the disk; free some and start again (finished is kept)"
    if error.errno in NO_PERMISSION and where:
        return f"{where}{error.strerror}; change its owner or permissions, then start again"
    return None


def _ours(module: str | None) -> bool:
    return f"{module}.".startswith(OURS)


def unexpected(error: Exception, name: str) -> str:
    """The line for a fault of ours; its traceback is kept in a file."""
    words = takewhile(lambda word: not word.startswith("-"), sys.argv[1:])
    doing = cut(" ".join([name, *words]), 60)
    what = "".join(traceback.format_exception_only(error)).partition("\n")[0]
    log = _keep("".join(traceback.format_exception(error)))
    return f"{doing}: {cut(what)}; this is a fault of ours, please report it: " + (
        f"the traceback is in {log}" if log else "its traceback could not be written anywhere"
    )


def _keep(text: str) -> Path | None:
    """Below `.lode` of the workspace, or where temporary files go; None: nowhere."""
    now = datetime.now().astimezone()
    text = (
        f"{now.isoformat(timespec='seconds')}, Python {platform.python_version()}\n"
        f"{' '.join(shown(word) for word in sys.argv)}\n\n{printable(text)}"
    )
    name = f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    try:
        params = _params()
        if not params.is_file():
            raise FileNotFoundError
        path = params.parent / ".lode" / "errors" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path
    except (OSError, ValueError):  # no workspace, or one that cannot be written to
        pass
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="lode-", suffix=f"-{name}", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        return Path(file.name)
    except OSError:
        return None


def _params() -> Path:
    """The settings file as the command line names it, which may be what is wrong."""
    for word, following in zip(sys.argv[1:], [*sys.argv[2:], ""], strict=False):
        if word == "--params":
            return Path(following)
        if word.startswith("--params="):
            return Path(word.removeprefix("--params="))
    return Path("params.yaml")


def _nobody_reads() -> bool:
    """Whether the pipe that broke is our own output (`lode versions | head -1`)."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            poll = select.poll()
            poll.register(stream.fileno(), 0)  # asked for nothing, it says whether it is broken
            if poll.poll(0):
                # what is left in the stream's buffer would fail once more when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                gone = True
        except (OSError, ValueError):  # not a file
            continue
    return gone
