"""Addresses of stores and databases: what can be said of one without asking anybody."""

from __future__ import annotations

from urllib.parse import urlsplit

from components.storage.shown import cut

# What fsspec knows and cannot write to, or where the next process finds nothing.
NO_STORES = frozenset(
    {"async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "data", "dir"}
    | {"filecache", "generic", "git", "github", "gist", "http", "https", "jlab", "jupyter"}
    | {"libarchive", "memory", "pyscript", "reference", "simplecache", "tar", "zip"}
)


class AddressError(ValueError):
    """Nothing can be kept there, or found again; the message says what to write."""


def check_store(url: str) -> None:
    """An fsspec URL, or an absolute path, of a folder that other machines can find.

    Raises:
        AddressError: it is relative, of an unknown kind, or of one where nothing can be kept.
    """
    protocol, colon, rest = url.partition(":")
    if not colon or "/" in protocol:
        protocol, rest = "file", url
    place = rest.removeprefix("//")
    if protocol in ("file", "local"):
        if not place.startswith("/") or ".." in place.split("/"):
            raise AddressError(
                "a folder is an absolute path without .., e.g. file:///mnt/share; workers do not "
                "start where you do"
            )
        return
    from fsspec import available_protocols  # most settings name no store

    stores = sorted(set(available_protocols()) - NO_STORES)
    if protocol not in stores:
        raise AddressError(
            f"nothing can be kept at {cut(protocol, 60)}:; known: {', '.join(stores)}"
        )
    if not rest.startswith("//") or not place.strip("/") or ".." in place.split("/"):
        raise AddressError(f"write {protocol}://bucket/folder, without ..")


def check_registry(uri: str) -> None:
    """The address of an MLflow database or server.

    Raises:
        AddressError: it is none, or a database that ends with its process.
    """
    kind, _, place = uri.partition(":")
    kind = kind.partition("+")[0]
    if kind == "sqlite":
        _check_database_file(place)
    elif kind == "postgresql":
        if not place.startswith("//") or len(place) == 2:
            raise AddressError("write postgresql://user@host/database, or postgresql:///database")
    elif kind not in ("http", "https"):
        raise AddressError("write sqlite:///mlflow.db, postgresql://host/database or http://host")
    elif not _names_a_server(uri):
        raise AddressError(f"write {kind}://host, or {kind}://host:port with a port below 65536")


def _check_database_file(place: str) -> None:
    path = place.removeprefix("///").partition("?")[0]
    if not place.startswith("///") or not path or path.endswith("/"):
        raise AddressError("write sqlite:///mlflow.db, with three slashes and the file's name")
    if ":memory:" in place or "mode=memory" in place:
        raise AddressError("a database in memory ends with its process; write sqlite:///mlflow.db")


def _names_a_server(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, a bracket too many
        return False
