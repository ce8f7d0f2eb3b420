import math
from pathlib import Path
from typing import Any

import pytest

from components import names
from components.settings import Settings, SettingsError, load

PARAMS = Path(__file__).parents[1] / "params.yaml"


def test_the_committed_file_is_valid_and_holds_every_setting() -> None:
    import yaml

    raw = yaml.safe_load(PARAMS.read_text())
    assert load(PARAMS).model_dump(mode="json") == raw


def test_names_are_those_of_the_registries() -> None:
    from components.schedulers.parametric import PARAMETRIC
    from components.tasks.catalog import TASKS

    assert tuple(TASKS) == names.TASKS
    assert tuple(PARAMETRIC) == names.PARAMETRIC_SCHEDULERS


def test_a_sweep_is_the_papers_unless_told_otherwise() -> None:
    papers = ["constant", "cosine", "onecycle", "exp-decay"]
    assert Settings(task="mnist1d-cnn").sweep.schedulers == papers
    more = [*papers, "linear", "warmup-stable-decay"]
    assert load(PARAMS, {"sweep.schedulers": more}).sweep.schedulers == more


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("task", "mnist1dcnn", "did you mean 'mnist1d-cnn'"),
        ("task", 5, "task = 5: input should be a valid string"),
        ("tusk", 1, "unknown key tusk = 1; did you mean 'task'"),
        ("lode.fitt", 1, "unknown key lode.fitt = 1; did you mean 'fit'"),
        ("sweep.schedulers", ["onecycl"], "did you mean 'onecycle'"),
        ("sweep.schedulers", [], "sweep.schedulers"),
        ("sweep.schedulers", ["cosine", "cosine"], "distinct"),
        ("baselines.schedulers", ["hypergrad"], "did you mean 'hypergradient'"),
        ("baselines.schedulers", ["lode"], "unknown baseline 'lode'"),
        ("baselines.schedulers", ["cosine"], "cosine is in sweep.schedulers already"),
        ("sweep.peak_lrs", [-0.1], "sweep.peak_lrs.0 = -0.1: input should be greater than 0"),
        ("sweep.peak_lrs", ["1e-3"], "write 1.0e-3"),
        ("sweep.peak_lrs", [math.nan], "sweep.peak_lrs.0"),
        ("sweep.peak_lrs", [math.inf], "sweep.peak_lrs.0"),
        ("sweep.seeds", [0, 0], "distinct"),
        ("sweep.seeds", [-1], "0 or larger"),
        ("training.updates", "1000", "training.updates = '1000'"),
        ("training.updates", True, "training.updates = True"),
        ("training.updates", 1000.0, "training.updates = 1000.0"),
        ("training.points", 2000, "points (2000) must not exceed updates (1000)"),
        ("training.device", "gpu", "training.device = 'gpu'"),
        ("lode.scheduler.mu", 101, "lode.scheduler.mu = 101 must not exceed"),
        ("lode.scheduler.horizon", 101, "horizon"),
        ("lode.solver", "rk5", "'rk4' or 'dopri5'"),
        ("lode.fit.held_out_seeds", 5, "leaves nothing"),
        ("lode.controller", "papr", "'papr': input should be 'default' or 'paper'"),
        ("lode.scheduler.caution", -0.1, "lode.scheduler.caution = -0.1"),
        ("lode.judge.members", 1, "lode.judge.members = 1"),
        ("pilots.runs", 19, "fewer than 20 runs tell nothing; 0 turns pilots off"),
        ("pilots.runs", -1, "pilots.runs = -1"),
        ("evaluation.seeds", [0, 1], "must be fresh"),
        ("evaluation.seeds", [7], "evaluation.seeds"),
        ("retraining.seeds", 1, "retraining.seeds = 1"),
        ("retraining.tolerance", -0.1, "retraining.tolerance = -0.1"),
        ("retraining.better_in", "loss", "'reconstruction' or 'test_metric'"),
        ("registry.tracking_uri", "./mlruns", "registry.tracking_uri"),
    ],
)
def test_impossible_values_are_named(key: str, value: Any, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(PARAMS, {key: value})
    assert said in str(error.value)
    assert str(PARAMS) in str(error.value)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        load(PARAMS, {"task": "x", "training.updates": "y", "zzz": 1})
    for key in ("task", "training.updates", "zzz"):
        assert key in str(error.value)


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "\x00"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"params\.yaml"):
        load(path)


def test_a_missing_file_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such file.*--params"):
        load(tmp_path / "params.yaml")


def test_an_override_through_a_value_is_an_error() -> None:
    with pytest.raises(SettingsError, match="task is a value, not a section"):
        load(PARAMS, {"task.name": "x"})


def test_the_digest_sees_every_value_and_no_layout() -> None:
    settings = load(PARAMS)
    assert settings.digest() == Settings.model_validate(settings.model_dump()).digest()
    assert settings.digest() != load(PARAMS, {"lode.scheduler.sigma": 0.16}).digest()


def test_a_tpe_sweep_counts_its_trials() -> None:
    tpe = load(PARAMS, {"sweep.sampler": "tpe", "sweep.trials": 7})
    assert tpe.sweep_runs == 7 * len(tpe.sweep.seeds)
    assert load(PARAMS).sweep_runs == 4 * 5 * 5


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, 100),  # as many as the sweep has
        ({"pilots.runs": 20}, 20),
        ({"pilots.runs": 300}, 300),
        ({"pilots.runs": 0}, 0),
        ({"sweep.peak_lrs": [0.01], "sweep.schedulers": ["cosine"]}, 0),  # 5 runs are too few
        ({"lode.controller": "paper"}, 0),
        ({"lode.controller": "paper", "pilots.runs": 50}, 0),
    ],
)
def test_how_many_pilots_are_asked_for(changes: dict[str, Any], runs: int) -> None:
    assert load(PARAMS, changes).pilot_runs == runs
