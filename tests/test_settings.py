import math
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass
from functools import reduce
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel

from components.lode.model import LODEConfig
from components.lode.settings import CONTROLLERS, ControllerSettings, FitSettings, Range
from components.schedulers.names import PARAMETRIC_SCHEDULERS
from components.schedulers.parametric import PARAMETRIC
from components.settings import Settings, SettingsError, load
from components.tasks import catalog
from components.tasks.names import TASKS

PARAMS = Path(__file__).parents[1] / "params.yaml"


def test_the_committed_file_is_valid_and_holds_every_setting() -> None:
    raw = yaml.safe_load(PARAMS.read_text())
    assert load(PARAMS).model_dump(mode="json") == raw


def test_names_are_those_of_the_registries() -> None:
    assert tuple(catalog.TASKS) == TASKS
    assert tuple(PARAMETRIC) == PARAMETRIC_SCHEDULERS


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
        ("lode.fit.update", 1, "unknown key lode.fit.update = 1; did you mean 'updates'"),
        ("lode.latents", 1, "unknown key lode.latents = 1; did you mean 'latent'"),
        ("lode.judge.member", 5, "unknown key lode.judge.member = 5; did you mean 'members'"),
        ("lode", 5, "lode = 5: input should be a dictionary"),
        ("lode.fit", [1], "lode.fit = [1]: input should be a dictionary"),
        ("lode.scheduler", None, "lode.scheduler = None: input should be a dictionary"),
        ("sweep.schedulers", ["onecycl"], "did you mean 'onecycle'"),
        ("sweep.schedulers", ["multi-power-law"], "name it in baselines.schedulers"),
        ("sweep.schedulers", [], "sweep.schedulers"),
        ("sweep.schedulers", ["cosine", "cosine"], "distinct"),
        ("baselines.schedulers", ["hypergrad"], "did you mean 'hypergradient'"),
        ("baselines.schedulers", ["lode"], "unknown baseline 'lode'"),
        ("baselines.schedulers", ["cosine"], "cosine is in sweep.schedulers already"),
        ("sweep.peak_lrs", [-0.1], "sweep.peak_lrs.0 = -0.1: must be from 1e-12 to 1000"),
        ("sweep.peak_lrs", ["1e-3"], "write 1.0e-3"),
        ("sweep.peak_lrs", [math.nan], "sweep.peak_lrs.0"),
        ("sweep.peak_lrs", [math.inf], "sweep.peak_lrs.0"),
        ("sweep.seeds", [0, 0], "distinct"),
        ("sweep.seeds", [-1], "sweep.seeds.0 = -1: must be from 0 to"),
        ("training.updates", "1000", "training.updates = '1000'"),
        ("training.updates", True, "training.updates = True"),
        ("training.updates", 1000.0, "training.updates = 1000.0"),
        ("training.points", 2000, "points (2000) must not exceed updates (500)"),
        ("training.device", "gpu", "training.device = 'gpu'"),
        (
            "lode.scheduler.mu",
            5,
            "lode.scheduler.mu = 5: must be from 0.0001 to 1: a share of the run",
        ),
        ("lode.scheduler.mu", 5, "what was 5 of 100 log points is 0.05"),
        ("lode.scheduler.horizon", 101, "horizon"),
        ("lode.solver", "rk5", "'rk4' or 'dopri5'"),
        ("lode.fit.held_out_seeds", 5, "leaves nothing"),
        ("lode.controller", "papr", "'papr': input should be 'default' or 'paper'"),
        ("lode.fit.updates", "4000", "lode.fit.updates = '4000': input should be a valid integer"),
        ("lode.fit.updates", True, "lode.fit.updates = True: input should be a valid integer"),
        ("lode.fit.updates", 4000.0, "lode.fit.updates = 4000.0: input should be a valid integer"),
        ("lode.fit.peak_lr", "1e-3", "lode.fit.peak_lr = '1e-3'"),
        ("lode.fit.peak_lr", "1e-3", "write 1.0e-3"),
        ("lode.fit.peak_lr", math.nan, "lode.fit.peak_lr = nan: input should be a finite number"),
        ("lode.scheduler.caution", math.inf, "lode.scheduler.caution = inf: input should be a fi"),
        ("lode.scheduler.caution", -0.1, "lode.scheduler.caution = -0.1"),
        ("lode.judge.members", 1, "lode.judge.members = 1"),
        ("pilots.runs", 19, "0 turns pilots off, and LODE starts from the sweep's best"),
        ("pilots.runs", -1, "pilots.runs = -1"),
        ("evaluation.seeds", [0, 1], "must be fresh"),
        ("evaluation.seeds", [7], "evaluation.seeds"),
        ("retraining.seeds", 1, "retraining.seeds = 1"),
        ("retraining.tolerance", -0.1, "retraining.tolerance = -0.1"),
        ("retraining.better_in", "loss", "'reconstruction' or 'test_metric'"),
        ("registry.tracking_uri", "./mlruns", "registry.tracking_uri"),
        ("sweep.seeds", list(range(100_000)), "sweep.seeds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"),
        ("sweep", {"sampler": "grid", "seeds": list(range(600))}, "12000 runs, more than 10000"),
        ("training.device", "cuda:100000000000000000000", "training.device"),
        ("task", "x" * 5000, "task: unknown task 'xxxxx"),
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2020-01-01: x", "line 2: YAML reads 2020-01-01 as a date; write '2020-01-01' in quotes"),
        ("lode: {fit: {updates: 2020-01-01}}", "YAML reads 2020-01-01 as a date"),
        ("lode: {fit: {5: 1}}", "lode.fit.5 = 5: keys should be strings"),
        ("lode: {5: 1}", "lode.5 = 5: keys should be strings"),
        ("5: 1", "5 = 5: keys should be strings"),
        ("lode: {fit: {peak_lr: .nan}}", "lode.fit.peak_lr = nan: input should be a finite"),
        ("lode: {fit: {peak_lr: .inf}}", "lode.fit.peak_lr = inf: input should be a finite"),
        ("lode: {fit: {peak_lr: 1e-3}}", "write 1.0e-3, with a point"),
        ("lode: {fit: {updates: yes}}", "line 2: YAML reads yes as true or false"),
        ("lode: {fit: {updates: true}}", "lode.fit.updates = True"),
        ("training: {updates: 0100}", "line 2: YAML reads 0100 as 64: write 64, or 100"),
        ("task: mnist1d-cnn", "line 2: task stands here a second time (first in line 1)"),
        ("lode: {encoder: null}", "lode.encoder = None: input should be 'ode-rnn' or 'gru'"),
    ],
)
def test_what_yaml_makes_of_a_value_is_said_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"task: digits-mlp\n{text}\n")
    with pytest.raises(SettingsError) as error:
        load(path)
    assert said in str(error.value) and "\n" not in str(error.value)


def _numbers(key: str, hint: Any) -> Iterator[tuple[str, type, Range | None]]:
    """Key, type and range of every number of a section and of those below it."""
    kind = getattr(hint, "__origin__", hint)
    if isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind)):
        for name, inner in get_type_hints(kind, include_extras=True).items():
            if not name.startswith(("_", "model_")):
                yield from _numbers(f"{key}.{name}".lstrip("."), inner)
    elif kind in (int, float):
        ranges = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Range)]
        yield key, kind, ranges[0] if ranges else None
    else:
        for inner in get_args(hint):
            yield from _numbers(key, inner)


# Without those of a task of one's own, which is a mapping by name: tests/test_own_tasks.py.
NUMBERS = [found for found in _numbers("", Settings) if not found[0].startswith("tasks.")]
LISTS = ("sweep.peak_lrs", "sweep.seeds", "evaluation.seeds")
# So large that any number within its own range agrees with the others.
ROOM = {
    "training.updates": 10**8,
    "training.points": 10_000,
    "sweep.schedulers": ["constant"],
    "sweep.peak_lrs": [0.1],
    "sweep.seeds": list(range(1000)),
    "evaluation.seeds": [10**6, 10**6 + 1],
}


def test_every_number_has_a_range() -> None:
    assert len(NUMBERS) >= 33 and not [key for key, _, allowed in NUMBERS if allowed is None]
    raw = yaml.safe_load(PARAMS.read_text())
    flat = dict(_flat("", raw))
    numbers = {k for k, v in flat.items() if isinstance(v, int | float) or k in LISTS}
    assert numbers <= {key for key, *_ in NUMBERS} <= set(flat)


def _flat(prefix: str, section: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def _value(key: str, number: float) -> Any:
    if key not in LISTS:
        return number
    return [number, 77] if key.endswith("seeds") else [number]


@given(case=st.sampled_from(NUMBERS), data=st.data())
def test_everything_within_its_range_is_accepted(case: Any, data: st.DataObject) -> None:
    key, kind, allowed = case
    of = st.integers if kind is int else st.floats
    ends = st.sampled_from([allowed.low, allowed.high]).map(kind)
    number = data.draw(ends | of(kind(allowed.low), kind(allowed.high)))
    assume(not (key == "pilots.runs" and 0 < number < 20))
    assume(number not in (77, *ROOM["evaluation.seeds"]) or key not in LISTS)
    room = ROOM | {"training.points": 10} if key == "training.updates" else ROOM
    if key == "evaluation.seeds":
        room = room | {"sweep.seeds": [1, 2]}
        assume(number not in (1, 2))
    found: Any = load(PARAMS, {**room, key: _value(key, number)})
    assert reduce(getattr, key.split("."), found) == _value(key, number)


@given(
    case=st.sampled_from(NUMBERS),
    beyond=st.integers(1, 10**6) | st.integers(10**15, 10**25),
    below=st.booleans(),
)
def test_a_value_out_of_range_is_named_with_its_key_and_the_range(
    case: Any, beyond: int, below: bool
) -> None:
    key, kind, allowed = case
    number = allowed.low - beyond if below else allowed.high + beyond
    number = kind(number) * (1 if below or kind is int else 10)
    with pytest.raises(SettingsError, match=r"must be from .* to .*: \w") as error:
        load(PARAMS, {**ROOM, key: _value(key, number)})
    assert f"{key}{'.0' if key in LISTS else ''} = {number!r}: " in str(error.value)


@pytest.mark.parametrize("number", [5e-324, 1e-13, 1001.0, 1e308])
@pytest.mark.parametrize("key", ["sweep.peak_lrs", "lode.fit.peak_lr", "lode.judge.peak_lr"])
def test_rates_that_no_weight_can_follow(key: str, number: float) -> None:
    with pytest.raises(SettingsError, match="a smaller rate moves no weight"):
        load(PARAMS, {key: _value(key, number)})


@pytest.mark.parametrize(
    "store", ["s3://bucket/lode", "gs://b/x", "file:///mnt/share", "/mnt/share", "hdfs:///lode"]
)
def test_a_store_that_others_can_find(store: str) -> None:
    assert load(PARAMS, {"execution.store": store}).execution.store == store


@given(
    st.sampled_from(["../../../etc", "store", "~/x", "file://x", "file:///mnt/../etc", "/a/../b"])
    | st.sampled_from(["s3://", "s3:b", "s3://b/../c", "", "\n", "x" * 501, "C:\\x"])
    | st.builds("{}://x".format, st.text("abcdefgh", min_size=1).filter(lambda t: t != "hf"))
    | st.sampled_from(["memory://x", "http://h/x", "zip://x", "simplecache::s3://b/x"])
)
def test_a_store_that_nobody_finds_again(store: str) -> None:
    with pytest.raises(SettingsError, match=r"execution\.store"):
        load(PARAMS, {"execution.store": store})


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///my runs.db",
        "sqlite:////a/b.db",
        "sqlite:///../b.db",
        "postgresql:///mlflow",
        "postgresql+psycopg2://u:p@h:5432/d",
        "http://127.0.0.1:5000",
        "https://mlflow.example/x",
    ],
)
def test_a_registry(uri: str) -> None:
    assert load(PARAMS, {"registry.tracking_uri": uri}).registry.tracking_uri == uri


@given(
    st.sampled_from(["sqlite:///:memory:", "sqlite:///x?mode=memory", "sqlite:///folder/"])
    | st.sampled_from(["sqlite://", "sqlite:///", "sqlite:x", "sqlite:///file::memory:?uri=true"])
    | st.sampled_from(["postgresql://", "postgresql:x", "mysql://u:secret@h/x", "x", ""])
    | st.sampled_from(["http:/x", "http://", "http://h:99999", "http://[", "https://:80"])
)
def test_no_registry(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"registry\.tracking_uri") as error:
        load(PARAMS, {"registry.tracking_uri": uri})
    assert "secret" not in str(error.value)


def test_a_number_that_python_does_not_write_out() -> None:
    with pytest.raises(SettingsError, match=r"training\.updates = a number of about 5000 digits"):
        load(PARAMS, {"training.updates": 10**5000})


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "a\0b", tmp_path / ("x" * 5000), tmp_path / "file" / "x"):
        (tmp_path / "file").touch()
        with pytest.raises(SettingsError) as error:
            load(path)
        assert len(str(error.value)) < 500


def test_settings_cannot_be_changed() -> None:
    settings = load(PARAMS)
    for section in (settings.lode, settings.lode.fit, settings.lode.judge, settings.lode.scheduler):
        with pytest.raises(FrozenInstanceError):
            section.seed = 1  # type: ignore[union-attr]


def test_the_architecture_is_what_a_lode_is_built_with() -> None:
    settings = load(PARAMS, {"lode.latent": 7, "lode.solver": "dopri5"})
    architecture = settings.lode.architecture
    assert (architecture.latent, architecture.solver) == (7, "dopri5")
    assert {f.name for f in fields(architecture)} < {f.name for f in fields(LODEConfig)}
    assert asdict(architecture).items() <= settings.model_dump()["lode"].items()


def test_a_section_that_is_left_out_has_the_defaults_that_stand_in_the_core() -> None:
    settings = Settings(task="digits-mlp")
    assert settings.lode.fit == FitSettings() and settings.lode.controller == CONTROLLERS[0]
    assert settings.lode.scheduler == ControllerSettings()
    assert load(PARAMS).lode == settings.lode, "params.yaml shows the defaults"


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
    assert load(PARAMS, {"sweep.sampler": "grid"}).sweep_runs == 4 * 5 * 5
    assert tpe.sweep.saved == 0


def test_a_race_counts_its_survivors() -> None:
    racing = load(PARAMS, {"sweep.sampler": "racing"})
    assert racing.sweep.survivors == 5 and racing.sweep_runs == 20 + 5 * 4
    assert racing.sweep_runs + racing.sweep.saved == 4 * 5 * 5
    one_peak = load(PARAMS, {"sweep.sampler": "racing", "sweep.peak_lrs": [0.01]})
    assert one_peak.sweep.survivors == 4, "every scheduler's best goes on"


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, 60),  # what a race saves of the grid
        ({"sweep.seeds": [0, 1]}, 20),  # 15 would be too little for a trial
        ({"sweep.seeds": list(range(8))}, 60),  # 105 would be more than helps
        ({"sweep.peak_lrs": [0.01]}, 20),  # nothing is saved
        ({"sweep.sampler": "grid"}, 25),  # a quarter of the sweep's
        ({"sweep.sampler": "grid", "sweep.seeds": [0, 1]}, 20),
        ({"sweep.sampler": "tpe", "sweep.trials": 40}, 50),
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


def test_a_law_needs_a_schedule_that_falls_and_runs_that_can_be_trained() -> None:
    law = {"baselines.schedulers": ["multi-power-law"]}
    with pytest.raises(SettingsError, match=r"what a falling rate gains, and .* constant alone"):
        load(PARAMS, {**law, "sweep.schedulers": ["constant"]})
    own = {"command": "python train.py", "metric": {"name": "val_loss", "goal": "minimize"}}
    assert load(PARAMS, {**law, "task": "mine", "tasks": {"mine": own}}).baselines.schedulers
    imported = {"imported": True, "metric": own["metric"]}
    with pytest.raises(SettingsError, match="multi-power-law cannot be trained, as mine has histo"):
        load(PARAMS, {**law, "task": "mine", "tasks": {"mine": imported}})
