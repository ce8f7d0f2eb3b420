"""The versions as the database's file has them are those that MLflow's client has."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from components.registry import versions as module
from components.registry.connection import RegistryError, connect
from components.registry.lazy import db_utils
from components.registry.versions import list_versions

TASK, NAME = "mnist1d-cnn", "lode-mnist1d-cnn"
FIGURES = '{"error": 0.1, "test": null}'


@pytest.fixture
def full(tracking_uri: str) -> str:
    """Four versions, one of them deleted; two aliases on one, tags that are changed and deleted;
    and another task's."""
    with connect(tracking_uri) as client:
        for name in (NAME, "lode-digits-mlp"):
            client.create_registered_model(name)
            for number in range(1, 5):
                client.create_model_version(
                    name, f"file:///{number}", tags={"of": f"{name} {number}"}
                )
            client.set_registered_model_alias(name, "champion", "3")
        client.set_registered_model_alias(NAME, "a", "3")
        client.set_registered_model_alias(NAME, "challenger", "4")
        client.delete_registered_model_alias(NAME, "challenger")
        client.set_model_version_tag(NAME, "1", "figures", FIGURES)
        client.set_model_version_tag(NAME, "1", "of", "changed")
        client.delete_model_version_tag(NAME, "4", "of")
        client.delete_model_version(NAME, "2")
    return tracking_uri


def test_both_ways_give_the_same(full: str) -> None:
    found = module._read(NAME, full)
    assert found == module._asked(NAME, full) == list_versions(TASK, tracking_uri=full)
    assert found is not None
    assert [(one.version, one.aliases, one.tags) for one in found] == [
        (1, (), {"of": "changed", "figures": FIGURES}),
        (3, ("a", "champion"), {"of": f"{NAME} 3"}),
        (4, (), {}),
    ]


def test_the_file_is_read_of_the_schema_that_this_mlflow_has() -> None:
    assert db_utils._get_latest_schema_revision() == module.SCHEMA, "see whether the queries hold"


def test_another_schema_is_left_to_mlflow(full: str) -> None:
    before = list_versions(TASK, tracking_uri=full)
    with closing(sqlite3.connect(full.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE alembic_version SET version_num = '0'")
        database.commit()
    assert module._read(NAME, full) is None
    assert list_versions(TASK, tracking_uri=full) == before  # its client has looked already


def test_what_is_no_database_is_left_to_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("no database, but longer than the header of one: " * 10)
    with pytest.raises(RegistryError, match="not a database"):
        list_versions(TASK, tracking_uri=f"sqlite:///{path}")


def test_looking_imports_no_mlflow_and_writes_nothing(full: str, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    shutil.copy(full.removeprefix("sqlite:///"), folder / "mlflow.db")
    (folder / "params.yaml").write_text(f"task: {TASK}\n")
    script = (
        "import sys\nfrom components.cli import main as cli\nsys.argv = ['lode', 'versions']\n"
        "cli.main()\nprint('HEAVY', {'mlflow', 'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, text=True, capture_output=True
    )
    assert "champion" in done.stdout and "HEAVY set()" in done.stdout, done.stdout + done.stderr
    assert {one.name for one in folder.iterdir()} == {"mlflow.db", "params.yaml"}
