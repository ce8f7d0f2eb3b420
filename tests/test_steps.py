"""The steps on a real, tiny sweep: what they do once, and not again; what a change redoes."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.evaluation.evaluate import SCHEMA_VERSION
from components.settings import Settings, load
from components.steps import all_steps as steps
from components.steps.all_steps import stamps as stamps
from components.storage.workspace import Workspace, WorkspaceError
from components.training.history import read_history

PARAMS = Path(__file__).parents[1] / "params.yaml"
TINY: dict[str, Any] = {
    "training.updates": 40,
    "training.points": 20,
    "training.device": "cpu",
    "sweep.peak_lrs": [0.01, 0.05],
    "sweep.seeds": [0, 1],
    "pilots.runs": 20,
    "lode.fit.updates": 20,
    "lode.judge.updates": 20,
    "evaluation.seeds": [100, 101],
    "baselines.schedulers": ["linear", "pbt"],
    "evaluation.sharpness_samples": 256,
    "lode.scheduler.n": 5,
}


def tiny(**changes: Any) -> Settings:
    return load(PARAMS, TINY | {key.replace("__", "."): value for key, value in changes.items()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every step has run once."""
    root = tmp_path_factory.mktemp("steps")
    for step in steps.STEPS.values():
        assert step(tiny(), Workspace(root)).ran
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Workspace:
    """The same, to be damaged."""
    root = tmp_path / "copy"
    shutil.copytree(finished, root)
    return Workspace(root)


def ran(settings: Settings, workspace: Workspace) -> list[str]:
    return [name for name, step in steps.STEPS.items() if step(settings, workspace).ran]


pytestmark = pytest.mark.slow


def test_a_second_time_nothing_runs(finished: Path) -> None:
    workspace = Workspace(finished)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert steps.up_to_date(tiny(), workspace)
    assert ran(tiny(), workspace) == []
    after = {path: path.stat().st_mtime_ns for path in before}
    probes = {path for path in before if ".lode" in path.parts or path.suffix == ".db"}
    assert {p: t for p, t in before.items() if p not in probes} == {
        p: t for p, t in after.items() if p not in probes
    }


def test_the_table_and_the_report_are_there(finished: Path) -> None:
    table = steps.result_table(tiny(), Workspace(finished))
    for scheduler in ("Constant", "Cosine", "OneCycle", "Exp. decay", "Linear", "PBT", "LODE"):
        assert scheduler in table
    assert Workspace(finished).page("mnist1d-cnn").exists()
    assert str(Workspace(finished).page("mnist1d-cnn")) in table


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lode__scheduler__sigma": 0.3}, {"register", "train", "evaluate"}),
        ({"lode__fit__updates": 21}, {"pilot", "fit", "register", "train", "evaluate"}),
        ({"evaluation__seeds": [100, 102]}, {"pilot", "train", "evaluate"}),
        ({"evaluation__sharpness": "none"}, {"train", "evaluate"}),
        ({"validation__max_train_loss": 50.0}, set(steps.STAMPED)),
        ({"pilots__runs": 0}, {"pilot", "fit", "register", "train", "evaluate"}),
        ({"lode__controller": "paper"}, {"pilot", "fit", "register", "train", "evaluate"}),
        ({"sweep__workers": 1}, set()),
        ({"baselines__schedulers": ["linear"]}, {"evaluate"}),
        (
            {"baselines__schedulers": ["linear", "warmup-stable-decay"]},
            {"baselines", "train", "evaluate"},
        ),
    ],
)
def test_a_change_redoes_what_depends_on_it(
    copy: Workspace, changes: dict[str, Any], expected: set[str]
) -> None:
    settings = tiny(**changes)
    assert steps.up_to_date(settings, copy) == (not expected)
    assert set(ran(settings, copy)) == expected
    assert ran(settings, copy) == []


def test_another_budget_sweeps_anew_beside_the_old_histories(copy: Workspace) -> None:
    old = {path.stem for path in copy.histories("mnist1d-cnn").glob("*.parquet")}
    settings = tiny(training__updates=42)
    assert steps.sweep(settings, copy).facts == {"runs": 16, "diverged": 0, "trained": 16}
    steps.validate(settings, copy)
    report = stamps.read_json(copy.validation("mnist1d-cnn"))
    assert len(report["accepted"]) == 16 and not old & set(report["accepted"])
    assert set(report["outside_sweep"]) == old
    assert {path.stem for path in copy.histories("mnist1d-cnn").glob("*.parquet")} > old


def test_a_lost_or_damaged_output_is_made_again(copy: Workspace) -> None:
    weights = copy.lode("mnist1d-cnn") / "lode.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:100])
    assert not steps.up_to_date(tiny(), copy)
    assert "fit" in ran(tiny(), copy)
    assert weights.read_bytes() == good, "the fit is not deterministic"
    copy.page("mnist1d-cnn").unlink()
    assert ran(tiny(), copy) == ["evaluate"]


def test_an_evaluation_of_another_version_is_made_again(copy: Workspace) -> None:
    path = copy.evaluation("mnist1d-cnn")
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 1'))
    with pytest.raises(WorkspaceError, match=r"evaluation\.json: written by another version"):
        steps.result_table(tiny(), copy)
    assert ran(tiny(), copy) == ["evaluate"]
    assert "PBT" in steps.result_table(tiny(), copy)


def test_the_pilots_are_counted_and_their_plan_is_what_runs_begin_with(finished: Path) -> None:
    workspace = Workspace(finished)
    found = stamps.read_json(workspace.pilot_summary("mnist1d-cnn"))
    begun = found["plan"] if found["adopted"] else found["baseline"]["plan"]
    assert found["runs"] <= 20 and len(begun) == 21
    kept = {path.stem for path in workspace.pilots("mnist1d-cnn").glob("*.parquet")}
    assert kept == set(found["run_ids"])
    judge = stamps.read_json(workspace.lode("mnist1d-cnn") / "judge.json")
    assert judge["plan"] == found["plan"]
    best = found["baseline"]
    assert judge["schedule"] == [best["scheduler"], best["peak_lr"]]
    assert judge["histories"] == 16 + found["runs"] - found["diverged"]
    job = steps.evaluation_jobs(tiny(), workspace)[-1]
    assert job.spec.scheduler == "lode"
    rates = read_history(job.path).points["lr"]
    assert rates[: 5 - 1].tolist() == pytest.approx(begun[1:5]), "up to the first decision"
    result = steps.pilot(tiny(), workspace)
    assert not result.ran and f"{found['runs']} runs, 0 diverged; gain " in result.summary


def test_fresh_seeds_are_neither_the_sweeps_nor_the_evaluations(finished: Path) -> None:
    settings = tiny(evaluation__seeds=[2, 4])
    asked = steps._pilots(settings, Workspace(finished))
    assert asked.fresh == [3, 5, 6, 7]
    assert asked.budget.screen + asked.budget.confirm == 4


def test_without_pilots_it_is_said_and_the_fit_goes_on(finished: Path, copy: Workspace) -> None:
    paper = tiny(lode__controller="paper")
    assert "no pilots" in steps.pilot(paper, copy).summary
    steps.fit(paper, copy)
    kept = {path.name for path in copy.lode("mnist1d-cnn").iterdir()}
    assert kept == {"lode.safetensors", "config.json"}, "the judge was of another fit"
    copy.pilot_summary("mnist1d-cnn").unlink()
    with pytest.raises(WorkspaceError, match=r"no pilots yet; run `lode pilot` first"):
        steps.fit(tiny(lode__fit__updates=3), copy)


def test_a_lost_pilot_is_run_again(copy: Workspace) -> None:
    lost = min(copy.pilots("mnist1d-cnn").glob("*.parquet"))
    lost.unlink()
    assert not steps.up_to_date(tiny(), copy)
    assert steps.pilot(tiny(), copy).ran and lost.exists()
    steps.fit(tiny(lode__fit__updates=3), copy)


def test_only_a_missing_run_is_trained(copy: Workspace) -> None:
    paths = sorted(copy.histories("mnist1d-cnn").glob("*.parquet"))
    paths[3].unlink()
    result = steps.sweep(tiny(), copy)
    assert result.ran and result.facts["trained"] == 1
    assert ran(tiny(), copy) == [], "the same run gave another history"


def test_a_truncated_history_stops_with_its_name(copy: Workspace) -> None:
    path = sorted(copy.histories("mnist1d-cnn").glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-30])
    assert not steps.up_to_date(tiny(), copy)
    with pytest.raises(ValueError, match=path.name):
        steps.validate(tiny(), copy)


def test_steps_out_of_order_say_what_comes_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(ValueError, match="lode sweep"):
        steps.validate(tiny(), workspace)
    for step in (steps.pilot, steps.fit):
        with pytest.raises(ValueError, match="lode validate"):
            step(tiny(), workspace)
    with pytest.raises((ValueError, WorkspaceError), match=r"lode (validate|fit)"):
        steps.train(tiny(), workspace)
    with pytest.raises((ValueError, WorkspaceError), match="lode"):
        steps.evaluate(tiny(), workspace)
    with pytest.raises(WorkspaceError, match="make demo"):
        steps.result_table(tiny(), workspace)


def test_too_little_space_and_an_unusable_folder_stop_before_work(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path / "full")
    workspace.root.mkdir()
    with pytest.raises(WorkspaceError, match=r"MiB free.*nothing was started"):
        workspace.check_writable(needed=10**18)
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "data").write_text("a file where a folder should be")
    with pytest.raises(WorkspaceError, match=r"data: cannot be written to"):
        steps.sweep(tiny(), Workspace(occupied))
    assert not (occupied / "models").exists()


def test_another_text_is_another_sweep(tmp_path: Path) -> None:
    workspace, settings = Workspace(tmp_path), tiny(task="text-minigpt")
    with pytest.raises(ValueError, match=r"no text in .*text"):
        steps.sweep(settings, workspace)
    text = workspace.data / "text" / "mine.txt"
    text.parent.mkdir(parents=True)
    text.write_text("one")
    first = {job.spec.run_id for job in steps.sweep_plan(settings, workspace).grid_jobs()}
    text.write_text("two")
    second = {job.spec.run_id for job in steps.sweep_plan(settings, workspace).grid_jobs()}
    assert not first & second


def test_a_tpe_sweep_says_truly_what_it_found(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    settings = tiny(sweep__sampler="tpe", sweep__trials=2)
    assert steps.sweep(settings, workspace).facts["trained"] == 4
    again = steps.sweep(settings, workspace)
    assert not again.ran and again.facts["trained"] == 0
