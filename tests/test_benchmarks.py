"""The benchmark scripts still run; what they measure is for `make bench` on a quiet machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


def said(script: str, *options: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *options],
        cwd=BENCHMARKS.parents[1],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_bench_loop(datasets: Path) -> None:
    out = said("bench_loop.py", "--data", datasets, "--updates", "5", "--repetitions", "2")
    for part in ("n = 2", "torch ", "bare ", "loop, OneCycle", "DataLoader", "x1.000 of bare"):
        assert part in out


@pytest.mark.slow
def test_bench_fit() -> None:
    few = ("--updates", "1", "--repetitions", "2", "--warm-up", "2", "--lode", "none-there")
    out = said("bench_fit.py", *few, "--points", "30", "100", "--batch", "4")
    last = out.splitlines()[-1]
    assert re.fullmatch(r"batch 4, ratio T=100: \d+\.\d \(target 3\)  T=30: \d+\.\d", last)
    assert len(re.findall(r"^ *(?:30|100) +4 +(?:30|fit) +\d", out, re.MULTILINE)) == 4
    for part in ("n = 2", "torchdiffeq ", "of the short fit", "rk4, 16 steps", "<- timed"):
        assert part in out


@pytest.mark.slow
def test_bench_decision(datasets: Path) -> None:
    few = ("--calls", "2", "--repetitions", "2", "--warm-up", "2", "--lode", "none-there")
    out = said("bench_decision.py", *few, "--data", datasets, "--updates", "20", "--points", "10")
    last = out.splitlines()[-1]
    assert re.fullmatch(r"share of a run: .* % inside .* % paired \(target 5\)", last)
    for part in ("n = 2", "1,200 points decoded", "a short fit", "N = 20, T = 10", "(target 15)"):
        assert part in out


@pytest.mark.slow
def test_bench_throughput(datasets: Path) -> None:
    few = ("--updates", "10", "--runs", "2", "--repetitions", "2", "--at-a-time", "1", "2")
    out = said("bench_throughput.py", "--data", datasets, *few)
    for part in ("n = 2 repetitions", "torch ", " 1 at a time", "x1.00 of 1 at a time"):
        assert part in out
    assert re.search(r"^ 2 at a time +[\d,]+ runs/h +x\d", out, re.MULTILINE)


@pytest.mark.slow
def test_bench_orchestration(datasets: Path) -> None:
    few = ("--updates", "100", "--seeds", "2", "--repetitions", "2")
    out = said("bench_orchestration.py", "--data", datasets, *few)
    assert len(re.findall(r"^bare \d+\.\d s, flow \d+\.\d s: [+-]", out, re.MULTILINE)) == 2
    assert re.fullmatch(r"Prefect adds [+-]\d+\.\d % \(target 2\)", out.splitlines()[-1])
