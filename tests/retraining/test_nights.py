"""Whole nights on a real, tiny sweep, with a real registry: promoted, refused, killed, resumed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.registry.connection import RegistryError, connect
from components.registry.promotion import find, rollback
from components.registry.versions import list_versions
from components.retraining.challenger import fit_challenger
from components.retraining.collection import collect
from components.retraining.comparison import compare
from components.retraining.decision import decide
from components.retraining.errors import RetrainingError
from components.retraining.record import COMPARISON, NIGHT, NightRecord, last_record, open_night
from components.retraining.retrain import retrain
from components.retraining.typed_json import plain
from components.runs.job import Job
from components.settings import Settings
from components.steps.fit import fit_models
from components.steps.step import StepResult
from components.storage.workspace import Workspace
from components.training.history import History, read_histories
from tests.registry.made import register_champion
from tests.tiny import in_this_process

from .conftest import TASK, bring, tiny, variant

pytestmark = pytest.mark.slow


def registry(settings: Settings, workspace: Workspace) -> str:
    return workspace.database(settings.registry.tracking_uri)


def versions(settings: Settings, workspace: Workspace) -> list[tuple[str, ...]]:
    found = list_versions(TASK, tracking_uri=registry(settings, workspace))
    return [version.aliases for version in found]


def record(workspace: Workspace) -> NightRecord:
    found = last_record(workspace, TASK)
    assert found is not None
    return found


def lines(workspace: Workspace) -> list[dict[str, Any]]:
    path = workspace.reports(TASK) / "nightly.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def spoil_champion(settings: Settings, workspace: Workspace) -> None:
    """A LODE fitted on nonsense becomes the champion, as version 2."""
    folder = workspace.root / "spoiled"
    shuffled_fit(settings, workspace, folder)
    register_champion(
        folder,
        task=TASK,
        tags={},
        tracking_uri=registry(settings, workspace),
        artifact_root=workspace.artifacts,
        controller=settings.lode.controller,
        settings=settings.lode.scheduler,
    )


def shuffled_fit(settings: Settings, workspace: Workspace, folder: Path) -> None:
    rng = np.random.default_rng(0)
    sweep = read_histories(workspace.histories(TASK))
    for history in sweep:
        for name in ("train_loss", "val_metric", "lr"):
            history.points[name] = rng.permutation(history.points[name].to_numpy())
    fit_models(settings, sweep, [], [], folder=folder, checkpoint=folder)


def new_runs(workspace: Workspace, count: int = 6) -> list[History]:
    sweep = sorted(read_histories(workspace.histories(TASK)), key=lambda h: h.run_id)
    return [variant(history, number) for number, history in enumerate(sweep[:count], 1)]


def test_a_better_challenger_is_promoted_and_the_next_night_has_nothing_to_do(
    workspace: Workspace,
) -> None:
    settings = tiny()
    spoil_champion(settings, workspace)
    bring(new_runs(workspace), workspace)
    result = retrain(settings, workspace, in_this_process)
    found = record(workspace)
    assert result.ran and found.decision == "promoted", found.reasons
    assert result.summary == found.summary
    assert found.summary.startswith(f"lode-{TASK} version 3 promoted: all floors held")
    assert versions(settings, workspace) == [(), (), ("challenger", "champion")]
    new = find(TASK, "champion", tracking_uri=registry(settings, workspace))
    assert new is not None and new.tags["previous_champion"] == "2"
    for key in ("histories_digest", "seen", "night", "decision"):
        assert new.tags[key] == getattr(found, key)
    assert new.tags["metric"].startswith("accuracy") and "pilots" in new.tags["learned_from"]
    assert json.loads(new.tags["seeds"]) == found.seeds and new.tags["histories"] == "24"
    assert json.loads(new.tags["figures"]) == plain(found.figures)
    assert found.figures.champion is not None
    difference = found.figures.champion.error_difference.mean
    assert difference is not None and difference < 0
    runs = read_histories(workspace.nightly(TASK))
    assert len(runs) == 4 and {run.meta["seed"] for run in runs} == set(found.seeds)
    assert not set(found.seeds) & {*settings.sweep.seeds, *settings.evaluation.seeds}
    assert lines(workspace) == [plain(found)] and open_night(workspace, TASK) is None

    began = time.perf_counter()
    again = retrain(settings, workspace)
    assert not again.ran and again.summary.startswith("nothing new in 28 runs")
    assert time.perf_counter() - began < 5
    shutil.rmtree(workspace.reports(TASK) / "data_docs")
    workspace.nightly_report(TASK).unlink()  # as after `make clean`: the registry knows
    assert not collect(settings, workspace).ran
    assert collect(tiny(retraining__max_error=1e-6), workspace).summary.startswith("28 runs (")
    uri = registry(settings, workspace)
    assert rollback(TASK, tracking_uri=uri, who="ann", why="test") == (3, 2)


def test_one_fitted_on_shuffled_histories_is_refused(workspace: Workspace) -> None:
    settings = tiny()
    assert collect(settings, workspace).ran
    night = open_night(workspace, TASK)
    assert night is not None and night.counts.by_source == {"sweep": 18}
    assert fit_challenger(settings, workspace).ran
    assert not fit_challenger(settings, workspace).ran
    shuffled_fit(settings, workspace, workspace.challenger(TASK))
    assert compare(settings, workspace, in_this_process).trained == 4
    assert not compare(settings, workspace).ran
    result, found = decide(settings, workspace), record(workspace)
    assert found.decision == "refused" and " refused: " in result.summary
    assert any(reason.startswith("reconstruction") for reason in found.reasons)
    assert versions(settings, workspace) == [("champion",), ("challenger",)]
    last = find(TASK, "challenger", tracking_uri=registry(settings, workspace))
    assert last is not None and last.tags["decision"] == "refused"
    assert last.tags["reasons"] == "; ".join(found.reasons)


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
    retrain(tiny(), workspace, in_this_process)
    found = record(workspace)
    assert found.histories.by_source == {"sweep": 18, "imported": 54}
    assert found.histories.held_out == 6, "the sweep's last seed, and none of these"
    assert found.decision == "refused", found.figures
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
    retrain(settings, whole, in_this_process)

    def three_runs(jobs: list[Job], **options: Any) -> list[History]:
        in_this_process(jobs[:3])
        raise KilledError

    with pytest.raises(KilledError):
        retrain(settings, workspace, run_all=three_runs)
    began = open_night(workspace, TASK)
    bring(new_runs(workspace, 7)[6:], workspace)  # comes after the night began: the next one's
    weights = (workspace.challenger(TASK) / "lode.safetensors").stat().st_mtime_ns

    for place in ("registry.challenger.make_champion", "retraining.decision.write_record"):
        with monkeypatch.context() as patch:

            def die(*_: Any, **__: Any) -> None:
                raise KilledError

            patch.setattr(f"components.{place}", die)
            with pytest.raises(KilledError):
                retrain(settings, workspace, in_this_process)
    assert open_night(workspace, TASK) == began
    assert collect(settings, workspace).summary.startswith("going on with a night")
    result = retrain(settings, workspace)
    assert (workspace.challenger(TASK) / "lode.safetensors").stat().st_mtime_ns == weights
    expected, got = (replace(record(one), started="", ended="") for one in (whole, workspace))
    assert got == expected and got.decision == "promoted"
    assert versions(settings, workspace) == [(), (), ("challenger", "champion")]
    assert len(lines(workspace)) == 1 and result.ran
    assert ", 7 imported)" in collect(settings, workspace).summary


def test_without_a_champion_the_floors_decide_and_an_unreachable_registry_loses_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    gone = tiny(registry__tracking_uri="http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="make serve"):
        collect(gone, workspace)  # no record here: it would have to ask the registry
    settings = tiny(registry__tracking_uri=f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}")
    (tmp_path / "new").mkdir()
    shutil.copyfile(workspace.root / "mlflow.db", tmp_path / "new" / "mlflow.db")
    with connect(settings.registry.tracking_uri) as client:
        client.delete_registered_model(f"lode-{TASK}")
    collect(settings, workspace)
    fit_challenger(settings, workspace)
    for part in (compare, retrain):
        with pytest.raises(RegistryError, match="make serve"):
            part(gone, workspace)
    retrain(settings, workspace, in_this_process)
    found = record(workspace)
    assert found.champion is None and found.decision == "promoted"
    assert found.reasons[0].startswith("no champion yet")
    assert versions(settings, workspace) == [("challenger", "champion")]


def test_parts_out_of_order_say_what_comes_first(workspace: Workspace) -> None:
    parts: tuple[Callable[[Settings, Workspace], StepResult], ...]
    parts = (fit_challenger, compare, decide)
    for part in parts:
        with pytest.raises(RetrainingError, match=r"no night was begun.*lode retrain"):
            part(tiny(), workspace)
    collect(tiny(), workspace)
    nothing = r"nothing was compared .*lode retrain"
    with pytest.raises(RetrainingError, match=nothing):
        decide(tiny(), workspace)
    (workspace.night(TASK) / COMPARISON).write_text('{"night": "of an earlier version"}')
    with pytest.raises(RetrainingError, match=nothing):
        decide(tiny(), workspace)
    (workspace.night(TASK) / NIGHT).write_text("damaged")
    for part in parts:
        with pytest.raises(RetrainingError, match=r"no night was begun.*lode retrain"):
            part(tiny(), workspace)
