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
from tests.runs.scripts import write_script

from .production import (
    PATIENCE,
    ROOT,
    Production,
    ask,
    clean_environment,
    kill_session,
    serve,
    until,
)

TASK = "mnist1d-cnn"
SCREENSHOTS = Path(os.environ.get("LODE_SCREENSHOTS", "build/screenshots"))
SETTINGS = """
task: mnist1d-cnn
training: {updates: 40, points: 20, train_samples: 400, device: cpu}
sweep: {schedulers: [constant, onecycle], peak_lrs: [0.01], seeds: [0, 1]}
pilots: {runs: 0}
lode: {fit: {updates: 300}, judge: {updates: 20}, scheduler: {mu: 0.3, n: 3}}
retraining: {seeds: 2, max_error: 5.0, tolerance: 1.0}
evaluation: {seeds: [100, 101], sharpness: none}
execution: {mode: workers, runs_per_shard: 3}
tasks:
  mine: {command: "python3 train.py", folder: a script, metric: {name: accuracy, goal: maximize}}
"""
SCRIPT = "a script"
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
    write_script(folder / SCRIPT, "time.sleep(4)")
    served = serve(folder, SETTINGS)
    yield served
    served.process.send_signal(signal.SIGTERM)
    printed, _ = served.process.communicate(timeout=120)
    assert served.process.returncode == 0, printed
    shutil.rmtree(folder)


def swept(production: Production, updates: int, task: str = TASK) -> list[History]:
    """The histories of the sweep of a trial with so many updates."""
    found = production.root.glob(f"trials/*/data/histories/{task}/*.parquet")
    histories = [read_history(path) for path in sorted(found)]
    return [one for one in histories if one.meta["updates"] == updates]


def completed(production: Production, run_id: str, seconds: float = PATIENCE) -> dict[str, Any]:
    run = production.end_of(run_id, seconds)
    assert run["state_type"] == "COMPLETED", production.log(run_id) + str(run["state"])
    return run


@pytest.fixture(scope="module")
def page(needs_system: Any) -> Iterator[Any]:
    """A page of a real browser."""
    from playwright.sync_api import sync_playwright

    browser_path = needs_system("chromium", "chromium")
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
        yield page
        browser.close()


def seen(page: Any, name: str, *texts: str) -> None:
    """The page says all of this, and is kept as a screenshot."""
    for text in texts:
        page.get_by_text(text).first.wait_for()
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def open_form(production: Production, page: Any, deployment: str) -> None:
    found = ask(f"{production.api}/deployments/name/{deployment}")
    page.goto(f"{production.prefect}/deployments/deployment/{found['id']}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_text("Validate parameters").wait_for()


def field(page: Any, description: str) -> Any:
    """The input under a description."""
    return page.locator(".p-label").filter(has=page.get_by_text(description)).last.locator("input")


def submit(production: Production, page: Any) -> dict[str, Any]:
    """Press the form's button; the flow run that comes of it."""
    before = {run["id"] for run in production.runs()}
    page.get_by_role("button", name="Submit").click()

    def new() -> list[dict[str, Any]]:
        runs = production.runs(deployment_id={"is_null_": False})
        return [r for r in runs if r["id"] not in before and not r["auto_scheduled"]]

    return dict(until(new, 60, "a flow run")[0])


def test_a_flow_started_on_the_page_runs_on_workers(production: Production, page: Any) -> None:
    open_form(production, page, "pipeline/on-demand")
    seen(page, "form", "Where runs are trained", "From 10 to 100,000,000. In params.yaml: 40.")
    seen(page, "form", "Peak learning rates", "0, or 20 and more", "In params.yaml: 0, 1.")
    seen(page, "form", "Make it the champion, if it passes the gate")
    field(page, "N, optimizer updates of one run.").fill("48")
    page.locator(".flow-run-name-input input").fill("my first try")
    run = submit(production, page)
    assert run["parameters"]["changes"]["updates"] == 48
    assert completed(production, run["id"])["name"] == "my first try"
    page.goto(f"{production.prefect}/runs/flow-run/{run['id']}")
    page.get_by_text("Completed").first.wait_for()
    page.wait_for_timeout(3000)  # the graph is drawn
    seen(page, "flow-run", "my first try", f"sweep {TASK}")
    page.get_by_text("Artifacts").first.click()
    seen(page, "artifacts", f"result-{TASK}", f"figures-{TASK}", f"validation-{TASK}")
    histories = swept(production, 48)
    assert len(histories) == 4 and {h.meta["updates"] for h in histories} == {48}
    pools = {r["work_pool_name"] for r in production.runs()}
    assert pools == {"cpu", "gpu"}, "the trainings should have been the gpu workers'"
    assert list(production.root.glob(f"trials/updates-48-*/reports/{TASK}/index.html"))
    assert not (production.root / f"reports/{TASK}").exists(), "a trial's report is no one else's"


def artifact(production: Production, key: str) -> dict[str, Any]:
    """The latest of its name."""
    asked = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC"}
    found = ask(f"{production.api}/artifacts/filter", asked)
    assert found, f"no artifact {key}"
    return dict(found[0])


def test_the_result_is_read_on_the_page_and_links_to_the_report(
    production: Production, page: Any
) -> None:
    result = artifact(production, f"result-{TASK}")
    page.goto(f"{production.prefect}/artifacts/artifact/{result['id']}")
    seen(page, "result", "Test accuracy (%)", "OneCycle", "How sure", "LODE minus")
    link = page.get_by_text("The report, on MLflow's page").get_attribute("href")
    assert link.startswith(production.facts["mlflow"])
    figures = artifact(production, f"figures-{TASK}")
    page.goto(f"{production.prefect}/artifacts/artifact/{figures['id']}")
    seen(page, "figures", "Learning rate over training", "Training loss")
    page.goto(link)
    report = page.frame_locator("iframe")
    report.get_by_text("Which learning-rate schedule?").wait_for()
    assert TASK in report.locator("h1").inner_text()
    seen(page, "mlflow-report", "evaluation/index.html")


def test_mlflows_pages(production: Production, page: Any) -> None:
    mlflow = production.facts["mlflow"]
    asked = {"filter": f"name = 'sweep-{TASK}'", "max_results": 1}
    [sweep] = ask(f"{mlflow}/api/2.0/mlflow/experiments/search", asked)["experiments"]
    number = sweep["experiment_id"]
    page.goto(f"{mlflow}/#/experiments/{number}?workflowType=machine_learning")
    seen(page, "mlflow-experiment", f"sweep-{TASK}", "onecycle 0.01 seed 0")
    page.get_by_text("onecycle 0.01 seed 0").first.click()
    seen(page, "mlflow-run", "onecycle 0.01 seed 0", "val_metric")
    page.goto(f"{mlflow}/#/models/lode-{TASK}/versions/1")
    seen(page, "mlflow-version", "Version 1", "Sets the learning rate of", "4 sweep runs")


def test_the_form_of_impossible_values_and_the_run_that_ends_with_them(
    production: Production, page: Any
) -> None:
    open_form(production, page, "pipeline/on-demand")
    updates = field(page, "N, optimizer updates of one run.")
    updates.fill("5")
    page.get_by_role("button", name="Submit").click()
    seen(page, "form-refused", "5 is less than the minimum of 10")
    updates.fill("30")
    field(page, "T, log points of one run").fill("31")
    run = production.end_of(submit(production, page)["id"])
    said = "points (31) must not exceed updates (30): there is at most one log point per update"
    assert run["state_type"] == "FAILED" and run["name"] == f"{TASK} · updates 30, log points 31"
    assert run["state"]["message"].endswith(f"training: {said}")
    production.wait_for_log(run["id"], said)
    assert "Traceback" not in production.log(run["id"])
    page.goto(f"{production.prefect}/runs/flow-run/{run['id']}")
    seen(page, "flow-run-failed", "Failed", "must not exceed updates (30)")


def test_no_two_deployments_share_a_name_and_the_schedule_says_its_time_zone(
    production: Production, page: Any
) -> None:
    page.goto(f"{production.prefect}/deployments")
    seen(page, "deployments", "on-demand", "nightly", "sweep-on-gpu", "scheduled-on-gpu")
    names = [one["name"] for one in ask(f"{production.api}/deployments/filter", {})]
    assert len(set(names)) == len(names) == 4
    nightly = ask(f"{production.api}/deployments/name/nightly-retraining/nightly")
    page.goto(f"{production.prefect}/deployments/deployment/{nightly['id']}")
    seen(page, "nightly", "02:00 Europe/Berlin")


def test_deploying_anew_brings_the_form_up_to_date_and_takes_away_what_is_no_more(
    production: Production,
) -> None:
    old = ask(f"{production.api}/deployments/name/pipeline/on-demand")
    former = {"name": "gpu", "flow_id": old["flow_id"], "tags": ["lode"]}
    ask(f"{production.api}/deployments/", former)
    params = production.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("updates: 40", "updates: 44"))
    try:
        subprocess.run(
            [sys.executable, "-m", "flows.deploy", "--prefect-file", str(ROOT / "prefect.yaml")],
            cwd=production.root,
            env={**clean_environment(), "PREFECT_API_URL": production.api},
            check=True,
            timeout=200,
        )
    finally:
        params.write_text(before)
    found = ask(f"{production.api}/deployments/name/pipeline/on-demand")
    fields = found["parameter_openapi_schema"]["definitions"]["Changes"]["properties"]
    assert "In params.yaml: 44." in fields["updates"]["description"]
    assert "gpu" not in {one["name"] for one in ask(f"{production.api}/deployments/filter", {})}


def task_runs(production: Production, name: str) -> list[dict[str, Any]]:
    asked = {"task_runs": {"name": {"any_": [name]}}, "limit": 200}
    return list(ask(f"{production.api}/task_runs/filter", asked))


@pytest.mark.parametrize("task", [TASK, "mine"])
def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(
    task: str, production: Production
) -> None:
    """Of the catalog, or a script of one's own."""
    second = production.worker("gpu", f"second-{task}")
    others = {
        "training.train_samples": None,
        "training.updates": 2_000,  # seconds a run: a shard's two outlast the look at the log below
        "training.points": 20,
        "sweep.peak_lrs": [0.02],
        "sweep.schedulers": ["cosine", "onecycle"],
        "sweep.seeds": [0, 1, 2, 3],
        "execution.runs_per_shard": 2,
    }
    run_id = production.start("pipeline/on-demand", task=task, changes={"others": others})

    def at_work() -> list[dict[str, Any]]:
        """Shards of ours that the second worker trains."""
        events = ask(f"{production.api}/work_pools/gpu/workers/filter", {})
        assert events
        log = (production.root / f"second-{task}.log").read_text()
        return [
            run
            for run in production.runs(state={"type": {"any_": ["RUNNING"]}})
            if run["work_pool_name"] == "gpu" and run["name"] in log and ": 0 of 20" in log
        ]

    killed = until(at_work, PATIENCE, "a training on the second worker")
    kill_session(second.pid)
    second.wait()
    assert len(killed) == 1
    completed(production, run_id, 2 * PATIENCE)  # four shards, one worker, a crash to be noticed
    sweep = swept(production, 2_000, task)
    assert sorted((*h.configuration, h.meta["seed"]) for h in sweep) == sorted(
        (scheduler, 0.02, seed) for scheduler in ("cosine", "onecycle") for seed in range(4)
    )
    assert all(h.completed for h in sweep)
    assert production.run(killed[0]["id"])["state_type"] == "CRASHED"
    for history in sweep:
        done = [
            run
            for run in task_runs(production, f"{task} {history.describe()}")
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


def test_the_form_can_make_what_it_learns_the_champion(production: Production, page: Any) -> None:
    open_form(production, page, "pipeline/on-demand")
    field(page, "N, optimizer updates of one run.").fill("52")
    page.get_by_role("switch").click()  # "Make it the champion" is the only one
    run = submit(production, page)
    assert run["parameters"]["promote"] is True
    assert completed(production, run["id"])["name"] == f"{TASK} · updates 52"
    production.wait_for_log(run["id"], "the gate: ")
    night = artifact(production, f"night-{TASK}")
    assert night["flow_run_id"] == run["id"]
    decided = champion(production) if "promoted" in night["data"] else None
    assert decided is None or decided["version"] in night["data"]
    page.goto(f"{production.prefect}/artifacts/artifact/{night['id']}")
    seen(page, "decision", f"lode-{TASK} version")


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
