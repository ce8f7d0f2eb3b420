"""A database is there whole or not at all, whenever its creation is killed."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from components.registry import database
from components.registry.connection import RegistryError, connect
from components.registry.database import make_whole
from components.registry.models import champion

MAKE = (
    "import sys\n"
    "from pathlib import Path\n"
    "from components.registry.lazy import db_utils\n"
    "from components.registry.database import make_whole\n"
    "db_utils._get_latest_schema_revision\n"
    "print('begun', flush=True)\n"
    "make_whole(Path(sys.argv[1]))\n"
)


def making(path: Path) -> subprocess.Popen[str]:
    """A process that is about to create the database."""
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    started = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert started.stdout is not None and started.stdout.readline() == "begun\n"
    return started


@pytest.mark.slow
def test_a_creation_that_is_killed_leaves_nothing_that_stays(tmp_path: Path) -> None:
    path, draw = tmp_path / "mlflow.db", random.Random(time.time_ns())
    for _ in range(3):
        process = making(path)
        time.sleep(draw.uniform(0, 5))
        process.kill()
        process.wait()
    first, second = making(path), making(path)
    time.sleep(draw.uniform(0, 5))
    first.kill()
    assert second.wait(120) == 0
    with pytest.raises(RegistryError, match="the registry is empty"):
        champion("x", tracking_uri=f"sqlite:///{path}")
    assert [one.name for one in tmp_path.iterdir()] == ["mlflow.db"], "and nothing lies around"


@pytest.fixture
def copied(empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Databases that were created, each by copying an empty one: a real one takes seconds."""
    made: list[Path] = []

    def create(path: Path) -> None:
        shutil.copyfile(empty_database, path)
        made.append(path)

    monkeypatch.setattr(database, "_create", create)
    return made


def half_made(path: Path, empty_database: Path, tables: int) -> None:
    """As a creation leaves it that was killed in an early step or in one of the last."""
    shutil.copyfile(empty_database, path)
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("DELETE FROM experiments")
        opened.execute("DELETE FROM alembic_version")
        names = [n for (n,) in opened.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for name in sorted(set(names) - {"experiments"})[tables:]:
            opened.execute(f'DROP TABLE "{name}"')
        opened.commit()


@pytest.mark.parametrize("tables", [0, 5, 1000])
def test_a_half_made_one_is_made_anew(
    tables: int, tmp_path: Path, empty_database: Path, copied: list[Path]
) -> None:
    path = tmp_path / "mlflow.db"
    half_made(path, empty_database, tables)
    os.utime(path, (1, 1))  # nobody is at it any more
    with pytest.raises(RegistryError, match="the registry is empty"):
        champion("x", tracking_uri=f"sqlite:///{path}")
    assert len(copied) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["mlflow.db"]


def test_one_that_is_being_made_is_waited_for(
    tmp_path: Path, empty_database: Path, copied: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    half_made(path, empty_database, 5)
    slept = []

    def sleep(seconds: float) -> None:  # meanwhile the other process finishes
        slept.append(seconds)
        shutil.copyfile(empty_database, path)

    monkeypatch.setattr(database.time, "sleep", sleep)
    make_whole(path)
    assert len(slept) == 1 and not copied


def test_one_in_which_anybody_has_anything_is_never_touched(
    tmp_path: Path, empty_database: Path, copied: list[Path]
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copyfile(empty_database, path)
    with closing(sqlite3.connect(path)) as opened:  # of another version of MLflow
        opened.execute("UPDATE alembic_version SET version_num = 'another'")
        opened.commit()
    os.utime(path, (1, 1))
    before = path.read_bytes()
    with pytest.raises(RegistryError, match="of another MLflow version: run `mlflow db upgrade"):
        champion("x", tracking_uri=f"sqlite:///{path}")
    assert path.read_bytes() == before and not copied
    other = tmp_path / "others.db"
    with closing(sqlite3.connect(other)) as opened:
        opened.execute("CREATE TABLE mine (x)")
        opened.commit()
    before = other.read_bytes()
    make_whole(other)
    assert other.read_bytes() == before and not copied


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    said = r"postgresql://…@host/db needs the module psycopg2: run `pip install psycopg2-binary`"
    with (
        pytest.raises(RegistryError, match=said),
        connect("postgresql://user:secret@host/db"),
    ):
        pass
