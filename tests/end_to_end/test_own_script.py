"""docs/guides/your-script.md and on-a-cluster.md, followed to the letter beside an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.training.history import read_histories

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs/guides"
# So few runs that the page's commands take a minute or two.
FEW = {
    "sweep": {"schedulers": ["constant", "onecycle"], "peak_lrs": [0.01], "seeds": [0, 1]},
    "pilots": {"runs": 0},
    "lode": {"fit": {"updates": 300}, "judge": {"members": 2, "updates": 50}},
    "evaluation": {"seeds": [100, 101]},
}


def blocks(page: str, language: str) -> list[str]:
    text = (GUIDES / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def typed(command: str, clone: Path) -> str:
    """A block of commands as a reader types it in the clone; what it printed."""
    command = command.replace(".venv/bin/lode", f"{sys.executable} -m components.cli")
    command = re.sub("make demo ARGS='(.*)'", rf"{sys.executable} -m flows \1", command)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=clone,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_five_minutes_to_a_schedule(tmp_path: Path) -> None:
    project, clone = tmp_path / "my-project", tmp_path / "clone"
    project.mkdir()
    clone.mkdir()
    (script,) = blocks("your-script.md", "python")
    (settings,) = blocks("your-script.md", "yaml")
    assert len(re.findall(r"  # \d$", script, re.MULTILINE)) == 5
    (project / "train.py").write_text(script)
    (project / "params.yaml").write_text(settings + yaml.safe_dump(FEW))
    by_hand = typed(f"{sys.executable} ../my-project/train.py --steps 20", clone)
    assert by_hand.startswith("accuracy 0.")

    (cluster,) = blocks("on-a-cluster.md", "sh")
    said = typed(cluster, clone)  # the race's first seed
    assert "2 instead of 8" in said and "2 taken, 0 left out" in said
    said = typed(cluster, clone)
    assert "2 taken, 0 left out" in said
    assert "my-net: validate is done by the next `lode ask`; 4 runs are there" in said

    (commands,) = blocks("your-script.md", "sh")
    said = typed(commands, clone)
    assert "ok       of the same seed it logged the same again" in said
    assert "ok       at another rate it logged other losses" in said
    assert re.search(r"LODE +\d\d\.\d\d ± ", said), said
    assert (clone / "plan.json").exists()
    assert len(read_histories(project / "data/histories/my-net")) == 4  # those that were told
    runs = read_histories(project / "data/scheduled/my-net")
    assert {run.meta["scheduler"] for run in runs} >= {"lode", "onecycle"}
    assert all(run.completed for run in runs)
