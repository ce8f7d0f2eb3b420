"""The steps on a real, tiny pipeline: what they do once, not again, and what makes them stale."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from components.evaluation.figures import figure_path
from components.evaluation.results import SCHEMA_VERSION
from components.runs.comparison import comparison
from components.runs.job import Job
from components.runs.plan import sweep_plan
from components.settings import Settings
from components.steps.pilot import pilots_of
from components.steps.pipeline import PIPELINE, STEPS, up_to_date
from components.steps.results import read_pilots
from components.steps.table import result_table
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import History, read_history
from components.validation.errors import ValidationError
from tests.tiny import TASK, in_this_process, tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(finished_copy: Path) -> Workspace:
    return Workspace(finished_copy)


@pytest.fixture
def moved(copy: Workspace) -> Workspace:
    """The copy as a workspace of its own, in which nothing is left to do: what MLflow has of it lay
    in the one that was copied."""
    with pytest.warns(UserWarning, match="moved or copied; it is registered anew"):
        STEPS["register"](tiny(), copy)
    return copy


def ran(settings: Settings, workspace: Workspace) -> list[str]:
    results = (step(settings, workspace, in_this_process) for step in PIPELINE)
    return [result.step for result in results if result.ran]


def stale(settings: Settings, workspace: Workspace) -> set[str]:
    return {step.name for step in PIPELINE if not step.is_current(settings, workspace)}


def test_a_second_time_nothing_runs(moved: Workspace) -> None:
    files = {path: path.stat().st_mtime_ns for path in moved.root.rglob("*") if path.is_file()}
    kept = {p: t for p, t in files.items() if ".lode" not in p.parts and p.suffix != ".db"}
    assert up_to_date(tiny(), moved)
    assert ran(tiny(), moved) == []
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_the_table_and_the_report_are_there(finished: Path) -> None:
    table = result_table(tiny(), Workspace(finished))
    for scheduler in ("Constant", "OneCycle", "Linear", "PBT", "Finer search", "LODE"):
        assert scheduler in table
    assert Workspace(finished).page(TASK).exists()
    assert str(Workspace(finished).page(TASK)) in table


def test_of_a_copied_workspace_only_the_registration_is_made_again(moved: Workspace) -> None:
    found = json.loads(moved.registration(TASK).read_text())
    place = Path(found["location"])
    assert found["version"] == 2 and place.is_relative_to(moved.artifacts)
    shutil.rmtree(place)
    assert stale(tiny(), moved) == {"register"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lode__scheduler__sigma": 0.3}, {"register", "train", "evaluate"}),
        ({"lode__fit__updates": 21}, {"pilot", "fit", "register"}),
        ({"evaluation__seeds": [100, 102]}, {"pilot", "train", "evaluate"}),
        ({"evaluation__sharpness": "none"}, {"train", "evaluate"}),
        ({"evaluation__sharpness_every": 10}, {"train", "evaluate"}),
        ({"validation__max_train_loss": 50.0}, {"validate"}),
        ({"pilots__runs": 0, "baselines__schedulers": []}, {"pilot", "evaluate"}),
        ({"sweep__workers": 1, "training__device": "auto", "execution__mode": "dask"}, set()),
        ({"baselines__schedulers": ["linear"]}, {"evaluate"}),
        ({"baselines__schedulers": ["warmup-stable-decay"]}, {"baselines", "train", "evaluate"}),
        ({"retraining__seeds": 3}, set()),
        ({"training__updates": 42}, set(STEPS) - {"fit"}),
    ],
)
def test_a_change_makes_stale_what_depends_on_it(
    finished: Path, changes: dict[str, Any], expected: set[str]
) -> None:
    assert stale(tiny(**changes), Workspace(finished)) == expected


def test_what_was_made_anew_makes_stale_what_comes_after_and_says_why(copy: Workspace) -> None:
    settings = tiny(lode__fit__updates=21)
    said = {step.name: step(settings, copy, in_this_process) for step in PIPELINE}
    assert {name for name, result in said.items() if result.ran} == {
        "pilot",
        "fit",
        "register",
        "train",
        "evaluate",
    }
    assert said["fit"].why.startswith("lode.fit.updates")
    assert "models/lode/digits-mlp" in said["evaluate"].why
    assert "again: lode.fit.updates" in said["fit"].timing
    assert ran(settings, copy) == []


def test_another_budget_sweeps_anew_beside_the_old_histories(copy: Workspace) -> None:
    old = {path.stem for path in copy.histories(TASK).glob("*.parquet")}
    settings = tiny(training__updates=42)
    result = STEPS["sweep"](settings, copy, in_this_process)
    assert (result.trained, result.summary) == (8, "8 runs, 0 diverged, 0 found")
    STEPS["validate"](settings, copy)
    report = json.loads(copy.validation(TASK).read_text())
    assert len(report["accepted"]) == 8 and not old & set(report["accepted"])
    assert set(report["outside_sweep"]) == old
    assert {path.stem for path in copy.histories(TASK).glob("*.parquet")} > old


def test_a_lost_or_damaged_output_is_made_again(moved: Workspace) -> None:
    weights = moved.lode(TASK) / "lode.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:100])
    assert not up_to_date(tiny(), moved)
    assert STEPS["fit"](tiny(), moved).why == "models/lode/digits-mlp/lode.safetensors has changed"
    assert weights.read_bytes() == good, "the fit is not deterministic"
    for lost in (moved.page(TASK), figure_path(moved.figures(TASK), "test")):
        lost.unlink()
        assert stale(tiny(), moved) == {"evaluate"}
        assert STEPS["evaluate"](tiny(), moved).ran and lost.exists()


def test_an_evaluation_of_another_version_is_made_again(moved: Workspace) -> None:
    path = moved.evaluation(TASK)
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 1'))
    with pytest.raises(WorkspaceError, match=r"evaluation\.json: written by another version"):
        result_table(tiny(), moved)
    assert ran(tiny(), moved) == ["evaluate"]
    assert "PBT" in result_table(tiny(), moved)


def test_the_pilots_are_counted_and_their_plan_is_what_runs_begin_with(finished: Path) -> None:
    workspace = Workspace(finished)
    found = read_pilots(workspace.pilot_summary(TASK))
    assert found.baseline is not None
    begun = found.plan if found.adopted else found.baseline.plan
    assert found.runs <= 20 and len(begun) == 21
    kept = {path.stem for path in workspace.pilots(TASK).glob("*.parquet")}
    assert kept == set(found.run_ids)
    judge = json.loads((workspace.lode(TASK) / "judge.json").read_text())
    assert judge["plan"] == found.plan
    assert judge["schedule"] == [found.baseline.scheduler, found.baseline.peak_lr]
    assert judge["histories"] == 8 + found.runs - found.diverged
    job = comparison(tiny(), workspace).jobs[-1]
    assert job.spec.scheduler == "lode"
    rates = read_history(job.path).points["lr"]
    assert rates[: 5 - 1].tolist() == pytest.approx(begun[1:5]), "up to the first decision"
    result = STEPS["pilot"](tiny(), workspace)
    assert not result.ran and f"{found.runs} runs, 0 diverged; gain " in result.summary


def test_fresh_seeds_are_neither_the_sweeps_nor_the_evaluations(finished: Path) -> None:
    asked = pilots_of(tiny(evaluation__seeds=[2, 4]), Workspace(finished))
    assert asked.budget.pairs == len(asked.fresh)
    assert asked.fresh == [3, 5, 6, 7, 8][: len(asked.fresh)] and len(asked.fresh) > 1


def test_without_pilots_it_is_said_and_the_fit_goes_on(copy: Workspace) -> None:
    paper = tiny(lode__controller="paper", baselines__schedulers=[])
    assert "no pilots" in STEPS["pilot"](paper, copy).summary
    STEPS["fit"](paper, copy)
    kept = {path.name for path in copy.lode(TASK).iterdir()}
    assert kept == {"lode.safetensors", "config.json", "plan.json"}, "the judge was of another fit"
    copy.pilot_summary(TASK).unlink()
    with pytest.raises(WorkspaceError, match="run `lode pilot` first"):
        STEPS["fit"](tiny(lode__fit__updates=3), copy)


def test_a_lost_pilot_is_run_again(copy: Workspace) -> None:
    lost = min(copy.pilots(TASK).glob("*.parquet"))
    lost.unlink()
    assert not up_to_date(tiny(), copy)
    assert STEPS["pilot"](tiny(), copy, in_this_process).ran and lost.exists()


def test_only_a_missing_run_is_trained(moved: Workspace) -> None:
    paths = sorted(moved.histories(TASK).glob("*.parquet"))
    paths[3].unlink()
    result = STEPS["sweep"](tiny(), moved)  # by a real pool
    assert result.ran and result.trained == 1
    assert ran(tiny(), moved) == [], "the same run gave another history"


def test_a_truncated_history_stops_with_its_name(copy: Workspace) -> None:
    path = sorted(copy.histories(TASK).glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-30])
    assert not up_to_date(tiny(), copy)
    with pytest.raises(ValueError, match=path.name):
        STEPS["validate"](tiny(), copy)


def test_steps_out_of_order_say_what_comes_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for step in PIPELINE[1:]:
        with pytest.raises(WorkspaceError, match="run `lode sweep` first"):
            step(tiny(), workspace)
    with pytest.raises(WorkspaceError, match="make demo"):
        result_table(tiny(), workspace)


def test_too_little_space_and_an_unusable_folder_stop_before_work(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "full")
    workspace.root.mkdir()
    with pytest.raises(WorkspaceError, match=r"MiB free.*nothing was started"):
        workspace.check_writable(needed=10**18)
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "data").write_text("a file where a folder should be")
    with pytest.raises(WorkspaceError, match=r"data: cannot be written to"):
        STEPS["sweep"](tiny(), Workspace(occupied))
    assert not (occupied / "models").exists()


def test_another_text_is_another_sweep(tmp_path: Path) -> None:
    workspace, settings = Workspace(tmp_path), tiny(task="text-minigpt")
    with pytest.raises(ValueError, match=r"no text in .*text"):
        STEPS["sweep"](settings, workspace)
    text = workspace.data / "text" / "mine.txt"
    text.parent.mkdir(parents=True)
    text.write_text("one")
    first = {job.spec.run_id for job in sweep_plan(settings, workspace).grid_jobs()}
    text.write_text("two")
    second = {job.spec.run_id for job in sweep_plan(settings, workspace).grid_jobs()}
    assert not first & second


def test_a_tpe_sweep_says_truly_what_it_found(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    settings = tiny(sweep__sampler="tpe", sweep__trials=2)
    assert not STEPS["sweep"].is_current(settings, workspace), "nothing was run"
    assert STEPS["sweep"](settings, workspace, in_this_process).trained == 4
    assert STEPS["sweep"].is_current(settings, workspace)
    again = STEPS["sweep"](settings, workspace, in_this_process)
    assert not again.ran and again.trained == 0


def test_a_race_trains_its_rounds_goes_on_and_is_validated(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    settings = tiny(sweep__sampler="racing", sweep__peak_lrs=[0.001, 0.01, 0.05])
    grid = len(settings.sweep.schedulers) * 3
    whole = grid + settings.sweep.survivors * (len(settings.sweep.seeds) - 1)
    assert settings.sweep_runs == whole < grid * len(settings.sweep.seeds)
    rounds: list[int] = []

    def train(jobs: Iterable[Job], **options: Any) -> list[History]:
        rounds.append(len(list(jobs)))
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return in_this_process(jobs, **options)

    with pytest.raises(KeyboardInterrupt):
        STEPS["sweep"](settings, workspace, train)
    assert rounds == [grid, whole - grid]
    assert not STEPS["sweep"].is_current(settings, workspace), "its second round is not done"
    assert STEPS["sweep"](settings, workspace, in_this_process).trained == whole - grid
    assert not STEPS["sweep"](settings, workspace, in_this_process).ran
    STEPS["validate"](settings, workspace)
    assert f"{whole} runs accepted" in STEPS["validate"](settings, workspace).summary
    assert STEPS["sweep"](tiny(sweep__peak_lrs=[0.001, 0.01, 0.05]), workspace).trained > 0


READERS = {
    "accepted.json": {"pilot", "fit", "register", "baselines", "train", "evaluate"},
    "validation.json": {"evaluate"},
    "pilots.json": {"fit", "evaluate"},
}


def test_a_changed_limit_that_accepts_the_same_runs_refits_nothing(finished_copy: Path) -> None:
    """The report of the validation changes, what it accepts does not."""
    workspace, settings = Workspace(finished_copy), tiny(validation__max_train_loss=1000.0)
    files = workspace.validation(TASK), workspace.accepted(TASK)
    report, accepted = (path.read_bytes() for path in files)
    assert STEPS["validate"](settings, workspace).ran
    assert files[0].read_bytes() != report and files[1].read_bytes() == accepted
    for name in ("pilot", "fit"):
        assert not STEPS[name](settings, workspace).ran, name
    refused = tiny(validation__max_train_loss=1e-9, validation__max_quarantined=1.0)
    with pytest.raises(ValidationError):
        STEPS["validate"](refused, workspace)
    assert files[1].read_bytes() != accepted
    with pytest.raises((WorkspaceError, ValidationError)):
        STEPS["fit"](refused, workspace)


JUNK = ("", "[]", "null", '{"run_ids": 3}', '{"accepted": "all"}', "[" * 100_000)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_a_damaged_report_is_named_by_every_step_that_reads_it(
    copy: Workspace, name: str, junk: str
) -> None:
    path = copy.reports(TASK) / name
    if name == "pilots.json":  # whose keys may all be left out: such a file says "no pilots"
        junk = junk.replace("accepted", "runs")
    path.write_text(junk)
    assert not up_to_date(tiny(), copy)
    for step in READERS[name]:
        with pytest.raises((WorkspaceError, ValidationError), match=name):
            STEPS[step](tiny(), copy, in_this_process)


@pytest.mark.parametrize(
    ("step", "changes", "said"),
    [
        (
            "fit",
            {"training__updates": 50},
            r"training\.updates = 40, which is 50 now.*lode validate`",
        ),
        ("register", {"sweep__seeds": [2, 3]}, r"sweep\.seeds = \[0, 1\].*run `lode validate`"),
        ("train", {"lode__fit__updates": 21}, r"lode\.fit\.updates = 20.*run `lode fit`"),
        ("baselines", {"sweep__peak_lrs": [0.01]}, r"sweep\.peak_lrs.*run `lode validate`"),
        (
            "train",
            {"sweep__seeds": [5, 6], "evaluation__seeds": [0, 1]},
            r"sweep\.seeds = \[0, 1\], which is \[5, 6\] now.*run `lode validate`",
        ),
        ("evaluate", {"pilots__runs": 25}, r"pilots\.runs = 20, which is 25.*run `lode pilot`"),
        ("fit", {"lode__controller": "paper", "baselines__schedulers": []}, r"run `lode pilot`"),
    ],
)
def test_a_step_refuses_what_was_made_with_other_settings(
    finished_copy: Path, step: str, changes: dict[str, Any], said: str
) -> None:
    """Any setting of any earlier step; nothing is trained, fitted or registered."""
    workspace = Workspace(finished_copy)
    files = {path: path.stat().st_mtime_ns for path in finished_copy.rglob("*.parquet")}
    with pytest.raises(WorkspaceError, match=said):
        STEPS[step](tiny(**changes), workspace, in_this_process)
    assert {p: p.stat().st_mtime_ns for p in finished_copy.rglob("*.parquet")} == files
