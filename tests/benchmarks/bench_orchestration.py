"""What Prefect adds to a sweep: the flow's sweep step against the bare runs.

    .venv/bin/python tests/benchmarks/bench_orchestration.py      (--help for its options)

Both train the same runs with the same number of processes into an empty folder: *bare* calls
`components/runs/pool.run_all`, *flow* runs `flows/pipeline.sweep` as the only task of a flow,
from the call of the flow to its return (flow run, task run, states, logs; settings read, jobs
made), on a Prefect server on this machine (PREFECT_API_URL, else one started here and warmed up).
Python's imports are not counted, they are paid once per process. Each repetition times both, in
changing order. The last line gives the median of the differences in per cent of the bare runs.

On a machine whose speed changes by more than that within minutes, two figures that do not depend
on it are printed first, for each pair: how long the flow took before and after its runs trained,
and the processor time that flow and server used beyond what the bare parent used, the server's idle
time included (while the runs train, it is all that orchestration can take from them), in per cent
of what the cores could give. A server of PREFECT_API_URL is not among our processes: not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

import flows  # noqa: F401  telemetry off, before anything else
from components.runs import pool
from components.runs.plan import sweep_plan
from components.settings import Settings, load
from components.storage.workspace import Workspace

TARGET = 2.0  # per cent


def a_workspace(root: Path, data: Path, updates: int, seeds: int) -> tuple[Settings, Workspace]:
    """A new folder with settings; the data sets are shared."""
    (root / "data").mkdir(parents=True)
    (root / "data/datasets").symlink_to(data.resolve())
    params = {
        "task": "mnist1d-cnn",
        "training": {"updates": updates},
        "sweep": {"peak_lrs": [0.01, 0.05], "seeds": list(range(seeds))},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return load(root / "params.yaml"), Workspace(root)


class Cost(NamedTuple):
    """Seconds: of all, of the runs therein, and of processors by `lasting` processes."""

    wall: float
    runs: float
    processor: float


def measured(
    way: Callable[[Settings, Workspace], None], lasting: list[psutil.Process], *where: Any
) -> Cost:
    train, trained = pool.run_all, []

    def timed(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return train(*args, **options)
        finally:
            trained.append(time.perf_counter() - began)

    before, began = _used(lasting), time.perf_counter()
    pool.run_all = timed
    try:
        way(*where)
    finally:
        pool.run_all = train
    return Cost(time.perf_counter() - began, sum(trained), _used(lasting) - before)


def _used(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(each.user + each.system for each in times)


def bare(settings: Settings, workspace: Workspace) -> None:
    pool.run_all(sweep_plan(settings, workspace).grid_jobs())


def orchestrated(settings: Settings, workspace: Workspace) -> None:
    from prefect import flow

    from flows.inputs import read
    from flows.pipeline import sweep

    @flow(name="bench")
    def bench(params: Path) -> None:
        sweep(*read(params))

    bench(workspace.root / "params.yaml")


def tell(bare: Cost, flow: Cost, difference: float) -> None:
    outside = flow.wall - flow.runs
    processor = flow.processor - bare.processor
    share = processor / (bare.wall * len(os.sched_getaffinity(0)))
    print(
        f"bare {bare.wall:.1f} s, flow {flow.wall:.1f} s: {difference:+.1f} %; before and after "
        f"its runs {outside:.2f} s, {100 * outside / bare.wall:.2f} %; "
        f"processor {processor:+.2f} s, {100 * share:+.2f} % of the cores",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/datasets"))
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=8, help="of 8 configurations each")
    parser.add_argument("--repetitions", type=int, default=2)
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    ways = {"bare": bare, "flow": orchestrated}
    differences = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("PREFECT_HOME", f"{scratch}/prefect")
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        for name, way in ways.items():  # pays for what only the first pays for
            way(*a_workspace(Path(scratch, f"warm-{name}"), arguments.data, 100, 2))
        for repetition in range(arguments.repetitions):
            took: dict[str, Cost] = {}
            for name in list(ways)[:: 1 if repetition % 2 else -1]:
                root = Path(scratch, f"{name}-{repetition}")
                where = a_workspace(root, arguments.data, arguments.updates, arguments.seeds)
                lasting = [psutil.Process()]
                if name == "flow":  # and the server, which bare runs do not need
                    lasting += lasting[0].children(recursive=True)
                took[name] = measured(ways[name], lasting, *where)
            differences.append(100 * (took["flow"].wall / took["bare"].wall - 1))
            tell(**took, difference=differences[-1])
    print(
        f"{8 * arguments.seeds} runs of {arguments.updates} updates, n = {len(differences)} pairs, "
        f"load {os.getloadavg()[0]:.1f}\n\n"
        f"Prefect adds {statistics.median(differences):+.1f} % (target {TARGET:g})"
    )


if __name__ == "__main__":
    main()
