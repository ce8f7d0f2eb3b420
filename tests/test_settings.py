import math
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass
from functools import reduce
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from annotated_types import Ge, Gt
from hypothesis import given
from hypothesis import strategies as st

from components.lode.model import LODEConfig
from components.lode.settings import CONTROLLERS, ControllerSettings, FitSettings
from components.schedulers.names import PARAMETRIC_SCHEDULERS
from components.schedulers.parametric import PARAMETRIC
from components.settings import LodeSettings, Settings, SettingsError, load
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
        ("lode.fit.updates", "4000", "lode.fit.updates = '4000': input should be a valid integer"),
        ("lode.fit.updates", True, "lode.fit.updates = True: input should be a valid integer"),
        ("lode.fit.updates", 4000.0, "lode.fit.updates = 4000.0: input should be a valid integer"),
        ("lode.fit.peak_lr", "1e-3", "lode.fit.peak_lr = '1e-3'"),
        ("lode.fit.peak_lr", "1e-3", "write 1.0e-3"),
        ("lode.fit.peak_lr", math.nan, "lode.fit.peak_lr = nan: input should be a finite number"),
        ("lode.scheduler.caution", math.inf, "lode.scheduler.caution = inf: input should be a fi"),
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2020-01-01: x", "datetime.date(2020, 1, 1): keys should be strings"),
        ("lode: {fit: {updates: 2020-01-01}}", "lode.fit.updates = datetime.date(2020, 1, 1)"),
        ("lode: {fit: {5: 1}}", "lode.fit.5 = 5: keys should be strings"),
        ("lode: {5: 1}", "lode.5 = 5: keys should be strings"),
        ("5: 1", "5 = 5: keys should be strings"),
        ("lode: {fit: {peak_lr: .nan}}", "lode.fit.peak_lr = nan: input should be a finite"),
        ("lode: {fit: {peak_lr: .inf}}", "lode.fit.peak_lr = inf: input should be a finite"),
        ("lode: {fit: {peak_lr: 1e-3}}", "write 1.0e-3, with a point"),
        ("lode: {fit: {updates: yes}}", "lode.fit.updates = True"),
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


def _bounded() -> list[tuple[str, type, float, bool]]:
    """Key, type, bound and whether the bound itself is allowed, of every number below `lode`."""
    found = []
    waiting: list[tuple[str, Any]] = [("lode", LodeSettings)]
    while waiting:
        prefix, section = waiting.pop()
        for name, hint in get_type_hints(section, include_extras=True).items():
            ranged = [h for h in (hint, *get_args(hint)) if hasattr(h, "__metadata__")]
            kind, *extras = get_args(ranged[0]) if ranged else (hint,)
            if is_dataclass(kind):
                waiting.append((f"{prefix}.{name}", kind))
            for one in extras:
                if isinstance(one, Ge | Gt):
                    limit: Any = one.ge if isinstance(one, Ge) else one.gt
                    found.append((f"{prefix}.{name}", kind, limit, isinstance(one, Ge)))
    return found


BOUNDED = _bounded()


def test_every_number_below_lode_has_a_range() -> None:
    numbers = {key for key, *_ in BOUNDED}
    raw = yaml.safe_load(PARAMS.read_text())["lode"]
    flat = {f"lode.{k}": v for k, v in raw.items()}
    for section in ("fit", "judge", "scheduler"):
        flat |= {f"lode.{section}.{k}": v for k, v in flat.pop(f"lode.{section}").items()}
    assert numbers == {key for key, value in flat.items() if not isinstance(value, str)}


@given(case=st.sampled_from(BOUNDED), below=st.floats(0, 1e6), whole=st.integers(0, 10**6))
def test_a_value_out_of_range_is_named_with_its_key_whatever_it_is(
    case: tuple[str, type, float, bool], below: float, whole: int
) -> None:
    key, kind, limit, allowed = case
    value = limit - whole if kind is int else limit - below
    if value == limit and allowed:
        reached: Any = load(PARAMS, {key: value})
        assert reduce(getattr, key.split("."), reached) == value
        return
    with pytest.raises(SettingsError, match="input should be greater than") as error:
        load(PARAMS, {key: value})
    assert f"{key} = {value!r}: " in str(error.value)


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
