"""Runs of a task that is a command: one process of the user's own script for each.

The process leads a session of its own and is ended with all that it has started: at its time-out,
when the flow run is stopped, and when whoever waits for it is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from components.evaluation.notation import duration
from components.runs.contract import (
    VARIABLE,
    Files,
    history_of,
    last_row,
    read_decisions,
    read_log,
    tail,
    write_request,
)
from components.runs.job import Job
from components.runs.session import end_session, guarded
from components.storage.shown import cut
from components.tasks.own import Command
from components.training.history import History
from components.training.resampled import LogError
from components.training.run import log_steps

OUTPUT = "output.log"
POLL_S = 0.2  # a run's end is noticed so late at most
LOOK_S = 2.0  # between two looks at how far the log is
SHOWN_LINES = 15
NOT_FOUND = 127  # of a shell
END_BYTES = 1 << 16  # of an output: enough for its last lines

Row = dict[str, float]


class CommandError(ValueError):
    """A script has failed, or logged nothing of use; the message says what to change in it."""


class CommandKilledError(RuntimeError):
    """A script was ended by a signal from outside (out of memory?); trying again may help."""


def folder_of_run(job: Job) -> Path:
    """Where a run's request, log and output are: they stay, whatever comes of it."""
    command = _command(job)
    return Path(command.root) / ".lode" / "commands" / job.spec.task / job.spec.run_id


def check_command(command: Command) -> Path:
    """The folder that it starts in.

    Raises:
        CommandError: it is not there.
    """
    folder = Path(command.root, command.folder).resolve()
    if not folder.is_dir():
        raise CommandError(
            f"{folder}: no such folder; `folder` of the task is relative to the settings file"
        )
    return folder


def run_command(job: Job, on_point: Callable[[Row], None] = lambda row: None) -> History:
    """Do a run and return its history; nothing is written but below `folder_of_run`.

    Raises:
        CommandError: the script failed, took too long, or did not log what is needed.
        CommandKilledError: it was killed.
    """
    command, folder = _command(job), folder_of_run(job)
    where = check_command(command)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two trials may ask for one run at a time; the second does it once more, but not in its files.
    with FileLock(folder.with_suffix(".lock")):
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        return _done(job, command, where, folder, on_point)


def _done(
    job: Job, command: Command, where: Path, folder: Path, on_point: Callable[[Row], None]
) -> History:
    files = Files.of(folder, job.spec.run_id)
    rates = write_request(job, command.metric, files)
    began = time.perf_counter()
    status = _run(job, command, where, files, on_point)
    seconds = time.perf_counter() - began
    said = tail(_end_of(folder / OUTPUT), SHOWN_LINES)
    facts = {
        "seconds": seconds,
        "exit_status": status,
        "output": said,
        "decisions": read_decisions(files.decisions),
    }
    try:
        history = history_of(job, command.metric, read_log(files.log), rates, facts)
    except LogError as error:
        if status:  # which is why there is nothing to be read
            raise _failed(job, folder, status, said) from None
        raise CommandError(_message(job, folder, str(error), [])) from None
    if status and history.completed:
        raise _failed(job, folder, status, said)
    return history  # a run that diverged may end as it likes


def _run(
    job: Job, command: Command, where: Path, files: Files, on_point: Callable[[Row], None]
) -> int:
    """Start the script and wait for its end; its exit status."""
    folder, look = files.request.parent, _watch(job, files.log, on_point)
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            line_of(job, command, files.request),
            shell=True,
            cwd=where,
            env=_environment(files.request),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with guarded(process.pid):
            try:
                return _wait(process, job, command, folder, look)
            finally:
                end_session(process.pid)  # and what it has left running


def _wait(
    process: subprocess.Popen[bytes],
    job: Job,
    command: Command,
    folder: Path,
    look: Iterator[None],
) -> int:
    began, looked = time.monotonic(), 0.0
    while True:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(POLL_S)
            next(look)
            return status
        now = time.monotonic()
        if command.timeout is not None and now - began > command.timeout:
            end_session(process.pid)
            problem = f"not done after {duration(command.timeout)}, its time-out"
            remedy = "; raise `timeout` of the task, or train less"
            raise CommandError(
                _message(job, folder, problem + remedy, tail(_end_of(folder / OUTPUT)))
            )
        if now - looked > LOOK_S:
            next(look)
            looked = now


def line_of(job: Job, command: Command, request: Path) -> str:
    """The shell's line, with what it asks for in place."""
    line = command.line
    for name, value in {
        "seed": job.spec.seed,
        "updates": job.spec.updates,
        "points": job.spec.points,
        "run": request,
    }.items():
        line = line.replace(f"{{{name}}}", str(value))
    return line


def _environment(request: Path) -> dict[str, str]:
    """That of this process; one thread for each run, as for all others, unless it says how many."""
    found = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **os.environ}
    found[VARIABLE] = str(request)
    # last: without an environment of the user's own, `python` is this one
    own = str(Path(sys.executable).parent)
    found["PATH"] = os.pathsep.join(filter(None, [found.get("PATH", os.defpath), own]))
    return found


def _watch(job: Job, log: Path, on_point: Callable[[Row], None]) -> Iterator[None]:
    """Tell of every log point that the log has reached, each time it is asked to look."""
    steps, told = log_steps(job.spec.updates, job.spec.points), 0
    while True:
        last = last_row(log)
        while last is not None and told < len(steps) and steps[told] <= last["step"]:
            told += 1
            on_point(last)
        yield


def _end_of(output: Path) -> str:
    """Of what a script has printed, which may be gigabytes."""
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - END_BYTES))
        return file.read().decode("utf-8", errors="replace")


def _failed(job: Job, folder: Path, status: int, said: list[str]) -> Exception:
    if status < 0 or status in (128 + 9, 128 + 15):
        problem = f"was killed by signal {-status if status < 0 else status - 128}"
        return CommandKilledError(_message(job, folder, f"{problem} (out of memory?)", said))
    what = "the shell does not find the command" if status == NOT_FOUND else "the script failed"
    return CommandError(_message(job, folder, f"{what}: exit status {status}", said))


def _message(job: Job, folder: Path, problem: str, said: list[str]) -> str:
    lines = "".join(f"\n    {line}" for line in said)
    return (
        f"{job.spec.task} {job.spec.describe()}: {cut(problem, 600)}{lines}\n"
        f"  all of its output: {folder / OUTPUT}"
    )


def _command(job: Job) -> Command:
    assert isinstance(job.own, Command), "a job of a task that is no command"
    return job.own
