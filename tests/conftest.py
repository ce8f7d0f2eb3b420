"""What every test may count on: one thread, no telemetry, a workspace, system packages in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Before any tool is imported, and inherited by the processes that tests start.
os.environ.update(
    DO_NOT_TRACK="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    MLFLOW_DISABLE_TELEMETRY="true",
    GX_ANALYTICS_ENABLED="false",
    DVC_NO_ANALYTICS="true",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="180",  # as flows/server.py: 20 is too short
)

import hypothesis
import pytest
import torch
from filelock import FileLock

from tests import tiny

ROOT = Path(__file__).parents[1]

# The tests run side by side, one process per core.
torch.set_num_threads(1)

# In CI a red test must be red again when it is repeated; on one's own machine hypothesis explores.
# deadline=None: how long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

NeedsSystem = Callable[[str | Path, str], Path]


def find_system(thing: str | Path, package: str) -> Path:
    """The path of a file or command that a Debian package brings.

    Where it is missing the calling test is skipped with the reason, or fails if CI is set: there
    `.ci/run` has installed the package, and a test that skips would be a test nobody runs.
    """
    found = str(thing) if Path(thing).is_absolute() else shutil.which(thing)
    if found is not None and Path(found).exists():
        return Path(found)
    reason = f"{thing} is not on this machine; apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, which .ci/run does", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def needs_system() -> NeedsSystem:
    """`needs_system("chromium", "chromium")`, `needs_system("/usr/share/…", "package")`."""
    return find_system


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of the test: a new one that holds the project's params.yaml."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def shared_by_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This test session's folder, the same in all its processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of all test processes, where MNIST-1D is generated once and then kept (should
    two generate it at a time, the files are equal and written whole)."""
    folder = shared_by_all(tmp_path_factory) / "datasets"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every step of the tiny pipeline has run, made once for all test
    processes. Nobody changes it: who must, takes `finished_copy`."""
    shared = shared_by_all(tmp_path_factory)
    root, done = shared / "finished", shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            tiny.finish(root)
            done.touch()
    return root


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """The same in a folder of the test's own, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
