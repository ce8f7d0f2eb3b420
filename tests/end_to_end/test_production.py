"""Day-to-day use on real servers: Prefect on PostgreSQL, MLflow, workers, and a real browser.

One `make serve` for the whole file. Machines die in it: workers, MLflow and PostgreSQL are killed.
"""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.steps.trials import opened
from components.training.history import History, read_histories, read_history, write_history
from components.training.run import RunSpec

from .production import PATIENCE, Production, ask, kill_session, serve, until

TASK = "mnist1d-cnn"
SCREENSHOTS = Path(os.environ.get("LODE_SCREENSHOTS", "build/screenshots"))
SETTINGS = """
task: mnist1d-cnn
training: {updates: 40, points: 20, train_samples: 400, device: cpu}
sweep: {schedulers: [constant, onecycle], peak_lrs: [0.01], seeds: [0, 1]}
pilots: {runs: 0}
lode: {fit: {updates: 300}, judge: {updates: 20}, scheduler: {mu: 3, n: 3}}
retraining: {seeds: 2, max_error: 5.0, tolerance: 1.0}
evaluation: {seeds: [100, 101], sharpness: none}
execution: {mode: workers, runs_per_shard: 3}
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.acceptance,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not Path("/proc").exists(), reason="looks for servers in /proc"),
]


@pytest.fixture(scope="module")
def production(needs_system: Any) -> Iterator[Production]:
    needs_system("/usr/lib/postgresql", "postgresql")
    # not in pytest's own folder: PostgreSQL, started by root, runs as a user who cannot enter it
    folder = Path(tempfile.mkdtemp(prefix="lode-production-"))
    folder.chmod(0o755)
    served = serve(folder, SETTINGS)
    yield served
    served.process.send_signal(signal.SIGTERM)
    printed, _ = served.process.communicate(timeout=120)
    assert served.process.returncode == 0, printed
    shutil.rmtree(folder)


def swept(production: Production, updates: int) -> list[History]:
    """The histories of the sweep of a trial with so many updates."""
    found = production.root.glob(f"trials/*/data/histories/{TASK}/*.parquet")
    histories = [read_history(path) for path in sorted(found)]
    return [one for one in histories if one.meta["updates"] == updates]


def completed(production: Production, run_id: str, seconds: float = PATIENCE) -> dict[str, Any]:
    run = production.end_of(run_id, seconds)
    assert run["state_type"] == "COMPLETED", production.log(run_id) + str(run["state"])
    return run


def test_a_flow_started_on_the_page_runs_on_workers(
    production: Production, needs_system: Any
) -> None:
    from playwright.sync_api import sync_playwright

    browser_path = needs_system("chromium", "chromium")
    deployment = ask(f"{production.api}/deployments/name/pipeline/on-demand")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(browser_path),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        page = browser.new_page(viewport={"width": 1300, "height": 1500})
        page.set_default_timeout(60_000)
        page.goto(f"{production.prefect}/deployments/deployment/{deployment['id']}")
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        page.get_by_text("Where runs are trained").wait_for()
        described = page.get_by_text("N, optimizer updates of one run.")
        number = page.locator(".p-label").filter(has=described).last
        number.get_by_text("int", exact=True).click()
        number.locator("input").fill("48")
        page.screenshot(path=SCREENSHOTS / "form.png", full_page=True)
        page.get_by_role("button", name="Submit").click()
        [run] = until(
            lambda: production.runs(deployment_id={"any_": [deployment["id"]]}), 60, "a flow run"
        )
        assert run["parameters"]["changes"]["updates"] == 48
        completed(production, run["id"])
        page.goto(f"{production.prefect}/runs/flow-run/{run['id']}")
        page.get_by_text("Completed").first.wait_for()
        page.wait_for_timeout(3000)  # the graph is drawn
        page.screenshot(path=SCREENSHOTS / "flow-run.png", full_page=True)
        page.get_by_text("Artifacts").first.click()
        page.get_by_text(f"result-{TASK}").first.wait_for()
        page.screenshot(path=SCREENSHOTS / "artifacts.png", full_page=True)
        browser.close()
    histories = swept(production, 48)
    assert len(histories) == 4 and {h.meta["updates"] for h in histories} == {48}
    pools = {r["work_pool_name"] for r in production.runs()}
    assert pools == {"cpu", "gpu"}, "the trainings should have been the gpu workers'"
    assert list(production.root.glob(f"trials/updates-48-*/reports/{TASK}/index.html"))
    assert not (production.root / f"reports/{TASK}").exists(), "a trial's report is no one else's"


def task_runs(production: Production, name: str) -> list[dict[str, Any]]:
    asked = {"task_runs": {"name": {"any_": [name]}}, "limit": 200}
    return list(ask(f"{production.api}/task_runs/filter", asked))


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(production: Production) -> None:
    second = production.worker("gpu", "second")
    others = {
        "training.train_samples": None,
        "training.updates": 3000,
        "training.points": 20,
        "sweep.peak_lrs": [0.02],
        "sweep.schedulers": ["cosine", "onecycle"],
        "sweep.seeds": [0, 1, 2, 3],
        "execution.runs_per_shard": 2,
    }
    run_id = production.start("pipeline/on-demand", changes={"others": others})

    def at_work() -> list[dict[str, Any]]:
        """Shards of ours that the second worker has begun."""
        events = ask(f"{production.api}/work_pools/gpu/workers/filter", {})
        assert events
        log = (production.root / "second.log").read_text()
        return [
            run
            for run in production.runs(state={"type": {"any_": ["RUNNING"]}})
            if run["work_pool_name"] == "gpu" and run["name"] in log
        ]

    until(at_work, PATIENCE, "a shard on the second worker")
    time.sleep(6)  # in the middle of a training
    killed = at_work()
    kill_session(second.pid)
    second.wait()
    assert len(killed) == 1
    completed(production, run_id)
    sweep = swept(production, 3000)
    assert sorted((*h.configuration, h.meta["seed"]) for h in sweep) == sorted(
        (scheduler, 0.02, seed) for scheduler in ("cosine", "onecycle") for seed in range(4)
    )
    assert all(h.completed for h in sweep)
    assert production.run(killed[0]["id"])["state_type"] == "CRASHED"
    for history in sweep:
        done = [
            run
            for run in task_runs(production, f"{TASK} {history.describe()}")
            if run["state_type"] == "COMPLETED"
        ]
        assert len(done) == 1, f"{history.describe()} was trained {len(done)} times"


def test_flows_go_on_when_mlflow_and_postgresql_are_killed(production: Production) -> None:
    uri = production.facts["mlflow"]
    others = {"training.updates": 60, "registry.tracking_uri": uri}
    run_id = production.start("pipeline/on-demand", changes={"others": others})

    def trained() -> int:
        return len(swept(production, 60))

    until(lambda: trained() >= 1, PATIENCE, "the first run of the sweep")
    os.kill(production.server_pid("mlflow"), signal.SIGKILL)
    os.kill(production.server_pid("postgres"), signal.SIGINT)
    completed(production, run_id)
    assert trained() == 4
    [experiment] = ask(
        f"{uri}/api/2.0/mlflow/experiments/search",
        {"filter": f"name = 'sweep-{TASK}'", "max_results": 10},
    )["experiments"]
    found = ask(
        f"{uri}/api/2.0/mlflow/runs/search",
        {
            "experiment_ids": [experiment["experiment_id"]],
            "max_results": 100,
            "filter": "params.updates = '60'",
        },
    )["runs"]
    assert len(found) == 4 and all(run["info"]["status"] == "FINISHED" for run in found)
    for run in found:
        asked = f"run_id={run['info']['run_id']}&metric_key=val_metric"
        logged = ask(f"{uri}/api/2.0/mlflow/metrics/get-history?{asked}")["metrics"]
        assert len(logged) == 20


def test_a_full_disk_is_said_and_spoils_nothing(production: Production) -> None:
    trial = opened(production.root / "params.yaml", {"training.updates": 80})[1]
    folder = trial.histories(TASK)
    folder.mkdir(parents=True)
    before = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system of its own here")
    try:
        (folder / "filler").write_bytes(b"x" * (2**20 - 3 * 4096))  # room for one run at most
        run_id = production.start("pipeline/on-demand", changes={"updates": 80})
        run = production.end_of(run_id)
        assert run["state_type"] == "FAILED"
        production.wait_for_log(run_id, "no space left on the disk")
        production.wait_until_idle()
        written = list(folder.glob("*.parquet"))
        assert len(written) < 4 and all(read_history(path).completed for path in written)
        assert list(folder.glob(".*.tmp")) == []
        (folder / "filler").unlink()
        again = production.start("pipeline/on-demand", changes={"updates": 80})
        completed(production, again)
        assert len(read_histories(folder)) == 4
    finally:
        # lazily: a process that still has a file open must not cost the later tests their folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == before


def cli(production: Production, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "components.cli", *command],
        cwd=production.root,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def champion(production: Production) -> dict[str, Any]:
    """The version that `models:/lode-<task>@champion` means, asked of the MLflow server."""
    api = f"{production.facts['mlflow']}/api/2.0/mlflow"
    asked = f"{api}/registered-models/alias?name=lode-{TASK}&alias=champion"
    return dict(ask(asked)["model_version"])


def tags(version: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in version["tags"]}


def plant_misleading(production: Production, count: int) -> None:
    """Histories that begin as real ones and go back from there, as if imported from elsewhere. (In
    any order they teach too little that is wrong: by chance, or machine, the night was better.)"""
    found = read_histories(production.root / "data/histories" / TASK)
    real = [h for h in found if h.meta["updates"] == 40]
    rng = np.random.default_rng(0)
    for number in range(count):
        history = copy.deepcopy(real[number % len(real)])
        quarter = len(history.points) // 4
        spec = RunSpec(
            **{f.name: history.meta[f.name] for f in fields(RunSpec)} | {"seed": 5000 + number}
        )
        history.meta |= {"run_id": spec.run_id, "seed": spec.seed}
        history.points["run_id"] = spec.run_id
        for column in ("train_loss", "val_metric"):
            values = history.points[column].to_numpy()
            turned = np.concatenate((values[:quarter], values[quarter:][::-1]))
            history.points[column] = turned * rng.uniform(0.5, 1)
        metrics = history.points["val_metric"].to_numpy()
        best = {"best_val_metric": float(metrics.max()), "best_point": int(metrics.argmax()) + 1}
        history.meta |= best
        write_history(history, production.root / "data/imported" / TASK)


def test_nights_promote_the_better_and_refuse_the_worse(production: Production) -> None:
    completed(production, production.start("pipeline/on-demand"))
    usual, report = champion(production)["version"], production.root / f"reports/{TASK}/index.html"
    page = report.read_bytes()
    poor = {"others": {"lode.fit.updates": 1}}
    completed(production, production.start("pipeline/on-demand", changes=poor))
    assert champion(production)["version"] == usual and report.read_bytes() == page
    assert "candidate" in cli(production, "versions")
    first = str(int(usual) + 1)
    assert f"is version {first}, no longer" in cli(production, "promote", first, "--yes")
    assert champion(production)["version"] == first

    # the schedule fires by itself
    deployment = ask(f"{production.api}/deployments/name/nightly-retraining/nightly")
    # at least a minute ahead, or a slow scheduler would come too late for today's only run
    soon = datetime.now(UTC) + timedelta(seconds=120)
    cron = {"cron": f"{soon.minute} {soon.hour} * * *", "timezone": "UTC"}
    schedules = f"{production.api}/deployments/{deployment['id']}/schedules"
    [made] = ask(schedules, [{"schedule": cron, "active": True, "slug": "soon"}])  # type: ignore[arg-type]

    def fired() -> list[dict[str, Any]]:
        runs = production.runs(deployment_id={"any_": [deployment["id"]]})
        return [r for r in runs if r["auto_scheduled"] and r["start_time"]]

    [night] = until(fired, 300, "the nightly schedule")
    completed(production, night["id"])
    ask(f"{schedules}/{made['id']}", method="DELETE")
    better = champion(production)
    assert int(better["version"]) > int(first)
    said = tags(better)
    assert said["decision"] == "promoted" and len(said["data_revision"]) == 40
    assert said["data_revision"][:12] in cli(production, "histories")
    artifacts = ask(f"{production.api}/artifacts/filter", {})
    assert f"night-{TASK}" in {artifact["key"] for artifact in artifacts}
    events = {"filter": {"event": {"name": ["lode.challenger.promoted"]}}}
    assert until(lambda: ask(f"{production.api}/events/filter", events)["events"], 30, "an event")

    again = production.start("nightly-retraining/nightly")
    run = completed(production, again)
    assert run["total_run_time"] < 30
    production.wait_for_log(again, "nothing new")
    assert champion(production)["version"] == better["version"]

    plant_misleading(production, 80)
    worse = production.start("nightly-retraining/nightly")
    completed(production, worse)
    assert champion(production)["version"] == better["version"], production.log(worse)
    versions = cli(production, "versions")
    assert "refused" in versions and "challenger" in versions

    assert f"champion is version {first} again" in cli(
        production, "rollback", "--yes", "--why", "a test"
    )
    assert champion(production)["version"] == first


def listening(pids: set[int]) -> set[str]:
    """Local addresses (hexadecimal) on which these processes listen."""
    opened = [fd for pid in pids for fd in Path(f"/proc/{pid}/fd").glob("*") if fd.is_symlink()]
    sockets = {str(fd.readlink()).removeprefix("socket:[").removesuffix("]") for fd in opened}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].partition(":")[0])
    return found


def test_servers_listen_on_loopback_only_and_mlflow_refuses_a_foreign_host(
    production: Production,
) -> None:
    sessions = set(production.facts["processes"])
    ours = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) in sessions:
            ours.add(int(entry.name))
    assert listening(ours) == {"0100007F"}
    mlflow = production.facts["mlflow"]
    url = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    foreign = urllib.request.Request(url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(foreign, timeout=10)
    assert refused.value.code == 403
    origin = urllib.request.Request(
        f"{mlflow}/api/2.0/mlflow/experiments/create",
        b'{"name": "planted"}',
        {"Content-Type": "application/json", "Origin": "http://evil.example"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(origin, timeout=10)
    assert refused.value.code == 403
