"""The benchmark scripts still run; what they measure is for `make bench` on a quiet machine."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent / "benchmarks"
Said = Callable[..., str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a script as if from the command line, in this process; returns what it prints."""

    def run(script: str, *options: str | Path) -> str:
        path = BENCHMARKS / script
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, options)])
        monkeypatch.chdir(BENCHMARKS.parents[1])
        monkeypatch.syspath_prepend(BENCHMARKS)  # as it is for a script
        capsys.readouterr()
        threads = torch.get_num_threads()
        try:
            runpy.run_path(str(path), run_name="__main__")
        finally:
            torch.set_num_threads(threads)
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_bench_loop(said: Said, datasets: Path) -> None:
    out = said("bench_loop.py", "--data", datasets, "--updates", "5", "--repetitions", "2")
    for part in ("n = 2", "torch ", "bare ", "loop, OneCycle", "DataLoader", "x1.000 of bare"):
        assert part in out


@pytest.mark.slow
def test_bench_fit(said: Said) -> None:
    few = ("--updates", "1", "--repetitions", "2", "--warm-up", "2", "--lode", "none-there")
    out = said("bench_fit.py", *few, "--points", "30", "100", "--batch", "4")
    last = out.splitlines()[-1]
    assert re.fullmatch(r"batch 4, ratio T=100: \d+\.\d \(target 3\)  T=30: \d+\.\d", last)
    assert len(re.findall(r"^ *(?:30|100) +4 +(?:30|fit) +\d", out, re.MULTILINE)) == 4
    for part in ("n = 2", "torchdiffeq ", "of the short fit", "rk4, 16 steps", "<- timed"):
        assert part in out


@pytest.mark.slow
def test_bench_decision(said: Said, datasets: Path) -> None:
    few = ("--calls", "2", "--repetitions", "2", "--warm-up", "2", "--lode", "none-there")
    out = said("bench_decision.py", *few, "--data", datasets, "--updates", "20", "--points", "10")
    last = out.splitlines()[-1]
    assert re.fullmatch(r"share of a run: .* % inside .* % paired \(target 5\)", last)
    for part in ("n = 2", "1,200 points decoded", "a short fit", "N = 20, T = 10", "(target 15)"):
        assert part in out


@pytest.mark.slow
def test_bench_sharpness(said: Said, datasets: Path) -> None:
    few = ("--updates", "20", "--repetitions", "2", "--tasks", "digits-mlp")
    out = said("bench_sharpness.py", "--data", datasets, *few)
    for part in ("n = 2", "torch ", "digits-mlp: 1,482 parameters", "exact: λ_max"):
        assert part in out
    for way in ("ours", "ours, both ends", "ours, recomputed", "scipy"):
        (error,) = re.findall(rf"^{way}  .*error of λ_max +(\S+)", out, re.MULTILINE)
        assert float(error) < 1e-3


@pytest.mark.slow
def test_bench_throughput(said: Said, datasets: Path) -> None:
    few = ("--updates", "10", "--runs", "2", "--repetitions", "2", "--at-a-time", "1", "2")
    out = said("bench_throughput.py", "--data", datasets, *few)
    for part in ("n = 2 repetitions", "torch ", " 1 at a time", "x1.00 of 1 at a time"):
        assert part in out
    assert re.search(r"^ 2 at a time +[\d,]+ runs/h +x\d", out, re.MULTILINE)


@pytest.mark.acceptance  # starts Prefect several times
@pytest.mark.slow
def test_bench_orchestration(said: Said, datasets: Path) -> None:
    few = ("--updates", "100", "--seeds", "2", "--repetitions", "2")
    out = said("bench_orchestration.py", "--data", datasets, *few)
    assert len(re.findall(r"^bare \d+\.\d s, flow \d+\.\d s: [+-]", out, re.MULTILINE)) == 2
    assert re.fullmatch(r"Prefect adds [+-]\d+\.\d % \(target 2\)", out.splitlines()[-1])
