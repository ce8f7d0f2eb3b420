"""The model: shapes, what the encoder may and may not depend on, and what `load` refuses."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.lode import kernels
from components.lode.channels import Channels
from components.lode.errors import LODEError
from components.lode.model import EULER_STEPS, LODE, LODEConfig, slope
from components.lode.names import CONFIG, WEIGHTS

CHANNELS = Channels(-0.01, 1e-4, (1e-9, 0.1), (-0.5, 0.6, -4.0), (1.2, 0.2, 2.0))
CONFIGURATION = LODEConfig(CHANNELS, points=20, initial_schedule=(0.1, 0.05) * 10)
SERIES = np.stack((np.linspace(2, 0.5, 6), np.linspace(0.1, 0.8, 6), np.full(6, 0.01)), -1)[
    None
].repeat(3, 0)
TIMES = np.arange(1, 7) / 20


def model(**changes: object) -> LODE:
    torch.manual_seed(0)
    return LODE(replace(CONFIGURATION, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("encoder", ["ode-rnn", "gru"])
@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_every_architecture_predicts_and_has_gradients_everywhere(
    encoder: str, solver: str
) -> None:
    lode = model(encoder=encoder, solver=solver, latent=7, hidden=5)
    at = np.linspace(0, 2, 9)
    assert lode.predict(TIMES, SERIES, at).shape == (3, 9, 3)
    t = torch.as_tensor(TIMES, dtype=torch.float32).expand(3, -1)
    z0 = lode.encode(t, torch.randn(3, 6, 3))
    assert z0.shape == (3, 7)
    lode.decode(z0, at).square().sum().backward()
    for name, parameter in lode.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_both_solvers_decode_the_same_trajectories() -> None:
    lode, at = model(), np.linspace(0, 1.8, 12)
    z0 = torch.randn(4, 20)
    oracle = model(solver="dopri5")
    assert torch.allclose(lode.decode(z0, at), oracle.decode(z0, at), atol=2e-3)


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_decoding_is_reading_the_latents_out(solver: str) -> None:
    lode = model(solver=solver).double()
    z0, at = torch.randn(4, 20, dtype=torch.float64), np.array([0.0, 0.013, 0.5, 1.0, 1.37])
    assert torch.allclose(lode.decode(z0, at), lode.readout(lode.latents(z0, at)), atol=1e-12)


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_one_solve_gives_the_fit_all_it_needs(solver: str) -> None:
    lode = model(solver=solver).double()
    z0, at = torch.randn(4, 20, dtype=torch.float64), np.linspace(0.1, 1, 10)
    along = np.array([0, 3, 9])
    decoded, latents, local = lode.decode_along(z0, at, along)
    assert torch.equal(decoded, lode.decode(z0, at))
    # torchdiffeq passes the times in float64, but its steps differ with the times asked for
    assert torch.allclose(latents, lode.latents(z0, at[along]), atol=1e-3)
    assert local.shape == ((31, 4, 20) if solver == "rk4" else (0, 4, 20))


def test_the_encoder_reads_from_the_latest_to_the_earliest_and_back_to_zero() -> None:
    lode = model().double()
    encoder = lode.encoder
    times = torch.tensor([[0.3, 0.35, 0.5]], dtype=torch.float64)
    x = torch.randn(1, 3, 3, dtype=torch.float64)
    drift, h = encoder.drift, torch.zeros(1, 20, dtype=torch.float64)
    assert drift is not None
    read = torch.cat((times[..., None], x, slope(times, x)), -1)
    for j, gap in ((2, 0.0), (1, 0.15), (0, 0.05)):
        h = h - gap * drift(h)
        h = encoder.cell(read[:, j], h)
    for _ in range(EULER_STEPS):
        h = h - 0.3 / EULER_STEPS * drift(h)
    assert torch.allclose(lode.encode(times, x), encoder.readout(h), atol=1e-12)


def test_the_gru_encoder_has_no_ode_between_observations() -> None:
    lode = model(encoder="gru").double()
    x = torch.randn(1, 3, 3, dtype=torch.float64)
    times = torch.tensor([[0.3, 0.35, 0.5]], dtype=torch.float64)
    h = torch.zeros(1, 20, dtype=torch.float64)
    read = torch.cat((times[..., None], x, slope(times, x)), -1)
    for j in (2, 1, 0):
        h = lode.encoder.cell(read[:, j], h)
    assert torch.allclose(lode.encode(times, x), lode.encoder.readout(h), atol=1e-12)
    assert lode.encoder.drift is None


def test_the_slope_is_the_rates_change_by_time() -> None:
    times = torch.tensor([[0.1, 0.2, 0.4], [0.5, 0.6, 0.7]])
    x = torch.zeros(2, 3, 3)
    x[0, :, 2] = torch.tensor([1.0, 0.8, 0.2])  # -2 and -3 in a training length
    x[:, :, :2] = torch.randn(2, 3, 2)  # neither the loss's nor the metric's is read
    expected = torch.tensor([-10.0, -10.0, -15.0]).asinh()
    assert torch.allclose(slope(times, x)[0, :, 0], expected, atol=1e-5)
    assert torch.equal(slope(times, x)[1], torch.zeros(3, 1))
    assert torch.equal(slope(times[:, :1], x[:, :1]), torch.zeros(2, 1, 1))


def test_windows_of_a_batch_do_not_see_each_other() -> None:
    lode = model()
    t, x = torch.rand(4, 5).sort(1).values, torch.randn(4, 5, 3)
    together = lode.encode(t, x)
    alone = torch.cat([lode.encode(t[i : i + 1], x[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(("length", "most"), [(7, 3), (6, 3), (9, 4)])
def test_a_long_window_is_read_as_the_means_of_its_stretches(length: int, most: int) -> None:
    lode = model(most_read=most)
    times = torch.linspace(0.05, 0.9, length).expand(2, -1)
    x = torch.randn(2, length, 3)
    stretch = np.arange(length) * most // length
    bounds = [0, *(np.flatnonzero(np.diff(stretch)) + 1)]
    cut = [slice(a, b) for a, b in zip(bounds, [*bounds[1:], length], strict=True)]
    short_times = torch.stack([times[:, s].mean(1) for s in cut], 1)
    short = torch.stack([x[:, s].mean(1) for s in cut], 1)
    assert short.shape == (2, most, 3)
    assert torch.allclose(lode.encode(times, x), lode.encoder(short_times, short), atol=1e-6)


def test_a_lode_of_before_reads_what_it_did(tmp_path: Path) -> None:
    old = model(most_read=50, reads_slope=False)
    old.save(tmp_path)
    raw = json.loads((tmp_path / CONFIG).read_text())
    del raw["most_read"], raw["reads_slope"], raw["metric_goal"], raw["seal"]
    raw["format"] = 1
    (tmp_path / CONFIG).write_text(json.dumps(raw))
    loaded, at = LODE.load(tmp_path), np.linspace(0, 1, 5)
    assert loaded.config == old.config
    assert loaded.encoder.cell.input_size == 4  # as the authors' does
    assert np.array_equal(loaded.predict(TIMES, SERIES, at), old.predict(TIMES, SERIES, at))


def test_coarse_is_fewer_steps_and_never_more_than_the_models_own() -> None:
    z0, at = torch.randn(4, 20), np.linspace(0, 1, 5)
    few, own = (model(solver_steps=steps).double() for steps in (16, 32))
    assert np.array_equal(
        own.decode_series(z0.double(), at, coarse=True), few.decode_series(z0.double(), at)
    )
    assert not np.array_equal(
        own.decode_series(z0.double(), at, coarse=True), own.decode_series(z0.double(), at)
    )
    fewer = model(solver_steps=8)
    assert np.array_equal(fewer.decode_series(z0, at, coarse=True), fewer.decode_series(z0, at))


def test_save_and_load_give_the_same_predictions(tmp_path: Path) -> None:
    lode = model(fit={"best_error": 0.25})
    lode.save(tmp_path / "lode")
    state = torch.random.get_rng_state()
    loaded = LODE.load(tmp_path / "lode")
    assert torch.equal(torch.random.get_rng_state(), state)  # or loading would change a run
    at = np.linspace(0, 2, 5)
    assert np.array_equal(loaded.predict(TIMES, SERIES, at), lode.predict(TIMES, SERIES, at))
    assert loaded.config == lode.config
    assert loaded.config.fit == {"best_error": 0.25}
    assert {path.name for path in (tmp_path / "lode").iterdir()} == {WEIGHTS, CONFIG}


def test_an_interrupted_save_is_seen(tmp_path: Path) -> None:
    model().save(tmp_path)
    old = (tmp_path / CONFIG).read_text()
    torch.manual_seed(1)
    LODE(CONFIGURATION).save(tmp_path)
    (tmp_path / CONFIG).write_text(old)  # as if the crash came between weights and config
    with pytest.raises(LODEError, match="not of the same fit"):
        LODE.load(tmp_path)


def test_missing_files_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LODEError, match=r"no such file; run `lode fit` first"):
        LODE.load(tmp_path / "nowhere")
    model().save(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(LODEError, match=rf"{WEIGHTS}: no such file; run `lode fit` first"):
        LODE.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100, -8])
def test_truncated_weights_are_refused(tmp_path: Path, keep: int) -> None:
    model().save(tmp_path)
    payload = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(payload[:keep])
    with pytest.raises(LODEError, match=rf"{WEIGHTS}: .*truncated.*run `lode fit` again"):
        LODE.load(tmp_path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    model(latent=8).save(tmp_path / "other")
    model().save(tmp_path / "mine")
    payload = (tmp_path / "other" / WEIGHTS).read_bytes()
    (tmp_path / "mine" / WEIGHTS).write_bytes(payload)
    raw = json.loads((tmp_path / "mine" / CONFIG).read_text())
    raw |= {"format": 1, "weights_sha256": hashlib.sha256(payload).hexdigest()}
    (tmp_path / "mine" / CONFIG).write_text(json.dumps(raw))
    with pytest.raises(LODEError, match=r"another architecture: encoder\.readout\.bias is \(8,\)"):
        LODE.load(tmp_path / "mine")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 99}, "format 99, this version reads 1 and 2"),
        ({"format": None}, "format None"),
        ({"solver": "euler"}, "unknown solver 'euler'; known: rk4, dopri5"),
        ({"encoder": "lstm"}, "unknown encoder 'lstm'"),
        ({"latent": 0}, "latent = 0 must be"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    model().save(tmp_path)
    raw = json.loads((tmp_path / CONFIG).read_text()) | change
    (tmp_path / CONFIG).write_text(json.dumps(raw))
    with pytest.raises(LODEError, match=message):
        LODE.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_config_that_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    model().save(tmp_path)
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(LODEError, match=r"run `lode fit` again"):
        LODE.load(tmp_path)


def test_a_config_without_a_key_names_it(tmp_path: Path) -> None:
    model().save(tmp_path)
    raw = json.loads((tmp_path / CONFIG).read_text())
    del raw["initial_schedule"]
    (tmp_path / CONFIG).write_text(json.dumps(raw))
    with pytest.raises(LODEError, match="initial_schedule"):
        LODE.load(tmp_path)


def test_what_is_not_finite_is_never_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        model(fit={"best_error": math.nan}).save(tmp_path)


def test_the_fast_scan_is_what_the_encoder_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    lode, t, x = model(), torch.rand(4, 5).sort(1).values, torch.randn(4, 5, 3)
    fast = lode.encode(t, x)
    monkeypatch.setattr(kernels, "scan", kernels.reference_scan)
    assert torch.allclose(lode.encode(t, x), fast, atol=1e-6)
