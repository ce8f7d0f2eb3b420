"""Two pipelines in one workspace: the second waits, and says for whom."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from components.storage.lock import only_one
from components.storage.workspace import Workspace

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
