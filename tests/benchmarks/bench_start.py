"""How long commands take that have nothing to do, and how soon Ctrl-C ends the demo.

    .venv/bin/python tests/benchmarks/bench_start.py                  # this tree
    .venv/bin/python tests/benchmarks/bench_start.py ../other-tree    # alternating with another one

Medians (lowest to highest) of whole processes, in a workspace of a raced sweep, its pilots and 50
scheduled runs, made once for each tree: what a tree has made is out of date for another.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
# As many runs as the demo has, and as short as they may be.
SETTINGS = """
task: digits-mlp
training: {updates: 20, points: 10, device: cpu}
lode: {fit: {updates: 40}, judge: {updates: 20}}
evaluation: {sharpness: none}
"""
DEMO = ("-m", "flows")
LODE = ("-m", "components.cli")
COMMANDS = {
    "make demo, up to date": DEMO,
    "lode versions": (*LODE, "versions"),
    "lode retrain, nothing new": (*LODE, "retrain"),
    "lode table": (*LODE, "table"),
    "lode tasks": (*LODE, "tasks"),
    "lode --help": (*LODE, "--help"),
}
AGAIN = ("--set", "sweep.seeds=[0, 1, 2, 3, 4, 5]")  # something to do, in a trial


def start(tree: Path, folder: Path, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree), "DO_NOT_TRACK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def seconds(tree: Path, folder: Path, arguments: tuple[str, ...]) -> float:
    started = time.perf_counter()
    process = start(tree, folder, arguments)
    said, _ = process.communicate()
    if process.returncode:
        raise click.ClickException(f"{tree}: {' '.join(arguments)}: {said}")
    return time.perf_counter() - started


def interrupted(tree: Path, folder: Path) -> tuple[float, float]:
    """Seconds until the demo says anything, and from Ctrl-C among its runs to its end."""
    started = time.perf_counter()
    process = start(tree, folder, (*DEMO, *AGAIN))
    assert process.stdout
    process.stdout.readline()
    first = time.perf_counter() - started
    time.sleep(25)  # Prefect's server and the workers are up
    stopped = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:  # as long as that, or for ever
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return first, time.perf_counter() - stopped


def row(name: str, found: dict[Path, list[float]]) -> None:
    cells = (
        f"{statistics.median(times):6.2f} ({min(times):.2f} to {max(times):.2f})"
        for times in found.values()
    )
    print(f"{name:30}", "   ".join(cells), flush=True)


@click.command()
@click.argument("trees", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--times", "-n", default=5, show_default=True)
def main(trees: tuple[Path, ...], times: int) -> None:
    """Measure this tree, and TREES beside it."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        for tree in (ROOT, *(tree.resolve() for tree in trees)):
            folders[tree] = Path(scratch) / str(len(folders))
            folders[tree].mkdir()
            (folders[tree] / "params.yaml").write_text(SETTINGS)
            for arguments in (DEMO, (*LODE, "retrain")):
                seconds(tree, folders[tree], arguments)
        print(f"n = {times}; seconds; {', '.join(map(str, folders))}")
        for name, arguments in COMMANDS.items():
            rounds = [
                [seconds(tree, folder, arguments) for tree, folder in folders.items()]
                for _ in range(times)
            ]
            row(name, dict(zip(folders, map(list, zip(*rounds, strict=True)), strict=True)))
        stops = [[interrupted(t, f) for t, f in folders.items()] for _ in range(times)]
        for place, name in enumerate(("make demo, its first line", "make demo, Ctrl-C")):
            row(name, {t: [one[i][place] for one in stops] for i, t in enumerate(folders)})
        print(subprocess.check_output("uptime", text=True).strip())


if __name__ == "__main__":
    main()
