"""Files that travel through a store where machines see no common folder.

The store is any fsspec URL (`s3://bucket/prefix`, `file:///mnt/share`, …) and mirrors the
workspace: a file has the same relative path in both. Histories are written once and never changed,
so whoever finds one need not ask whether it is current; a LODE is put and got anew for every shard.
"""

from __future__ import annotations

import posixpath
import uuid
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from components.storage.files import atomic_path


class StoreError(RuntimeError):
    """The store cannot be used; the message names it and the remedy."""


class Store:
    """A workspace's files in an object store or a folder.

    Args:
        url: fsspec URL of a folder; credentials come from the environment, as its library wants
            them (for S3 AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).
        root: the workspace's folder on this machine.

    Raises:
        StoreError: the URL's protocol is unknown or its library is not installed.
    """

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.root = url, Path(root)
        try:
            self._fs, self._base = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"execution.store = {url}: {error}; for s3:// install lode-pipeline[s3]"
            ) from None

    def put(self, path: Path) -> None:
        """Copy a file of the workspace into the store, whole or not at all."""
        target = self._target(path)

        def copy() -> None:
            self._fs.makedirs(posixpath.dirname(target), exist_ok=True)
            # an object store has a file when it is complete; a folder needs the renaming
            temporary = f"{target}.{uuid.uuid4().hex}.tmp"
            local = "file" in _protocols(self._fs)
            self._fs.put_file(str(path), temporary if local else target)
            if local:
                Path(temporary).replace(target)

        self._try(copy)

    def get(self, path: Path) -> bool:
        """Bring a file into the workspace, whole or not at all; False if the store has none."""

        def copy() -> bool:
            target = self._target(path)
            if not self._fs.exists(target):
                return False
            with atomic_path(path) as temporary:
                self._fs.get_file(target, str(temporary))
            return True

        return bool(self._try(copy))

    def names(self, folder: Path) -> set[str]:
        """Names of the files in a folder of the store; empty where there is no such folder."""

        def look() -> set[str]:
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._target(folder), detail=False)
            except FileNotFoundError:
                return set()
            return {posixpath.basename(str(name)) for name in found}

        return set(self._try(look))

    def _target(self, path: Path) -> str:
        relative = Path(path).absolute().relative_to(self.root.absolute()).as_posix()
        return posixpath.join(self._base, relative)

    def _try(self, work: Any) -> Any:
        try:
            return work()
        except OSError as error:
            if type(error).__module__.startswith("components."):
                raise
            raise StoreError(
                f"execution.store = {self.url}: {error}; is it reachable, are there credentials?"
            ) from error


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
