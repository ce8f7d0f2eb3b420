"""End a process with all that it has started; and do so when whoever started it has gone.

Nothing but the standard library: `python session.py PID` is the guard of a process that leads a
session. It waits until its standard input is closed. Whoever has been killed cannot say that it is
done, and then the guard ends the session.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 10.0  # until SIGKILL: to write a checkpoint, or to close a tracker's run
DONE = b"."


def end_session(leader: int, patience: float = PATIENCE_S) -> None:
    """SIGTERM to every process of a session, SIGKILL to those that are there after `patience` s."""
    _signal(leader, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while members(leader) and time.monotonic() < deadline:
        time.sleep(0.05)
    while members(leader):  # which may have forked meanwhile
        _signal(leader, signal.SIGKILL)
        time.sleep(0.05)


def members(leader: int) -> list[int]:
    """Processes of a session that are no zombies; of the group alone where there is no /proc."""
    folder = Path("/proc")
    if not folder.is_dir():
        return [leader] if _group_exists(leader) else []
    return [int(one.name) for one in folder.glob("[0-9]*") if _session(one) == leader]


def _session(process: Path) -> int | None:
    """None: gone, or a zombie."""
    try:  # after the command's name, which may hold anything: state, parent, group, session
        fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[3]) if fields[0] != "Z" else None


def _group_exists(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of zombies, on some systems
        return False
    return True


def _signal(leader: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    for one in members(leader):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one, number)


@contextmanager
def guarded(leader: int) -> Iterator[None]:
    """While this lasts, the session ends if this process does, however it does."""
    theirs, ours = os.pipe()
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(leader)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            os.write(ours, DONE)
        os.close(ours)
        guard.wait()


def main() -> None:
    """The guard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not sys.stdin.buffer.read():
        end_session(int(sys.argv[1]))


if __name__ == "__main__":
    main()
