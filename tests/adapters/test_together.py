"""Two real processes over gloo: rank 0 decides, rank 1 has its rates whatever it saw itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .made import MU, POINTS, UPDATES
from .test_torch_scheduler import NOISY, begun

ROOT = Path(__file__).parents[2]
PROCESS = """
import json, sys
import torch
from components.adapters.torch_scheduler import LODEScheduler
from components.lode.errors import LODEError
from tests.adapters.made import Training, an_optimizer

rank, port, folder, options, at = json.loads(sys.argv[1])
address = {"init_method": f"tcp://127.0.0.1:{port}", "rank": rank, "world_size": 2}
torch.distributed.init_process_group("gloo", **address)

class Its(Training):
    def measured(self):
        if rank == 0:
            return super().measured()
        return (None, None) if self.done % 20 else (float("nan"), 3.0)  # nobody asks rank 1

def begun():
    optimizer = an_optimizer()
    return Its(LODEScheduler.load(folder, optimizer, **options), optimizer)

first = begun()
first.go(at)
state = json.loads(json.dumps(first.scheduler.state_dict()))
second = begun()  # as after a checkpoint, which each of them has written
second.scheduler.load_state_dict(state)
second.spent, second.done, second.rates = first.spent, at, first.rates
second.go(190)
second.scheduler.set_total_steps(260)
second.go(260)
said = ""
try:
    second.scheduler.observe(1.0, 0.5)
except LODEError as error:
    said = str(error)
moves = [[move.point, move.changed] for move in second.scheduler.decisions]
print(json.dumps([second.rates, second.scheduler.state_dict(), moves, said]))
torch.distributed.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.slow
def test_every_process_has_the_rates_of_the_first(lode_dir: Path) -> None:
    options = {"total_steps": UPDATES, "mu": MU / POINTS, **NOISY}
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, json.dumps([rank, port, str(lode_dir), options, 93])],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    outcomes = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], outcomes
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in outcomes)
    alone = begun(lode_dir)
    assert first == second
    alone.go(190)
    alone.scheduler.set_total_steps(260)
    assert first[0] == alone.go(260), "as one process alone"
    assert any(changed for _, changed in first[2])
    assert "was reported after 260 updates already" in first[3], "an error is everybody's"
