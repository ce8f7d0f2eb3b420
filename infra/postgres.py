"""A PostgreSQL of one's own for the Prefect server, from the system's package, without a password.

It listens on a Unix socket in a folder that only its user and root can enter, and on no network.
PostgreSQL refuses to run as root; started by root it runs as the package's user `postgres`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

ROLE = "lode"


class PostgresError(RuntimeError):
    """PostgreSQL cannot be used; the message says why and what to do."""


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs; Debian keeps them off the PATH.

    Raises:
        PostgresError: it is not installed.
    """
    found = shutil.which(name)
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    if found or candidates:
        return found or str(candidates[0])
    raise PostgresError(f"{name} is not on this machine: apt-get install postgresql")


def user() -> str | None:
    """Whom to run as: None is oneself."""
    return "postgres" if os.geteuid() == 0 else None


def initialise(data: Path) -> None:
    """Create the database cluster in `data`, if it is not there.

    Raises:
        PostgresError: the folder cannot be reached by the user PostgreSQL runs as.
    """
    data.mkdir(parents=True, exist_ok=True)
    owner = user()
    if owner:
        try:
            shutil.chown(data, owner, owner)
        except LookupError:
            raise PostgresError(
                f"PostgreSQL does not run as root, and there is no user {owner} on this machine: "
                "apt-get install postgresql, or do not run as root"
            ) from None
    data.chmod(0o700)
    reached = subprocess.run(["test", "-w", str(data)], user=owner).returncode == 0
    if not reached:
        raise PostgresError(
            f"{data}: the user {owner} cannot enter it (a folder above is closed to others); "
            "do not run as root, or work in a folder that is open"
        )
    if (data / "PG_VERSION").exists():
        return
    done = subprocess.run(
        [
            program("initdb"),
            "-D",
            str(data),
            "-U",
            ROLE,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-instructions",
        ],
        user=owner,
        capture_output=True,
        text=True,
        cwd="/",
    )
    if done.returncode:
        raise PostgresError(f"initdb failed in {data}: {done.stderr.strip()}")


def socket_folder() -> Path:
    """A new folder for the socket. Not beside the data: a socket's path may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="lode-postgres-"))
    owner = user()
    if owner:
        shutil.chown(folder, owner, owner)
    return folder


def command(data: Path, socket: Path) -> list[str]:
    """The server, in the foreground, on its socket only."""
    return [program("postgres"), "-D", str(data), "-k", str(socket), "-c", "listen_addresses="]


def ready(socket: Path) -> bool:
    asked = subprocess.run([program("pg_isready"), "-q", "-h", str(socket)], capture_output=True)
    return asked.returncode == 0


def create_database(socket: Path, name: str) -> None:
    """Create it if it is not there."""
    psql = [program("psql"), "-h", str(socket), "-U", ROLE, "-d", "postgres", "-tAc"]
    found = subprocess.run(
        [*psql, f"select 1 from pg_database where datname = '{name}'"],
        capture_output=True,
        text=True,
    )
    if found.stdout.strip() != "1":
        subprocess.run([*psql, f'create database "{name}"'], check=True, capture_output=True)


def url(socket: Path, database: str) -> str:
    """As SQLAlchemy's asyncpg wants it."""
    return f"postgresql+asyncpg://{ROLE}@/{database}?host={quote(str(socket), safe='')}"
