"""The benchmark scripts still run; what they measure is for `make bench` on a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.mark.slow
def test_bench_loop(datasets: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_loop.py"), "--data", str(datasets)]
    done = subprocess.run(
        [*command, "--updates", "5", "--repetitions", "2"],
        cwd=BENCHMARKS.parents[1],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for said in ("n = 2", "torch ", "bare ", "loop, OneCycle", "DataLoader", "x1.00 of bare"):
        assert said in done.stdout
