"""A user's script as a run: what comes of it, and of every way in which it may misbehave."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from components.runs.command import CommandError, CommandKilledError, folder_of_run
from components.runs.contract import last_row
from components.runs.execute import execute
from components.runs.job import Job
from components.runs.pool import run_all
from components.tasks.own import Command
from components.training.history import COLUMNS, History, read_history
from components.training.run import log_steps
from tests.runs.scripts import LOSS, job, write_script

ROOT = Path(__file__).parents[2]


def done(root: Path, body: str = "", **changes: object) -> History:
    write_script(root, body)
    return execute(job(root, **changes))


def test_a_script_of_anybody_leaves_the_history_that_our_own_runs_leave(tmp_path: Path) -> None:
    asked = job(tmp_path)
    history = done(tmp_path)
    assert tuple(history.points.columns) == COLUMNS
    assert list(history.points["step"]) == log_steps(40, 20)
    assert set(history.points["lr"]) == {0.05}
    assert history.completed and history.run_id == asked.spec.run_id
    assert read_history(asked.path).meta == history.meta
    assert history.meta["exit_status"] == 0
    # without a test set: what it ended with
    assert history.meta["test_metric"] == history.points["val_metric"].iloc[-1]
    assert history.meta["test_is_validation"]


def test_a_run_is_not_repeated(tmp_path: Path) -> None:
    first = done(tmp_path, "open('runs.txt', 'a').write('x')")
    again = execute(job(tmp_path))
    assert again.meta == first.meta
    assert (tmp_path / "runs.txt").read_text() == "x"


def test_what_the_line_asks_for_is_put_in(tmp_path: Path) -> None:
    line = "python3 train.py {seed} {updates} {points} '{run}' ${HOME:+home} >said; cat said"
    history = done(tmp_path, "print(sys.argv[1:])", line=line)
    (said,) = history.meta["output"]
    request = folder_of_run(job(tmp_path)) / f"{history.run_id}.json"
    assert said == str(["3", "40", "20", str(request), "home"])[:200]


def test_a_folder_with_spaces_beside_the_workspace(tmp_path: Path) -> None:
    home, project = tmp_path / "a workspace", tmp_path / "my próject"
    home.mkdir()
    write_script(project)
    asked = job(home)
    assert isinstance(asked.own, Command)
    history = execute(replace(asked, own=replace(asked.own, folder="../my próject")))
    assert history.completed


def test_of_a_loss_the_history_has_the_negative(tmp_path: Path) -> None:
    body = "rows = [['step', 'train_loss', 'val_loss', 'lr'], *rows[1:]]"
    history = done(tmp_path, body, metric=LOSS)
    assert history.points["val_metric"].max() == history.meta["best_val_metric"] < 0
    assert history.meta["metric_goal"] == "minimize"
    assert history.meta["test_metric"] == history.points["val_metric"].iloc[-1]


def test_json_lines_do_as_well(tmp_path: Path) -> None:
    body = """
with open(run["history"], "w") as log:
    for row in rows[1:]:
        log.write(json.dumps(dict(zip(rows[0], row))) + "\\n")
    log.write(json.dumps({"step": run["updates"], "test_metric": 0.5}) + "\\n")
sys.exit()"""
    plain, lines = done(tmp_path / "a"), done(tmp_path / "b", body)
    assert lines.points.drop(columns="elapsed_s").equals(plain.points.drop(columns="elapsed_s"))
    assert lines.meta["test_metric"] == 0.5 and not lines.meta["test_is_validation"]


@pytest.mark.parametrize("at", [0, 1, 9, 19])
def test_a_loss_that_is_no_number_is_a_diverged_run(at: int, tmp_path: Path) -> None:
    history = done(tmp_path, f"rows[{at + 1}][1] = math.nan; del rows[{at + 2}:]")
    assert history.meta["status"] == "diverged"
    assert len(history.points) == at
    assert read_history(job(tmp_path).path).meta["test_metric"] is None


def test_a_diverged_run_may_end_with_an_error(tmp_path: Path) -> None:
    body = """
rows[8][1] = math.nan
open(run["history"], "w").write("\\n".join(",".join(map(str, row)) for row in rows[:9]))
sys.exit("loss is nan")"""
    assert done(tmp_path, body).meta["status"] == "diverged"


WRONG = {
    "sys.exit('no data')": "exit status 1.*no data.*all of its output",
    "sys.exit()": "nothing was logged; write rows to the file",
    "rows = rows[:1]": "nothing was logged",
    "rows = rows[:11]": "train_loss is last logged at step 20 of 40",
    "rows = [[r[0] * 2 if i else r[0], *r[1:]] for i, r in enumerate(rows)]": "step 80 is beyond",
    "rows = [[r[0] - 1 if i else r[0], *r[1:]] for i, r in enumerate(rows)]; rows[1][0] = 0": (
        "steps run from 0 to 39; .* log step \\+ 1"
    ),
    "rows = [[*r[:3], 0.1 if i else 'lr'] for i, r in enumerate(rows)]": (
        "lr is 0.1 at step 2, and 0.05 was asked for; set the optimizer's rate"
    ),
    "rows = [[r[0], r[1], 93 if i else r[2], r[3]] for i, r in enumerate(rows)]": (
        "val_metric is 93, but accuracy is a share .*log 0.93, not 93"
    ),
    "rows = [r[:2] for r in rows]": "val_metric is never logged, and it is to be accuracy",
    "rows = [r[1:] for r in rows]": "begin with the names of the columns.*step",
    "rows[3] = rows[3][:2]": "line 4 has 2 cells, the first line 4",
    "rows[3][1] = 'abc'": "train_loss in line 4 is 'abc'; log numbers",
    "rows[3][0] = ''": "line 4 has no step",
    "rows[3][0] = 'inf'": "line 4 has no step",
    "rows[3][0] = 1.5": "step 1.5 in row 3 is no whole number",
}


@pytest.mark.parametrize("body", WRONG)
def test_a_script_that_does_something_else_is_told_what_to_change(
    body: str, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=f"(?s)^mine constant 0.05 seed 3: .*{WRONG[body]}"):
        done(tmp_path, body)
    assert not job(tmp_path).path.exists()


def test_a_command_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="the shell does not find the command: exit status 127"):
        done(tmp_path, line="no-such-program")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    asked = job(tmp_path)
    assert isinstance(asked.own, Command)
    with pytest.raises(CommandError, match="elsewhere: no such folder"):
        execute(replace(asked, own=replace(asked.own, folder="elsewhere")))


def test_a_script_that_is_killed_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(CommandKilledError, match=r"killed by signal 9 \(out of memory\?\)"):
        done(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")


STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('pid', 'w').write(str(os.getpid()))"
FORKING = (
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)']); "
    "open('pid', 'w').write(str(child.pid))"
)


@pytest.mark.parametrize("body", [STUBBORN, FORKING])
def test_nothing_outlives_its_time_out(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.runs.session.end_session.__defaults__", (0.5,))
    with pytest.raises(CommandError, match=r"not done after .* its time-out; raise `timeout`"):
        done(tmp_path, f"{body}; time.sleep(600)", timeout=2.0)
    assert gone(int((tmp_path / "pid").read_text()))


def test_what_a_finished_script_leaves_running_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.runs.session.end_session.__defaults__", (0.5,))
    assert done(tmp_path, FORKING).completed
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_script_dies_with_whoever_waits_for_it(tmp_path: Path) -> None:
    write_script(tmp_path, f"{FORKING}; open('own', 'w').write(str(os.getpid())); time.sleep(600)")
    code = (
        "from pathlib import Path; from tests.runs.scripts import job; "
        "from components.runs.execute import execute; "
        f"execute(job(Path({str(tmp_path)!r}), timeout=None))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    own = tmp_path / "own"
    wait_for(lambda: own.exists() and own.read_text() != "", 60)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    pids = [int((tmp_path / name).read_text()) for name in ("own", "pid")]
    wait_for(lambda: all(map(gone, pids)), 30)


def test_the_pool_does_scripts_like_all_other_runs(tmp_path: Path) -> None:
    write_script(tmp_path)
    jobs = [job(tmp_path, seed=seed) for seed in range(4)]
    seen: list[Job] = []
    histories = run_all(jobs, workers=2, on_history=lambda one, history: seen.append(one))
    assert [history.meta["seed"] for history in histories] == [0, 1, 2, 3]
    assert len(seen) == 4
    assert len({history.points["train_loss"].iloc[-1] for history in histories}) == 4


def test_how_far_a_script_is_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.runs.command.LOOK_S", 0.05)
    write_script(tmp_path, "")
    rows: list[dict[str, float]] = []
    execute(job(tmp_path), rows.append)
    assert len(rows) == 20 and math.isfinite(rows[-1]["train_loss"])


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: object, seconds: float) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def test_the_environment_of_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PATH", os.defpath)
    said = "print(os.environ['OMP_NUM_THREADS'], os.environ['PATH'])"
    (line,) = done(tmp_path, said).meta["output"]
    # last, so that `python` is this one only where there is no other
    assert line == f"7 {os.defpath}{os.pathsep}{Path(sys.executable).parent}"


def test_one_run_asked_for_by_two_trials_at_once_is_done_for_both(tmp_path: Path) -> None:
    write_script(tmp_path, "time.sleep(0.5)")
    jobs = [replace(job(tmp_path), histories=tmp_path / name) for name in ("one", "other")]
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(execute, jobs)
    assert one.points.drop(columns="elapsed_s").equals(other.points.drop(columns="elapsed_s"))
    assert all(asked.path.exists() for asked in jobs)


def test_of_a_huge_output_the_end_is_shown(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"exit status 3\n    x+…\n    the end\n"):
        done(tmp_path, "print('x' * 5_000_000); print('the end', flush=True); os._exit(3)")


LOGS = {
    "": None,
    "step,train_loss\n": None,
    "step,train_loss\n1,0.5": None,  # half written
    "step,train_loss\n1,0.5\n": 1,
    "step,train_loss\n1,0.5\n2,0.": 1,
    "step,train_loss\n" + "".join(f"{i},0.5\n" for i in range(9000)): 8999,
    '{"step": 1}\n': 1,
    '{"step": 1}\n{"step": 2}\n{"st': 2,
    "loss\n1\n": None,
}


@pytest.mark.parametrize("text", LOGS)
def test_the_last_row_of_a_log_that_is_being_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    assert last_row(path) is None
    path.write_text(text)
    found = last_row(path)
    assert (None if found is None else found["step"]) == LOGS[text]
