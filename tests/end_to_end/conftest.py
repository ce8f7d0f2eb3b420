"""A clone's worth of files with settings so small that the whole pipeline takes seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TASK = "digits-mlp"  # its data come with a package, and its runs take a tenth of a second
TINY: dict[str, dict[str, Any]] = {
    "training": {"updates": 40, "points": 20, "train_samples": 400, "device": "cpu"},
    "sweep": {"schedulers": ["constant", "onecycle"], "peak_lrs": [0.01], "seeds": [0, 1]},
    "pilots": {"runs": 20},
    "evaluation": {"seeds": [100, 101], "sharpness_samples": 64},
}


def tiny_params() -> dict[str, Any]:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in TINY.items():
        params[section].update(values)
    params["task"] = TASK
    params["lode"]["fit"]["updates"] = 20
    params["lode"]["judge"]["updates"] = 20
    params["lode"]["scheduler"]["n"] = 3
    return dict(params)


@dataclass(frozen=True)
class Clone:
    """A folder like a git clone of this project; `printed` is what `make demo` printed in it."""

    root: Path
    printed: str = ""
    task: str = TASK

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module in it, with the environment's commands on PATH."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=560,
        )

    def outputs(self) -> dict[str, int]:
        """Every file the pipeline made, with the time it was written."""
        tops = (self.root / name for name in ("data", "models", "reports"))
        made = (path for top in tops for path in top.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.stat().st_mtime_ns for path in made}

    def copy(self, to: Path) -> Clone:
        return Clone(Path(shutil.copytree(self.root, to, symlinks=True)))

    def change_settings(self, **sections: dict[str, Any]) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            params[section].update(values)
        path.write_text(yaml.safe_dump(params))


def clone_into(folder: Path) -> Clone:
    """A git repository with dvc.yaml and what it names, and tiny settings."""
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params()))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "components", folder / "components", ignore=ignored)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return Clone(folder)


@pytest.fixture(scope="session")
def make_clone() -> Callable[[Path], Clone]:
    return clone_into


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone in which nothing was made yet."""
    return clone_into(tmp_path / "clone")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone after `make demo`. Tests leave it as they find it, or copy it."""
    clone = clone_into(tmp_path_factory.mktemp("demo") / "clone")
    done = clone.call("flows")
    assert done.returncode == 0, done.stderr
    return Clone(clone.root, done.stdout + done.stderr)
