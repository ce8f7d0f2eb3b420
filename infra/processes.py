"""The processes that `make serve` has started, ended with all that they have started themselves.

They are written down, so that they can be found by somebody else when `make serve` was killed and
could not end them: by its guard (`python infra/processes.py FILE`), which waits for its end, or by
the next `make serve`. A number alone is no process: it may be another's by now, so the time of the
start is written beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

# By the system's clock, which is set now and then; a number comes round again much later.
SAME_S = 2.0


@dataclass(frozen=True)
class Started:
    """A process that leads a group of its own.

    Attributes:
        at: when it was started, seconds of the epoch.
        stop_signal: what makes its group stop in good order; SIGKILL: it need not.
        patience: seconds until SIGKILL all the same.
    """

    name: str
    pid: int
    at: float
    stop_signal: int = signal.SIGTERM
    patience: float = 0.0

    @property
    def process(self) -> psutil.Process | None:
        """None: it has gone, whoever has its number now."""
        with suppress(psutil.Error):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.at) < SAME_S:
                return found
        return None


def started_at(pid: int) -> float:
    """Of a process that is there."""
    return float(psutil.Process(pid).create_time())


def end(started: Sequence[Started]) -> None:
    """End all of them at once, and whatever they have started, also what left their group."""
    alive = [(one, root) for one in started if (root := one.process)]
    trees = [(one, _tree(root)) for one, root in alive]
    for one, tree in trees:
        for process in tree:
            with suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) == one.pid or one.stop_signal == signal.SIGKILL:
                    process.send_signal(one.stop_signal)
    everything = [process for _, tree in trees for process in tree]
    patience = max((one.patience for one, _ in trees), default=0.0)
    _, left = psutil.wait_procs(everything, timeout=patience)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    """With children of children that another adopted, as long as they are in its session."""
    with suppress(psutil.Error):
        below = root.children(recursive=True)
        known = {process.pid for process in (root, *below)}
        adopted = [p for p in psutil.process_iter() if p.pid not in known and _in_session(p, root)]
        return [root, *below, *adopted]
    return [root]


def _in_session(process: psutil.Process, leader: psutil.Process) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        return os.getsid(process.pid) == leader.pid
    return False


def write(path: Path, started: Sequence[Sequence[Started]]) -> None:
    """In the order in which they are to be ended, those of a group at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(
        json.dumps([[asdict(one) for one in group] for group in started]), encoding="utf-8"
    )
    temporary.replace(path)


def read(path: Path) -> list[list[Started]]:
    """Empty where there is nothing that this version has written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [[Started(**one) for one in group] for group in found]
    except (OSError, ValueError, TypeError):
        return []


def end_written(path: Path) -> list[str]:
    """End those that a `make serve` has left; returns the names of those that were still there."""
    left = []
    for group in read(path):
        left += [one.name for one in group if one.process]
        end(group)
    path.unlink(missing_ok=True)
    return left


def guard(path: Path) -> int:
    """A process that ends those of the file when this one has gone, however it went.

    It sees that by a pipe whose other end nobody but this process has.

    Returns:
        This end of the pipe, to be left open.
    """
    theirs, ours = os.pipe()
    subprocess.Popen(
        [sys.executable, __file__, str(path)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    os.close(theirs)
    return ours


def main() -> None:
    """The guard: waits until the pipe it was given is closed."""
    sys.stdin.buffer.read()
    end_written(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
