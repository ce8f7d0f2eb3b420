"""infra/bootstrap.py on a tiny project, with real pip and uv: the code is that of `make demo`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.acceptance]

PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "tiny"
version = "0"
optional-dependencies = { dev = [] }

[tool.setuptools]
py-modules = ["tiny"]
"""


def make_project(root: Path, **constants: str) -> Path:
    """A project that installs in seconds; `constants` replace the script's own."""
    script = (ROOT / "infra" / "bootstrap.py").read_text()
    for name, value in constants.items():
        [line] = [line for line in script.splitlines() if line.startswith(f"{name} = ")]
        script = script.replace(line, f"{name} = {value}")
    (root / "infra").mkdir(parents=True)
    (root / "infra" / "bootstrap.py").write_text(script)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "tiny.py").write_text("answer = 42\n")
    pins = (ROOT / "requirements.lock").read_text().splitlines()
    needed = [pin for pin in pins if pin.startswith(("uv==", "setuptools=="))]
    (root / "requirements.lock").write_text("\n".join(needed) + "\n")
    return root


def start(project: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "infra/bootstrap.py"],
        cwd=project,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=200)
    return process.returncode, said


def set_up(project: Path, **environment: str) -> tuple[int, str]:
    return finish(start(project, **environment))


def works(project: Path) -> bool:
    code = [project / ".venv/bin/python", "-c", "import tiny; assert tiny.answer == 42"]
    return subprocess.run(code, cwd="/").returncode == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project set up by two processes at once."""
    project = make_project(tmp_path_factory.mktemp("bootstrap") / "project")
    first = start(project, PYTHONDONTWRITEBYTECODE="1")
    while not (project / ".lode/setup.under-way").exists() and first.poll() is None:
        time.sleep(0.01)
    second = start(project, PYTHONDONTWRITEBYTECODE="1")
    (code, said), (code_2, said_2) = finish(first), finish(second)
    assert (code, code_2) == (0, 0), said + said_2
    assert "creating .venv" in said and "waiting" not in said
    assert "waiting for it" in said_2 and f"process {first.pid} " in said_2
    assert "creating" not in said_2 and "updating" not in said_2
    return project


def test_two_at_once_make_one_environment(project: Path) -> None:
    assert works(project)


def test_packages_are_compiled_also_where_python_may_not(project: Path) -> None:
    packages = next(project.glob(".venv/lib/python*/site-packages"))
    assert list(packages.glob("setuptools/__pycache__/__init__.*.pyc"))


def test_a_second_call_says_and_does_nothing(project: Path) -> None:
    stamp = project / ".venv/.lode-setup"
    before = stamp.stat().st_mtime_ns
    assert set_up(project) == (0, "")
    assert stamp.stat().st_mtime_ns == before


def test_a_changed_lock_file_brings_the_environment_up_to_date(project: Path) -> None:
    with (project / "requirements.lock").open("a") as lock:
        lock.write("six==1.17.0\n")
    code, said = set_up(project)
    assert code == 0 and "updating" in said and "creating" not in said
    assert set_up(project) == (0, "")


def test_a_killed_installation_is_made_anew(project: Path) -> None:
    with (project / "requirements.lock").open("a") as lock:
        lock.write("idna==3.20\n")
    killed = start(project)
    while not (project / ".lode/setup.under-way").exists():
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    finish(killed)
    shutil.rmtree(project / ".venv/lib")  # what a kill at the worst moment leaves
    code, said = set_up(project)
    assert code == 0 and "repairing" in said, said
    assert works(project)


def test_a_copied_folder_does_not_use_the_first_ones_environment(
    project: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=True)
    (copy / "tiny.py").write_text("answer = 42; place = 'copy'\n")
    code, said = set_up(copy)
    assert code == 0, said
    place = [copy / ".venv/bin/python", "-c", "import tiny; print(tiny.place)"]
    assert subprocess.run(place, cwd="/", capture_output=True, text=True).stdout == "copy\n"


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"NEEDED_GB": "10**9"}, "GB free under"),
        ({"OLDEST_PYTHON": "(99, 0)"}, "Python 99.0 or newer is needed"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_installed(
    constants: dict[str, str], message: str, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", **constants)
    code, said = set_up(project, PATH="")
    assert code == 1 and message in said and "Traceback" not in said
    assert not (project / ".venv").exists()


def test_an_unreachable_registry_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    nowhere = "http://127.0.0.1:9/simple"
    code, said = set_up(
        project,
        PIP_INDEX_URL=nowhere,
        PIP_RETRIES="0",
        PIP_CONFIG_FILE=os.devnull,
        PIP_FIND_LINKS="",
        PIP_NO_CACHE_DIR="1",
    )
    assert code == 1
    assert "registry reachable?" in said and ".lode/setup.log" in said and "Traceback" not in said
