"""Whole nights on a real, tiny sweep, with a real registry: promoted, refused, killed, resumed."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import retraining
from components.registry import RegistryError, find, list_versions, register, rollback
from components.retraining.record import open_night
from components.runs import pool
from components.runs.job import Job
from components.settings import Settings
from components.steps.all_steps import StepResult
from components.steps.all_steps import all_steps as steps
from components.storage.workspace import Workspace
from components.training.history import History, read_histories

from .conftest import TASK, bring, tiny, variant

pytestmark = pytest.mark.slow


def versions(settings: Settings, workspace: Workspace) -> list[tuple[str, ...]]:
    uri = steps.tracking_uri(settings, workspace)
    return [found.aliases for found in list_versions(TASK, tracking_uri=uri)]


def record(workspace: Workspace) -> dict[str, Any]:
    return dict(json.loads(workspace.nightly_report(TASK).read_text()))


def lines(workspace: Workspace) -> list[dict[str, Any]]:
    path = workspace.reports(TASK) / "nightly.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def spoil_champion(settings: Settings, workspace: Workspace) -> None:
    """A LODE fitted on nonsense becomes the champion, as version 2."""
    folder = workspace.root / "spoiled"
    shuffled_fit(settings, workspace, folder)
    register(
        folder,
        task=TASK,
        tags={},
        tracking_uri=steps.tracking_uri(settings, workspace),
        artifact_root=workspace.artifacts,
        **steps.controller_settings(settings),
    )


def shuffled_fit(settings: Settings, workspace: Workspace, folder: Path) -> None:
    rng = np.random.default_rng(0)
    sweep = read_histories(workspace.histories(TASK))
    for history in sweep:
        for name in ("train_loss", "val_metric", "lr"):
            history.points[name] = rng.permutation(history.points[name].to_numpy())
    steps.fit_models(settings, sweep, [], [], folder=folder, checkpoint=folder)


def new_runs(workspace: Workspace, count: int = 6) -> list[History]:
    sweep = sorted(read_histories(workspace.histories(TASK)), key=lambda h: h.run_id)
    return [variant(history, number) for number, history in enumerate(sweep[:count], 1)]


def test_a_better_challenger_is_promoted_and_the_next_night_has_nothing_to_do(
    workspace: Workspace,
) -> None:
    settings = tiny()
    spoil_champion(settings, workspace)
    bring(new_runs(workspace), workspace)
    result = retraining.retrain(settings, workspace)
    found = record(workspace)
    assert result.ran and found["decision"] == "promoted", found["reasons"]
    assert versions(settings, workspace) == [(), (), ("challenger", "champion")]
    new = find(TASK, "champion", tracking_uri=steps.tracking_uri(settings, workspace))
    assert new is not None and new.tags["previous_champion"] == "2"
    for key in ("histories_digest", "seen", "night", "decision"):
        assert new.tags[key] == found[key]
    assert json.loads(new.tags["seeds"]) == found["seeds"] and new.tags["histories"] == "24"
    assert json.loads(new.tags["figures"]) == found["figures"]
    assert found["figures"]["champion"]["error_difference"]["mean"] < 0
    runs = read_histories(workspace.nightly(TASK))
    assert len(runs) == 4 and {run.meta["seed"] for run in runs} == set(found["seeds"])
    assert not set(found["seeds"]) & {*settings.sweep.seeds, *settings.evaluation.seeds}
    assert lines(workspace) == [found] and open_night(workspace, TASK) is None

    began = time.perf_counter()
    again = retraining.retrain(settings, workspace)
    assert not again.ran and again.summary.startswith("nothing new in 28 runs")
    assert time.perf_counter() - began < 5
    shutil.rmtree(workspace.reports(TASK) / "data_docs")
    workspace.nightly_report(TASK).unlink()  # as after `make clean`: the registry knows
    assert not retraining.collect(settings, workspace).ran
    changed = tiny(retraining__max_error=1e-6)
    assert retraining.collect(changed, workspace).facts["runs"] == 28
    uri = steps.tracking_uri(settings, workspace)
    assert rollback(TASK, tracking_uri=uri, who="ann", why="test") == (3, 2)


def test_one_fitted_on_shuffled_histories_is_refused(workspace: Workspace) -> None:
    settings = tiny()
    first = retraining.collect(settings, workspace)
    assert first.ran and first.facts["by_source"] == {"sweep": 18}
    retraining.fit_challenger(settings, workspace)
    shuffled_fit(settings, workspace, workspace.challenger(TASK))
    retraining.compare(settings, workspace)
    result = retraining.decide(settings, workspace)
    assert result.facts["decision"] == "refused"
    assert any(reason.startswith("reconstruction") for reason in result.facts["reasons"])
    assert versions(settings, workspace) == [("champion",), ("challenger",)]
    last = find(TASK, "challenger", tracking_uri=steps.tracking_uri(settings, workspace))
    assert last is not None and last.tags["decision"] == "refused"
    assert last.tags["reasons"] == "; ".join(result.facts["reasons"])


def test_many_shuffled_imports_do_not_decide_what_they_are_judged_by(workspace: Workspace) -> None:
    """More of them than of our own runs: a champion errs on them, a challenger not."""
    runs = new_runs(workspace, 18) * 3
    shuffled = [variant(run, number) for number, run in enumerate(runs, 100)]
    shuffled[0].meta["seed"] = 2  # the sweep's held-out one
    rng = np.random.default_rng(0)
    for history in shuffled:
        for name in ("train_loss", "val_metric", "lr"):
            history.points[name] = rng.permutation(history.points[name].to_numpy())
    bring(shuffled, workspace)
    result = retraining.retrain(tiny(), workspace)
    assert result.facts["histories"]["by_source"] == {"sweep": 18, "imported": 54}
    assert result.facts["histories"]["held_out"] == 6, "the sweep's last seed, and none of these"
    assert result.facts["decision"] == "refused", result.facts["figures"]
    assert versions(tiny(), workspace) == [("champion",), ("challenger",)]


class KilledError(Exception):
    pass


def test_killed_again_and_again_it_ends_with_the_same_decision(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny()
    spoil_champion(settings, workspace)
    bring(new_runs(workspace), workspace)
    whole = Workspace(tmp_path / "whole")
    shutil.copytree(workspace.root, whole.root)
    retraining.retrain(settings, whole)

    def two_runs(jobs: list[Job], **options: Any) -> list[History]:
        pool.run_all(jobs[:3], workers=1)
        raise KilledError

    with pytest.raises(KilledError):
        retraining.retrain(settings, workspace, run_all=two_runs)
    began = open_night(workspace, TASK)
    bring(new_runs(workspace, 7)[6:], workspace)  # comes after the night began: the next one's
    weights = (workspace.challenger(TASK) / "lode.safetensors").stat().st_mtime_ns

    for place in ("registry.promotion.make_champion", "retraining.decision.write_record"):
        with monkeypatch.context() as patch:

            def die(*_: Any, **__: Any) -> None:
                raise KilledError

            patch.setattr(f"components.{place}", die)
            with pytest.raises(KilledError):
                retraining.retrain(settings, workspace)
    assert open_night(workspace, TASK) == began
    assert retraining.collect(settings, workspace).summary.startswith("going on with a night")
    result = retraining.retrain(settings, workspace)
    assert (workspace.challenger(TASK) / "lode.safetensors").stat().st_mtime_ns == weights
    expected, got = record(whole), record(workspace)
    changing = {"started": "", "ended": ""}
    assert got | changing == expected | changing and got["decision"] == "promoted"
    assert versions(settings, workspace) == [(), (), ("challenger", "champion")]
    assert len(lines(workspace)) == 1 and result.ran
    assert retraining.collect(settings, workspace).facts["by_source"]["imported"] == 7


def test_without_a_champion_the_floors_decide_and_an_unreachable_registry_loses_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    gone = tiny(registry__tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="make serve"):
        retraining.collect(gone, workspace)  # no record here: it would have to ask the registry
    settings = tiny(registry__tracking_uri=f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}")
    (tmp_path / "new").mkdir()
    shutil.copyfile(workspace.root / "mlflow.db", tmp_path / "new" / "mlflow.db")
    from components.registry.connection import connect

    with connect(settings.registry.tracking_uri) as client:
        client.delete_registered_model(f"lode-{TASK}")
    retraining.collect(settings, workspace)
    retraining.fit_challenger(settings, workspace)
    for part in (retraining.compare, retraining.retrain):
        with pytest.raises(RegistryError, match="make serve"):
            part(gone, workspace)
    result: StepResult = retraining.retrain(settings, workspace)
    assert result.facts["champion"] is None and result.facts["decision"] == "promoted"
    assert result.facts["reasons"][0].startswith("no champion yet")
    assert versions(settings, workspace) == [("challenger", "champion")]


def test_parts_out_of_order_say_what_comes_first(workspace: Workspace) -> None:
    for part in (retraining.fit_challenger, retraining.compare, retraining.decide):
        with pytest.raises(retraining.RetrainingError, match=r"no night was begun.*lode retrain"):
            part(tiny(), workspace)
    retraining.collect(tiny(), workspace)
    with pytest.raises(retraining.RetrainingError, match=r"nothing was compared .*lode retrain"):
        retraining.decide(tiny(), workspace)
