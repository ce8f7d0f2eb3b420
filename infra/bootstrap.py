"""Makes `.venv` what pyproject.toml and requirements.lock say; does nothing when it is already.

Called by every Makefile target, so the common case must cost nothing: it compares one digest.
Standard library only, and syntax that old Pythons can parse far enough to print the version error.

A stamp inside `.venv` holds the digest and is written last. A marker outside it stands for as long
as an installation is under way, so one that was killed is recognised and made anew. A file lock
lets a second `make` in the same clone wait for the first.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".lode-setup"
STATE = ROOT / ".lode"
LOCK = STATE / "setup.lock"
MARKER = STATE / "setup.under-way"
LOG = STATE / "setup.log"

OLDEST_PYTHON = (3, 11)
NEEDED_GB = 8  # 5.8 GB of packages (torch brings CUDA) and room for the archives being unpacked


class SetupError(Exception):
    """What went wrong and what to do about it."""


def wanted() -> str:
    """Digest of everything the environment follows from, its place included: a copied folder's
    `.venv` still runs the code of the folder it was copied from."""
    total = hashlib.sha256(f"{ROOT}\n".encode())
    for name in ("pyproject.toml", "requirements.lock", "infra/bootstrap.py"):
        total.update((ROOT / name).read_bytes())
    return total.hexdigest()


def ready() -> bool:
    """True when the environment is finished and up to date."""
    try:
        return STAMP.read_text() == wanted() and PYTHON.exists()
    except OSError:
        return False


def check_python() -> None:
    """Stop, or go on in a newer Python of this machine, when this one is too old."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for minor in (13, 12, 11):
        newer = shutil.which(f"python3.{minor}")
        if newer:
            os.execv(newer, [newer, *sys.argv])
    raise SetupError(
        f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed, {sys.executable} is "
        f"{platform.python_version()}; install one and call `make PYTHON=/path/to/python3 …`"
    )


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the set-up lock; wait for another process that holds it, and say so."""
    STATE.mkdir(exist_ok=True)
    with LOCK.open("a+") as held:
        # inherited by the installers, so that one which outlives a killed parent is waited for
        os.set_inheritable(held.fileno(), True)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"process {LOCK.read_text().strip() or '?'} is setting up .venv; waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


def check_space() -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(
            f"{free:.1f} GB free under {ROOT}, {NEEDED_GB} GB are needed (torch alone is 5 GB); "
            "make room or clone onto another disk"
        )


def pinned(name: str) -> str:
    """`name==version` as requirements.lock pins it."""
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.startswith(f"{name}=="):
            return line.strip()
    raise SetupError(f"requirements.lock does not pin {name}; restore the file (git checkout)")


def call(what: str, *command: "str | Path") -> None:
    """Run a command, its output into the log; a failure shows the log's end."""
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(map(str, command))}\n")
        log.flush()
        start = log.tell()
        done = subprocess.run(
            command, cwd=ROOT, stdout=log, stderr=log, env=environment(), close_fds=False
        )
    if done.returncode:
        end = LOG.read_text(errors="replace")[start:].strip().splitlines()[-12:]
        raise SetupError(
            "{} failed (exit code {}):\n    {}\n  Is the package registry reachable? The whole "
            "output is in {}; call make again to repeat.".format(
                what, done.returncode, "\n    ".join(end), LOG.relative_to(ROOT)
            )
        )


def environment() -> "dict[str, str]":
    """uv reads neither pip's index nor its certificates: pass them on where they are set."""
    found = dict(os.environ)
    for ours, pips in (("UV_DEFAULT_INDEX", "PIP_INDEX_URL"), ("SSL_CERT_FILE", "PIP_CERT")):
        if pips in found:
            found.setdefault(ours, found[pips])
    found.pop("VIRTUAL_ENV", None)  # an activated environment is not the one meant
    return found


def make_venv() -> None:
    """A new `.venv` with pip, and uv: seven times faster than pip at these 5 GB."""
    check_space()
    # not sys.executable: that may be the one in the .venv about to be cleared
    base = getattr(sys, "_base_executable", sys.executable)
    call("creating .venv (Debian: apt install python3-venv)", base, "-m", "venv", "--clear", VENV)
    call("installing uv", PYTHON, "-m", "pip", "install", "--quiet", pinned("uv"))


def install() -> None:
    """Install or bring up to date; afterwards `ready()`."""
    started = time.monotonic()
    LOG.write_text("")
    if VENV.is_dir():
        STAMP.unlink(missing_ok=True)
    repair = MARKER.exists()
    usable = (VENV / "bin" / "uv").exists() and PYTHON.exists() and not repair
    say(
        "updating .venv to requirements.lock"
        if usable
        else f"{'repairing' if repair else 'creating'} .venv: packages of 5.8 GB, one to ten "
        "minutes, once"
    )
    MARKER.touch()
    if not usable:
        make_venv()
    call(
        "installing the packages",
        VENV / "bin" / "uv",
        "pip",
        "install",
        "--python",
        PYTHON,
        "--system-certs",
        # Else the first start of everything does, and where PYTHONDONTWRITEBYTECODE is set, every
        # start: torch's and MLflow's then take seconds more.
        "--compile-bytecode",
        "--constraints",
        "requirements.lock",
        "--build-constraints",
        "requirements.lock",
        "--editable",
        ".[dev]",
        pinned("uv"),
        pinned("setuptools"),
    )
    STAMP.write_text(wanted())
    MARKER.unlink()
    say(f"done in {time.monotonic() - started:.0f} s")


def say(message: str) -> None:
    print(f"set-up: {message}", file=sys.stderr, flush=True)


def main() -> int:
    if ready():
        return 0
    try:
        check_python()
        with only_one():
            if not ready():
                install()
    except (SetupError, OSError) as error:
        say(f"stopped. {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; call make again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
