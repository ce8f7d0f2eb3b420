"""`lode …` as a user meets it: real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.cli.main import main
from components.tasks.names import TASKS

TINY = ["--set", "training.updates=20", "--set", "training.points=10"]


def lode(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "components.cli", *arguments]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, timeout=200)


def test_help_says_what_to_do_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom components.cli import main as cli\nsys.argv = ['lode', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'mlflow', 'prefect', 'optuna', 'dvc', 'pydantic',"
        " 'great_expectations', 'matplotlib', 'rich'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
    for word in ("make demo", "sweep", "validate", "pilot", "fit", "register", "train", "evaluate"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "--set", "task=mnist1d"], "did you mean 'mnist1d-cnn'"),
        (["sweep", "--set", "sweep.seeds"], "write KEY=VALUE"),
        (["sweep", "--set", "a.b=[1"], "not YAML"),
        (["sweep", "--params", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["swep"], "No such command 'swep'"),
        (["train", "--scheduler", "onecycl"], "onecycle"),
        (["train", "--scheduler", "cosine"], "--peak-lr"),
        (["train", "--scheduler", "cosine", "--peak-lr", "-1"], "must be from 1e-12 to 1000"),
        (["train", "--scheduler", "lode", "--peak-lr", "1"], "drop --peak-lr"),
        (["train", "--scheduler", "lode"], "lode fit"),
        (["train"], "lode sweep"),
        (["validate"], "lode sweep"),
        (["pilot"], "lode sweep"),
        (["table"], "make demo"),
    ],
)
def test_a_mistake_is_one_message_and_a_failure(
    workspace: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["lode", *arguments])
    with pytest.raises(SystemExit) as stopped:  # whatever else is raised is a traceback
        main()
    assert stopped.value.code != 0
    assert said in capsys.readouterr().err


def test_a_mistake_in_a_process_of_its_own(workspace: Path) -> None:
    done = lode("table", cwd=workspace)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("lode: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_one_network_is_trained_and_kept_once(workspace: Path) -> None:
    arguments = ["train", "--scheduler", "onecycle", "--peak-lr", "0.05", "--seed", "3", *TINY]
    done = lode(*arguments, cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "onecycle 0.05 seed 3: test 0." in done.stdout
    kept = sorted((workspace / "runs" / "mnist1d-cnn").iterdir())
    assert [path.suffix for path in kept] == [".parquet", ".safetensors"]
    times = [path.stat().st_mtime_ns for path in kept]
    assert lode(*arguments, cwd=workspace).stdout == done.stdout
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_the_catalog_is_listed(tmp_path: Path) -> None:
    done = lode("tasks", cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(TASKS)
