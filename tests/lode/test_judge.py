"""The judge: what goes in by hand, what comes out against a slow reference, and its files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.lode.errors import LODEError
from components.lode.judge import (
    FAR,
    SPEED,
    Judge,
    JudgeConfig,
    Scales,
    edges,
    held,
    means,
)
from components.lode.names import JUDGE_CONFIG, JUDGE_WEIGHTS
from components.lode.opening import Opening

SCALES = Scales(0.001, 0.1, -0.01, 1.05, 0.05, (-3.0, 1.0), (-0.5, 1.0), (0.8, 0.7))


def make(members: int = 3, seed: int = 0, gain: float = 0.2, width: int = 4) -> Judge:
    """A judge of random weights, in float64, so that the reference agrees to rounding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(JudgeConfig(SCALES, members, width, hidden=6, error=0.01)).double()
        judge.gain.data = gain * torch.randn_like(judge.gain)
    return judge.eval()


def tables(count: int, points: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).uniform(-7, -2, (count, points + 1)))


def observed(points: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [rng.uniform(0, 2, points), rng.uniform(0, 1, points), rng.uniform(0.001, 0.1, points)]
    )


# ------------------------------------------------------------- what goes in


def test_intervals_are_25_or_as_many_as_there_are_points() -> None:
    assert edges(50).tolist() == list(range(0, 51, 2))
    assert edges(10).tolist() == list(range(11))
    assert edges(30).tolist() == [k * 30 // 25 for k in range(26)]


def test_a_run_of_another_length_has_intervals_as_long_as_the_fitted_ones() -> None:
    assert edges(100, unit=50).tolist() == list(range(0, 101, 2))
    assert edges(20, unit=50).tolist() == list(range(0, 21, 2))
    assert edges(35, unit=50).tolist() == [k * 35 // 18 for k in range(19)]
    assert edges(50, 46, unit=50).tolist() == edges(50, 46).tolist()


def test_the_rest_of_a_run_begins_where_it_is() -> None:
    assert edges(50, 46).tolist() == [46, 48, 50]
    assert edges(50, 47).tolist() == [47, 48, 50]
    assert edges(50, 49).tolist() == [49, 50]


@given(points=st.integers(2, 700), share=st.floats(0, 1, exclude_max=True))
def test_intervals_cover_the_rest_without_gap_or_empty_one(points: int, share: float) -> None:
    start = int(share * points)
    bounds = edges(points, start)
    assert bounds[0] == start and bounds[-1] == points
    assert (np.diff(bounds) > 0).all() and len(bounds) <= 26


def test_means_by_hand() -> None:
    series = np.array([[1.0, 3.0, 5.0, 10.0], [0.0, 0.0, 6.0, 0.0]])
    assert means(series, np.array([0, 2, 4])).tolist() == [[2.0, 7.5], [0.0, 3.0]]
    assert means(series, np.array([1, 4])).tolist() == [[6.0], [2.0]]


def test_a_spike_spoils_no_mean_but_its_own() -> None:
    assert means(np.array([1e20, 1.0, 1.0, 3.0]), np.array([0, 2, 4])).tolist() == [5e19, 2.0]


def test_rates_are_held_at_their_mean_between_neighbours() -> None:
    assert held(np.array([[1.0, 3.0, 5.0]])).tolist() == [[2.0, 4.0]]


@settings(max_examples=50)
@given(
    low=st.floats(-2, 0.5),
    width=st.floats(1e-3, 5),
    seed=st.integers(0, 99),
    shares=st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_the_metric_comes_back_from_its_scale_and_keeps_its_order(
    low: float, width: float, seed: int, shares: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    metrics = low + width * rng.random((6, 10))
    scales = Scales.measure(rng.uniform(0.01, 0.1, (6, 10)), rng.random((6, 10)), metrics)
    assert scales.to_metric(scales.observation(np.ones_like(metrics), metrics)[..., 1]) == (
        pytest.approx(metrics, abs=1e-9 * width)
    )
    a, b = sorted(low + width * share for share in shares)
    ones = np.ones(2)
    less, more = scales.observation(ones, np.array([a, b]))[:, 1]
    assert less <= more
    y = np.linspace(-30, 30, 50)
    assert (np.diff(scales.to_metric(y)) >= 0).all()
    assert (scales.to_metric(y) <= scales.ceiling).all()
    assert scales.ceiling > metrics.max()


@given(lrs=st.lists(st.floats(0, 10), min_size=2, max_size=2, unique=True))
def test_a_larger_rate_drives_more(lrs: list[float]) -> None:
    less, more = SCALES.drive(np.sort(lrs))
    assert (less <= more).all() and np.isfinite([less, more]).all()


@given(loss=st.floats(allow_nan=False), metric=st.floats(allow_nan=False))
def test_no_observation_is_further_than_far(loss: float, metric: float) -> None:
    y = SCALES.observation(np.array([loss]), np.array([metric]))
    assert (np.abs(y) <= FAR).all()


def test_scales_are_the_standardisation_of_what_was_measured() -> None:
    rng = np.random.default_rng(0)
    lrs, losses, metrics = (rng.uniform(0.01, 0.1, (8, 20)) for _ in range(3))
    lrs[0] = 0.0  # a schedule may end, or even stay, at exactly zero
    lrs[0, 0] = 0.05
    scales = Scales.measure(lrs, losses, metrics)
    seen = [scales.drive(lrs)[..., 0], *np.moveaxis(scales.observation(losses, metrics), -1, 0)]
    for channel in seen:
        assert channel.mean() == pytest.approx(0, abs=1e-6)
        assert channel.std() == pytest.approx(1, rel=1e-6)


def test_what_never_moves_stays_finite() -> None:
    ones = np.ones((3, 5))
    scales = Scales.measure(0.1 * ones, ones, ones)
    assert np.isfinite(scales.observation(ones, ones)).all()
    assert np.isfinite(scales.drive(0.1 * ones)).all()


# ------------------------------------------------------------- what comes out


def reference(
    judge: Judge, member: int, drive: np.ndarray, widths: np.ndarray, seen: np.ndarray | None = None
) -> np.ndarray:
    """(K, 2): one member's predictions for one run, as the docstring of the module says them.

    `seen` (≤ K, 2): standardised observations of the first intervals.
    """

    def mlp(layers: torch.nn.ModuleList, x: np.ndarray) -> np.ndarray:
        for number, (weight, bias) in enumerate(layers):
            x = np.tanh(x) if number else x
            x = x @ weight[member].detach().numpy() + bias[member, 0].detach().numpy()
        return x

    h = judge.start[member, 0].detach().numpy()
    gain = judge.gain[member].detach().numpy()
    predicted = []
    for k, width in enumerate(widths):
        h = h + SPEED * width * mlp(judge.field, np.concatenate([h, drive[k]]))
        y = mlp(judge.readout, np.concatenate([h, drive[k]]))
        predicted.append(y)
        if seen is not None and k < len(seen):
            h = h + np.tanh(seen[k] - y) @ gain
    return np.array(predicted)


def test_all_members_and_runs_at_once_are_each_alone() -> None:
    judge, points = make(), 40
    plans = tables(4, points)
    drive = SCALES.drive(means(held(plans), edges(points)))
    widths = np.diff(edges(points)) / points
    y = SCALES.observation(*np.random.default_rng(1).random((2, 4, 25)))
    until = [0, 3, 25, 11]
    seen = torch.tensor([[float(k < n) for k in range(25)] for n in until]).double()
    found, _ = judge(judge.fresh(4), torch.as_tensor(drive), widths, torch.as_tensor(y), seen)
    assert found.shape == (3, 4, 25, 2)
    for member in range(3):
        for run in range(4):
            alone = reference(judge, member, drive[run], widths, y[run, : until[run]])
            assert found[member, run].detach().numpy() == pytest.approx(alone, abs=1e-12)


def test_the_final_metric_is_the_references() -> None:
    judge, points = make(), 40
    plans = tables(4, points)
    drive = SCALES.drive(means(held(plans), edges(points)))
    widths = np.diff(edges(points)) / points
    found = judge.final_metric(plans)
    for member in range(3):
        for run in range(4):
            last = reference(judge, member, drive[run], widths)[-1, 1]
            assert found[member, run] == pytest.approx(SCALES.to_metric(last))


def test_a_followed_run_is_the_references() -> None:
    """Stretches of μ = 4 points, the last of 3: what was logged corrects the state after each."""
    judge, points, mu = make(), 40, 4
    seen = observed(11)
    bounds = np.array([0, 4, 8, 11])
    lrs = held(np.append(0.02, seen[:, 2]))
    plan = tables(1, points)[0]
    ahead = edges(points, 11)
    drive = np.concatenate(
        [SCALES.drive(means(lrs, bounds)), SCALES.drive(means(held(plan), ahead))]
    )
    y = SCALES.observation(means(seen[:, 0], bounds), means(seen[:, 1], bounds))
    widths = np.concatenate([np.diff(bounds), np.diff(ahead)]) / points
    state = judge.follow(seen, 0.02, mu, points)
    found = judge.final_metric(plan[None], state, 11)
    for member in range(3):
        last = reference(judge, member, drive, widths, y)[-1, 1]
        assert found[member, 0] == pytest.approx(SCALES.to_metric(last))


@pytest.mark.parametrize("split", [2, 10, 48])
def test_a_run_split_between_intervals_ends_as_the_whole(split: int) -> None:
    """With 50 points an interval has two, and with nothing seen nothing is corrected."""
    judge, plans = make(gain=0.0), tables(1, 50)
    past = np.column_stack([np.ones(split), np.ones(split), plans[0, 1 : split + 1]])
    state = judge.follow(past, plans[0, 0], 2, 50)
    assert judge.final_metric(plans, state, split) == pytest.approx(judge.final_metric(plans))


def test_without_gain_what_was_logged_does_not_matter_and_with_it_does() -> None:
    plans, past = tables(2, 30), observed(10)
    other = past + np.array([0.5, 0.2, 0.0])
    for gain, same in ((0.0, True), (0.3, False)):
        judge = make(gain=gain)
        finals = [
            judge.final_metric(plans, judge.follow(rows, 0.01, 5, 30), 10) for rows in (past, other)
        ]
        assert np.array_equal(*finals) == same


def test_the_past_of_a_plan_does_not_matter_once_it_is_followed() -> None:
    judge, plans = make(), np.repeat(tables(1, 30), 2, 0)
    plans[1, :10] *= 7  # up to, not including, the rate at the point where it stands
    state = judge.follow(observed(10), 0.01, 5, 30)
    first, second = judge.final_metric(plans, state, 10).T
    assert first == pytest.approx(second, rel=1e-9)


# ------------------------------------------------------------- files


def save(folder: Path) -> Judge:
    judge = make().float()
    judge.config = replace(judge.config, opening=Opening((0.1, 0.05, 1e-9)), histories=7)
    judge.save(folder)
    return judge


def test_what_is_saved_is_loaded_bit_for_bit_and_draws_nothing(tmp_path: Path) -> None:
    judge = save(tmp_path)
    state = torch.random.get_rng_state()
    loaded = Judge.load(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loaded.config == judge.config and not loaded.training
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in judge.state_dict().items())
    assert {path.name for path in tmp_path.iterdir()} == {JUDGE_WEIGHTS, JUDGE_CONFIG}
    before = (tmp_path / JUDGE_CONFIG).read_bytes(), (tmp_path / JUDGE_WEIGHTS).read_bytes()
    loaded.save(tmp_path)
    assert (
        (tmp_path / JUDGE_CONFIG).read_bytes(),
        (tmp_path / JUDGE_WEIGHTS).read_bytes(),
    ) == before


@pytest.mark.parametrize("name", [JUDGE_WEIGHTS, JUDGE_CONFIG])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(LODEError, match=rf"{name}: no such file; run `lode fit` first"):
        Judge.load(tmp_path)


@pytest.mark.parametrize("name", [JUDGE_WEIGHTS, JUDGE_CONFIG])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_a_damaged_file_is_told(tmp_path: Path, name: str, content: bytes | None) -> None:
    save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(LODEError, match=rf"{name}: .*; run `lode fit` again"):
        Judge.load(tmp_path)


def test_weights_of_another_fit_are_told(tmp_path: Path) -> None:
    save(tmp_path)
    make(seed=1).float().save(tmp_path / "other")
    (tmp_path / "other" / JUDGE_WEIGHTS).replace(tmp_path / JUDGE_WEIGHTS)
    with pytest.raises(LODEError, match=rf"{JUDGE_WEIGHTS}: .*not of the same fit"):
        Judge.load(tmp_path)


def test_another_format_is_told(tmp_path: Path) -> None:
    save(tmp_path)
    raw = json.loads((tmp_path / JUDGE_CONFIG).read_text())
    (tmp_path / JUDGE_CONFIG).write_text(json.dumps(raw | {"format": 99}))
    with pytest.raises(LODEError, match="format 99, this version reads 1 and 2"):
        Judge.load(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: [],
        lambda raw: 3,
        lambda raw: raw | {"width": 8},
        lambda raw: {key: value for key, value in raw.items() if key != "scales"},
    ],
)
def test_a_config_of_another_kind_is_told(tmp_path: Path, spoil: Callable[[Any], Any]) -> None:
    save(tmp_path)
    raw = json.loads((tmp_path / JUDGE_CONFIG).read_text())
    (tmp_path / JUDGE_CONFIG).write_text(json.dumps(spoil(raw)))
    with pytest.raises(LODEError, match="run `lode fit`"):
        Judge.load(tmp_path)


def test_the_file_names_the_openings_two_forms(tmp_path: Path) -> None:
    """Runs are named after what this file says, so its keys are not to change."""
    judge = make().float()
    judge.config = replace(judge.config, opening=Opening((0.1, 0.05), ("cosine", 0.1)), histories=7)
    judge.save(tmp_path)
    raw = json.loads((tmp_path / JUDGE_CONFIG).read_text())
    assert (raw["plan"], raw["schedule"]) == ([0.1, 0.05], ["cosine", 0.1])
    names = "error format hidden histories members plan scales schedule seal weights_sha256"
    assert sorted(raw) == [*names.split(), "width"]


def test_the_config_survives_json_also_before_its_error_is_measured() -> None:
    for error in (0.01, math.inf):
        config = JudgeConfig(SCALES, opening=Opening((0.1, 0.2), ("cosine", 0.1)), error=error)
        assert JudgeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
