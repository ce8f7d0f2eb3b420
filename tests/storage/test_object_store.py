"""The store: whole files, the same relative paths, clear errors. A folder and memory stand for S3,
which no test here has."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from components.storage.object_store import Store, StoreError


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/store"
    return f"memory://{uuid.uuid4().hex}"


def test_a_file_arrives_under_the_same_name_in_another_workspace(url: str, tmp_path: Path) -> None:
    here, there = Store(url, tmp_path / "a"), Store(url, tmp_path / "b")
    path = tmp_path / "a/data/histories/x/1.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"history")
    assert here.names(path.parent) == set()
    here.put(path)
    got = tmp_path / "b/data/histories/x/1.parquet"
    assert there.names(got.parent) == {"1.parquet"}
    assert there.get(got) and got.read_bytes() == b"history"
    path.write_bytes(b"another")
    here.put(path)
    assert there.get(got) and got.read_bytes() == b"another"
    assert [p.name for p in got.parent.iterdir()] == ["1.parquet"]


def test_what_is_not_there_is_not_made(url: str, tmp_path: Path) -> None:
    path = tmp_path / "a/none.parquet"
    assert not Store(url, tmp_path / "a").get(path)
    assert not path.exists() and Store(url, tmp_path / "a").names(path.parent) == set()


def test_an_unknown_protocol_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"execution.store = nowhere://x"):
        Store("nowhere://x", tmp_path)


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, no folder")
    (tmp_path / "x").write_text("x")
    with pytest.raises(StoreError, match="is it reachable"):
        Store(f"file://{tmp_path}/store", tmp_path).put(tmp_path / "x")
