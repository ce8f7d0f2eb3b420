"""The same steps as DVC stages: nothing is made twice, and a changed setting repeats its part."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.registry.versions import Version, list_versions
from components.settings import load
from components.steps.pipeline import PIPELINE
from components.storage.workspace import Workspace
from tests.tiny import TASK, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STAGES = [step.name for step in PIPELINE]


def ran(repro: subprocess.CompletedProcess[str]) -> list[str]:
    assert repro.returncode == 0, repro.stderr
    return re.findall(r"Running stage '(\w+)'", repro.stdout)


@pytest.fixture(scope="module")
def finished_clone(make_clone: Any, finished: Path) -> Callable[[Path], Any]:
    """Makes clones whose pipeline has been finished without DVC, which then was told of it."""

    def into(folder: Path) -> Any:
        clone = make_clone(folder)
        shutil.copytree(finished, clone.root, dirs_exist_ok=True)
        assert clone.call("components.cli", "register").returncode == 0  # of a copy: anew
        done = clone.call("dvc", "commit", "--force", "--quiet")
        assert done.returncode == 0, done.stderr
        return clone

    return into


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, finished_clone: Any) -> Any:
    return finished_clone(tmp_path_factory.mktemp("dvc") / "clone")


@pytest.mark.acceptance
def test_every_stage_runs_once_and_a_second_time_none(tmp_path: Path, make_clone: Any) -> None:
    clone = make_clone(tmp_path / "clone")
    write_params(clone.root)
    assert ran(clone.call("dvc", "repro")) == STAGES
    before = clone.outputs()
    assert ran(clone.call("dvc", "repro")) == []
    assert clone.outputs() == before


def test_metrics_and_plots_show_the_evaluation(made: Any) -> None:
    reports = f"reports/{TASK}"
    shown = made.call("dvc", "metrics", "show", "--json")
    assert shown.returncode == 0 and not shown.stderr, "no warning of metrics not loaded"
    [files] = [one["data"] for one in json.loads(shown.stdout).values()]
    assert list(files) == [f"{reports}/metrics.json"]
    numbers = files[f"{reports}/metrics.json"]["data"]
    assert "gain" in numbers and len(numbers) <= 10
    assert all(isinstance(number, int | float) for number in numbers.values())
    plots = made.call("dvc", "plots", "show", "--json").stdout
    assert f"{reports}/figures/04-learning-rates.svg" in plots


def test_what_changes_no_code_repeats_nothing(made: Any) -> None:
    """Python's caches lie in the rooms that the stages depend on."""
    cache = made.root / "components/lode/__pycache__/other.pyc"
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(b"x")
    assert ran(made.call("dvc", "repro")) == []


def test_a_changed_setting_repeats_what_depends_on_it_and_keeps_finished_runs(
    made: Any, tmp_path: Path
) -> None:
    before = made.outputs()
    write_params(made.root, evaluation__seeds=[100, 101, 102])
    assert ran(made.call("dvc", "repro")) == ["pilot", "train", "evaluate"]
    after = made.outputs()
    runs = [name for name in after if name.startswith(f"data/scheduled/{TASK}/")]
    assert len(runs) == 3 * len([name for name in runs if name in before]) // 2
    assert all(after[name] == before[name] for name in runs if name in before)


def test_changed_code_starts_its_stages_and_a_comment_makes_nothing_anew(made: Any) -> None:
    """DVC goes by rooms and bytes; the step, which knows what its code means, finds it all done."""
    path = made.root / "components/registry/aliases.py"
    path.write_text(path.read_text() + "# a comment\n")
    before = (made.root / f"reports/{TASK}/registration.json").read_bytes()
    done = made.call("dvc", "repro")
    assert ran(done) == ["register", "evaluate"]
    assert done.stdout.count("(up to date)") == 2
    assert "version 2, the champion (up to date)" in done.stdout
    assert (made.root / f"reports/{TASK}/registration.json").read_bytes() == before


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory, finished_clone: Any) -> Any:
    """A clone with a finished pipeline, of which Git knows dvc.lock."""
    clone = finished_clone(tmp_path_factory.mktemp("committed") / "clone")
    git = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for command in (["add", "."], ["commit", "--quiet", "--message", "finished"]):
        subprocess.run([*git, *command], cwd=clone.root, check=True)
    return clone


def lode_versions(root: Path) -> list[Version]:
    uri = Workspace(root).database(load(root / "params.yaml").registry.tracking_uri)
    return list_versions(TASK, tracking_uri=uri)


@pytest.mark.acceptance
@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_an_experiment_is_a_trial_in_the_folder_it_was_copied_from(
    committed: Any, how: str
) -> None:
    """Its LODE is a candidate in this folder's registry; champion and reports stay as they are."""
    name, fit = f"more{how}", load(committed.root / "params.yaml").lode.fit
    before, known = committed.outputs(), lode_versions(committed.root)
    changed = f"lode.fit.updates={fit.updates + len(known)}"
    done = committed.call("dvc", "exp", "run", how, "--name", name, "--set-param", changed)
    if how == "--queue":
        assert done.returncode == 0, done.stderr
        done = committed.call("dvc", "exp", "run", "--run-all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is empty" not in done.stdout + done.stderr
    *others, new = lode_versions(committed.root)
    champions = [one.version for one in known if "champion" in one.aliases]
    assert [one.version for one in others] == [one.version for one in known]
    assert [one.version for one in others if "champion" in one.aliases] == champions != []
    assert (new.tags["decision"], new.tags["trial"]) == ("candidate", name)
    assert committed.outputs() == before
    [_, *experiments] = json.loads(committed.call("dvc", "exp", "show", "--json").stdout)
    tried = [one for of in experiments for one in of["experiments"] or [] if one["name"] == name]
    [metrics] = [one["revs"][0]["data"]["metrics"].values() for one in tried]
    assert all("gain" in one["data"] for one in metrics), (
        "experiments are compared by their metrics"
    )
