"""The fit: it learns, repeats itself bit for bit, survives a kill, and names what it cannot use."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.evaluation.ranking import best_configuration
from components.lode import fit as fit_module
from components.lode import table_a1
from components.lode.channels import LR, METRIC, Channels
from components.lode.errors import LODEError
from components.lode.fit import CHECKPOINT, FitResult, fit, one_cycle
from components.lode.fit_data import held_out_runs
from components.lode.judge_fit import Runs, fit_judge
from components.lode.model import LODE, LODEConfig
from components.lode.names import CONFIG, WEIGHTS
from components.lode.penalties import error_penalty, path_length
from components.lode.scheduler import LODEScheduler
from components.lode.settings import Architecture, FitSettings, JudgeSettings
from components.training.history import History, digest, read_histories

SHORT = FitSettings(updates=180, batch_size=100, peak_lr=0.02)


@pytest.fixture(scope="module", autouse=True)
def check_often() -> Iterator[None]:
    """Checkpoints every 60 updates, so that short fits have some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "CHECK_EVERY", 60)
        yield


@pytest.fixture(scope="module")
def fitted(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    folder = tmp_path_factory.mktemp("lode")
    return folder, fit(read_histories(stored), folder=folder, mu=4, settings=SHORT)


def test_it_learns_what_is_there_to_learn(fitted: tuple[Path, FitResult]) -> None:
    _, result = fitted
    errors = result.summary["table_a1"]
    for share in ("5%", "50%"):
        for split, runs in (("fitted", 12), ("held_out", 6)):
            assert errors[share][split]["train_loss"]["runs"] == runs
            assert errors[share][split]["train_loss"]["mean"] < 0.25
            assert errors[share][split]["val_metric"]["mean"] < 0.25
    assert result.summary["rank"]["all"]["of"] == 18
    assert result.summary["rank"]["held_out"]["of"] == 6
    first, last = result.summary["errors"][0][1], result.summary["errors"][-1][1]
    assert last < first


def test_what_is_saved_is_the_result(
    fitted: tuple[Path, FitResult], histories: list[History]
) -> None:
    folder, result = fitted
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG}
    loaded = LODE.load(folder)
    assert all(
        torch.equal(value, loaded.state_dict()[name])
        for name, value in result.lode.state_dict().items()
    )
    config = loaded.config
    assert (config.task, config.points) == ("mnist1d-cnn", 30)
    assert config.histories_digest == digest(histories)
    assert config.fit == json.loads(json.dumps(result.summary))
    assert config.fit["fitted"] == 12 and config.fit["held_out"] == 6


def test_the_initial_schedule_is_that_of_the_best_configuration(
    fitted: tuple[Path, FitResult], histories: list[History]
) -> None:
    final: dict[Any, list[float]] = {}
    for history in histories:
        last = history.points["val_metric"].iloc[-1]
        final.setdefault(history.configuration, []).append(float(last))
    best = max(final, key=lambda configuration: np.mean(final[configuration]))
    expected = next(h for h in histories if h.configuration == best).points["lr"]
    assert fitted[1].lode.config.initial_schedule == tuple(expected)


def test_the_same_fit_gives_the_same_bytes(
    fitted: tuple[Path, FitResult], histories: list[History], tmp_path: Path
) -> None:
    torch.manual_seed(123)  # whatever was drawn before
    state = torch.random.get_rng_state()
    fit(histories, folder=tmp_path, mu=4, settings=SHORT)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name in (WEIGHTS, CONFIG):
        assert (tmp_path / name).read_bytes() == (fitted[0] / name).read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from components.lode import fit as module
from components.lode.settings import FitSettings
from components.training.history import read_histories

def kill(done, error):
    os.kill(os.getpid(), signal.SIGKILL)

module.CHECK_EVERY = 60
settings = FitSettings(updates=180, batch_size=100, peak_lr=0.02)
module.fit(read_histories(Path(sys.argv[1])), folder=Path(sys.argv[2]), mu=4, settings=settings,
           progress=kill)
"""


def test_a_killed_fit_continues_to_the_same_bytes(
    fitted: tuple[Path, FitResult], stored: Path, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", KILLED, str(stored), str(tmp_path)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT}
    done: list[int] = []
    histories = read_histories(stored)
    fit(histories, folder=tmp_path, mu=4, settings=SHORT, progress=lambda n, _: done.append(n))
    assert done == [120, 180]  # not from 60
    for name in (WEIGHTS, CONFIG):
        assert (tmp_path / name).read_bytes() == (fitted[0] / name).read_bytes()


class StopError(Exception):
    pass


def interrupt(done: int, error: float) -> None:
    raise StopError


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_checkpoint_of_another_fit_or_a_broken_one_is_ignored(
    histories: list[History], tmp_path: Path, damage: bytes | None
) -> None:
    with pytest.raises(StopError):
        fit(histories, folder=tmp_path, mu=4, settings=SHORT, progress=interrupt)
    if damage is not None:
        (tmp_path / CHECKPOINT).write_bytes(damage)
    done: list[int] = []
    other = FitSettings(updates=2, seed=1)
    fit(histories, folder=tmp_path, mu=4, settings=other, progress=lambda n, _: done.append(n))
    assert done == [2]


def test_diverged_runs_are_left_out_and_counted(histories: list[History], tmp_path: Path) -> None:
    first = histories[0]
    cut = first.points.iloc[:7].assign(train_loss=np.nan)
    lost = History(cut, first.meta | {"status": "diverged", "seed": 9, "run_id": "f" * 16})
    result = fit([*histories, lost], folder=tmp_path, mu=4, settings=FitSettings(updates=1))
    assert (result.summary["histories"], result.summary["diverged"]) == (18, 1)


def test_a_metric_that_says_nothing_yet_is_no_error_rate(
    histories: list[History], tmp_path: Path
) -> None:
    for history in histories:
        history.points["val_metric"] = 0.1
    fit(histories, folder=tmp_path, mu=4, settings=FitSettings(updates=1))


def test_histories_of_one_scheduler_are_warned_of(histories: list[History], tmp_path: Path) -> None:
    settings = FitSettings(updates=1)
    alone = [h for h in histories if h.meta["scheduler"] == "cosine"]
    with pytest.warns(UserWarning, match="all 9 histories are of scheduler cosine.*add others"):
        fit(alone, folder=tmp_path, mu=4, settings=settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(histories, folder=tmp_path, mu=4, settings=settings)


def as_pilot(history: History, seed: int, metric: float) -> History:
    """The same run under a plan, with other numbers and a metric that is higher throughout."""
    points = history.points.assign(lr=0.07, val_metric=history.points["val_metric"] + metric)
    meta = history.meta | {
        "scheduler": "plan",
        "peak_lr": None,
        "seed": seed,
        "run_id": f"{seed:016d}",
    }
    return History(points, meta)


def test_pilots_teach_but_do_not_choose_the_initial_schedule(
    fitted: tuple[Path, FitResult], histories: list[History], tmp_path: Path
) -> None:
    pilots = [as_pilot(histories[0], seed, 5.0) for seed in (0, 1, 2)]
    lost = History(pilots[0].points.iloc[:3], pilots[0].meta | {"status": "diverged"})
    result = fit(
        histories, pilots=[*pilots, lost], folder=tmp_path, mu=4, settings=FitSettings(updates=1)
    )
    config = result.lode.config
    assert config.initial_schedule == fitted[1].lode.config.initial_schedule
    assert config.histories_digest == digest([*histories, *pilots, lost]) != digest(histories)
    summary = result.summary
    # Seed 2 is held out, the pilot's too: it shares the luck of the sweep's runs of that seed.
    assert (summary["fitted"], summary["held_out"], summary["diverged"]) == (14, 7, 1)
    assert config.channels != fitted[1].lode.config.channels


def test_fresh_seeds_of_pilots_are_fitted(histories: list[History], tmp_path: Path) -> None:
    pilots = [as_pilot(histories[0], seed, 0.0) for seed in (7, 8)]
    settings = FitSettings(updates=1)
    summary = fit(histories, pilots=pilots, folder=tmp_path, mu=4, settings=settings).summary
    assert (summary["fitted"], summary["held_out"]) == (14, 6)


def test_with_one_seed_a_fifth_of_the_configurations_is_held_out(
    histories: list[History], tmp_path: Path
) -> None:
    """As in a tracker: every configuration once; the best one is fitted, all its runs together."""
    for seed, history in enumerate(histories):
        history.meta["seed"] = seed % 2 if history.configuration[1] == 0.1 else 0
    summary = fit(histories, folder=tmp_path, mu=4, settings=FitSettings(updates=1)).summary
    apart = held_out_runs(histories, 1)
    assert (summary["fitted"], summary["held_out"]) == (18 - len(apart), len(apart))
    kept = {h.configuration for h in histories if h.run_id not in apart}
    assert kept.isdisjoint({h.configuration for h in histories if h.run_id in apart})
    best = best_configuration(histories)
    assert apart and (best.scheduler, best.peak_lr) in kept


@pytest.mark.parametrize("spoil", ["direction", "budgets", "lengths", "tasks"])
def test_the_judge_refuses_what_the_lode_refuses(histories: list[History], spoil: str) -> None:
    if spoil == "direction":  # a positive loss as the metric
        for history in histories:
            history.points["val_metric"] = history.points["train_loss"]
    elif spoil == "lengths":
        histories[0].points = histories[0].points.iloc[:20]
        histories[0].meta["points"] = 20
    else:
        key, value = {"budgets": ("updates", 40), "tasks": ("task", "digits-mlp")}[spoil]
        histories[0].meta[key] = value
    message = "val_metric falls as" if spoil == "direction" else f"histories of several {spoil}"
    with pytest.raises(LODEError, match=message):
        Runs.of(histories)


def test_rates_of_exactly_zero_are_fitted(histories: list[History], tmp_path: Path) -> None:
    """As at the end of a cosine of another library, or the start of a warm-up."""
    for history in histories:
        history.points.loc[[0, 29], "lr"] = 0.0
    result = fit(histories, folder=tmp_path, mu=4, settings=FitSettings(updates=20))
    assert all(math.isfinite(error) for _, error in result.summary["errors"])
    assert result.lode.config.channels.lr_range[0] == 0.0
    judge = fit_judge(Runs.of(histories), JudgeSettings(updates=5))
    plan = np.zeros((1, 31))
    plan[0, 1:30] = 0.03
    assert np.isfinite(judge.final_metric(plan)).all() and math.isfinite(judge.config.error)
    for options in ({"judge": judge}, {"controller": "paper"}):
        run: Any = LODEScheduler(result.lode, updates=300, points=30, **options)
        assert all(run.lr(step) > 0 for step in range(300))


def test_without_held_out_seeds_the_last_weights_are_kept(
    histories: list[History], tmp_path: Path
) -> None:
    settings = FitSettings(updates=70, held_out_seeds=0)
    result = fit(histories, folder=tmp_path, mu=4, settings=settings)
    assert result.summary["best_update"] == 70
    assert result.summary["best_error"] is None
    assert result.summary["rank"]["held_out"] is None
    assert "held_out" not in result.summary["table_a1"]["5%"]


def test_a_small_batch_and_the_other_architectures_run(
    histories: list[History], tmp_path: Path
) -> None:
    for encoder, solver in (("gru", "rk4"), ("ode-rnn", "dopri5")):
        folder = tmp_path / f"{encoder}-{solver}"
        settings = FitSettings(updates=3, batch_size=4)
        wanted = Architecture(encoder=encoder, solver=solver)
        fit(histories, folder=folder, mu=4, settings=settings, architecture=wanted)
        config = LODE.load(folder).config
        assert (config.encoder, config.solver) == (encoder, solver)


def _none_completed(histories: list[History]) -> None:
    for history in histories:
        history.meta["status"] = "diverged"


def _two_tasks(histories: list[History]) -> None:
    histories[0].meta["task"] = "fashion-mnist-cnn"


def _two_lengths(histories: list[History]) -> None:
    histories[0].meta["points"] = 20


def _cut(histories: list[History]) -> None:
    histories[0].points = histories[0].points.iloc[:-1]


def _nan(histories: list[History]) -> None:
    histories[0].points.loc[3, "val_metric"] = np.nan


def _two_budgets(histories: list[History]) -> None:
    histories[0].meta["updates"] = 40


def _errors(histories: list[History]) -> None:
    for history in histories:
        history.points["val_metric"] = 1 - history.points["val_metric"]


def _one_run(histories: list[History]) -> None:
    del histories[1:]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda histories: histories.clear(), "none of 0 histories.*run `lode sweep` first"),
        (_none_completed, "none of 18 histories is of a completed run"),
        (_two_tasks, "several tasks: fashion-mnist-cnn, mnist1d-cnn"),
        (_two_lengths, "several lengths: 20, 30"),
        (_two_budgets, "several budgets: 300, 40; fit them apart"),
        (_errors, "val_metric falls as the train loss falls.*log its negative"),
        (_cut, r"\w+ 0\.\d+ seed \d \(\w+\) has 29 of 30 points; quarantine it"),
        (_nan, r"\w+ 0\.\d+ seed \d \(\w+\) has values that are not finite"),
        (_one_run, "held_out_seeds = 1 leaves none of 1 runs of one configuration to fit"),
    ],
)
def test_histories_that_cannot_be_fitted_are_named(
    histories: list[History],
    tmp_path: Path,
    spoil: Callable[[list[History]], None],
    message: str,
) -> None:
    spoil(histories)
    with pytest.raises(LODEError, match=message):
        fit(histories, folder=tmp_path, mu=4, settings=SHORT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mu", [1, 31])
def test_a_window_longer_than_the_histories_is_refused(
    histories: list[History], tmp_path: Path, mu: int
) -> None:
    with pytest.raises(LODEError, match=f"mu = {mu} must lie between 2 and"):
        fit(histories, folder=tmp_path, mu=mu, settings=SHORT)


@pytest.mark.parametrize("held_out", [1, 0])
def test_a_fit_that_has_run_away_is_no_fit(
    held_out: int, histories: list[History], tmp_path: Path
) -> None:
    wild = FitSettings(updates=30, peak_lr=10.0, held_out_seeds=held_out)
    said = r"the fit has failed: its error on \w+(-out)? runs is .*lower lode\.fit\.peak_lr"
    with pytest.raises(LODEError, match=said):
        fit(histories, folder=tmp_path, mu=4, settings=wild)
    assert not (tmp_path / WEIGHTS).exists()
    with pytest.raises(LODEError, match=said):  # also from where it left off
        fit(histories, folder=tmp_path, mu=4, settings=wild)


def test_a_field_that_dopri5_cannot_follow_is_told(
    histories: list[History], tmp_path: Path
) -> None:
    wild, exact = FitSettings(updates=30, peak_lr=10.0), Architecture(solver="dopri5")
    with pytest.raises(LODEError, match=r"dopri5 cannot follow .*lower lode\.fit\.peak_lr"):
        fit(histories, folder=tmp_path, mu=4, settings=wild, architecture=exact)


def test_a_fit_that_explodes_says_so(histories: list[History], tmp_path: Path) -> None:
    wild = FitSettings(updates=50, peak_lr=1e12)
    with pytest.raises(LODEError, match=r"no longer finite at update \d+; lower"):
        fit(histories, folder=tmp_path, mu=4, settings=wild)


def test_one_cycle_rises_and_falls() -> None:
    rates = [one_cycle(update, 1000, 0.01) for update in range(1001)]
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[300] == pytest.approx(0.01)
    assert rates[1000] == pytest.approx(0.01 / 25_000)
    assert np.argmax(rates) == 300
    assert rates[150] == pytest.approx((0.01 + 0.01 / 25) / 2)


def test_path_length_is_the_sum_of_segments_in_units_of_the_spread() -> None:
    # Two paths along the first axis, one straight, one there and back; the second axis is still.
    path = torch.zeros(2, 5, 2)
    path[0, :, 0] = torch.arange(5.0)
    path[1, :, 0] = torch.tensor([0.0, 4.0, 0.0, 4.0, 0.0])
    spread = path[..., 0].std(correction=0)
    assert torch.allclose(path_length(path), torch.tensor([4.0, 16.0]) / spread, atol=1e-4)
    assert torch.allclose(path_length(100 * path), path_length(path), atol=1e-3)


def test_a_long_runs_path_is_as_long_along_fewer_points() -> None:
    times = np.arange(1, 601) / 600
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lode = LODE(
            LODEConfig(Channels.measure([np.random.default_rng(0).random((5, 3))]), points=600)
        )
        for parameter in lode.field.parameters():
            parameter.data.mul_(8)  # paths that bend
        z0 = torch.randn(8, 20)
    few = np.linspace(0, 599, fit_module.PATH_POINTS).round().astype(int)
    with torch.no_grad():
        _, latents, _ = lode.decode_along(z0, times, few)
        assert latents.shape == (8, 128, 20)
        full = path_length(lode.latents(z0, times))
    straight = (latents[:, -1] - latents[:, 0]).norm(dim=-1)
    bent = latents.diff(dim=1).norm(dim=-1).sum(1)
    assert (bent > 1.2 * straight).any(), "nothing to lose by fewer points"
    assert torch.allclose(path_length(latents), full, rtol=5e-3)


def test_the_fit_takes_the_path_along_no_more_points_than_it_needs(
    histories: list[History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(fit_module, "PATH_POINTS", 8)  # of 30
    monkeypatch.setattr(
        fit_module, "path_length", lambda path: taken.append(path.shape[1]) or path_length(path)
    )
    fit(histories, folder=tmp_path, mu=4, settings=FitSettings(updates=2))
    assert taken == [8, 8]


def test_the_path_penalty_shortens_paths(histories: list[History], tmp_path: Path) -> None:
    lengths = []
    for penalty in (0.0, 10.0):
        settings = FitSettings(updates=100, peak_lr=0.01, path_penalty=penalty)
        lode = fit(histories, folder=tmp_path / str(penalty), mu=4, settings=settings).lode
        series = np.stack([h.series() for h in histories])
        times = np.arange(1, 31) / 30
        latents = lode.latents(lode.encode_series(times, series), times)
        lengths.append(float(path_length(latents.detach()).mean()))
    assert lengths[1] < 0.8 * lengths[0]


def test_windows_are_of_the_lengths_that_are_used(
    histories: list[History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 30 points the scheduler reads 4, and Table A1 shows 2 (5 %) and 15 (50 %)."""
    drawn: list[int] = []
    begun: list[bool] = []
    encode = LODE.encode

    def spy(lode: LODE, times: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            drawn.append(times.shape[1])
            begun.extend((times[:, 0] * 30 < 1.5).tolist())
        return encode(lode, times, x)

    monkeypatch.setattr(LODE, "encode", spy)
    fit(histories, folder=tmp_path, mu=4, settings=FitSettings(updates=200))
    for length in (2, 4, 15, 30):
        assert drawn.count(length) > 20  # a fifth each
    assert len(set(drawn)) > 10 and np.mean(begun) > 0.5


def test_a_cosine_is_told_from_a_constant_by_its_first_points(
    histories: list[History], tmp_path: Path
) -> None:
    # By 2 of 30 points a cosine has fallen by 1 %: 0.4 without the slope, on three seeds.
    summary = fit(histories, folder=tmp_path, mu=4, settings=FitSettings(updates=300)).summary
    assert summary["table_a1"]["5%"]["held_out"]["log_lr"]["mean"] < 0.1


def test_the_error_penalty_is_in_units_of_the_spread() -> None:
    path = torch.zeros(2, 4, 2)
    path[0, :, 0], path[1, :, 0] = 3.0, -3.0  # a spread of 3, and of nothing in the second axis
    errors = torch.zeros(5, 2, 2)
    errors[0, 0, 0] = 6.0
    assert error_penalty(errors, path).item() == pytest.approx(4 / 10)
    assert error_penalty(10 * errors, 10 * path).item() == pytest.approx(4 / 10)
    assert error_penalty(errors[:0], path).item() == 0


def test_the_error_penalty_keeps_the_grid_fine_enough(
    histories: list[History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors, coarse = [], Architecture(solver_steps=4)
    for penalty in (0.0, fit_module.ERROR_PENALTY):
        monkeypatch.setattr(fit_module, "ERROR_PENALTY", penalty)
        settings = FitSettings(updates=300, path_penalty=0.0)
        folder = tmp_path / str(penalty)
        lode = fit(histories, folder=folder, mu=4, settings=settings, architecture=coarse).lode
        series = np.stack([h.series() for h in histories])
        times = np.arange(1, 31) / 30
        z0 = lode.encode_series(times, series)
        with torch.no_grad():
            errors.append(float((lode.decode(z0, times) - lode.decode(z0, times, 64)).std()))
    assert errors[1] < 0.5 * errors[0]


class Exact:
    """A LODE that knows the truth up to a given error; knows nothing of the `unknown` runs."""

    def __init__(self, lode: LODE, series: np.ndarray, offset: np.ndarray) -> None:
        self.config, self.series, self.offset = lode.config, series, offset

    def predict(self, times: np.ndarray, series: np.ndarray, at: np.ndarray) -> np.ndarray:
        rows = [int(np.abs(self.series[:, 0] - one[0]).sum(1).argmin()) for one in series]
        columns = np.round(at * self.series.shape[1]).astype(int) - 1
        return self.series[rows][:, columns] + self.offset


def test_table_a1_and_rank_by_hand(
    fitted: tuple[Path, FitResult], histories: list[History]
) -> None:
    series = np.stack([h.series() for h in histories])
    held_out = np.array([h.meta["seed"] == 2 for h in histories])
    metric = series[..., METRIC]
    knows: Any = Exact(fitted[1].lode, series, np.array([0.0, 0.1, 0.0]))
    names = np.array([h.meta["scheduler"] for h in histories])
    found = table_a1.report(knows, series, held_out, names)
    table = found["table_a1"]["50%"]["held_out"]
    assert table["val_metric"]["mean"] == pytest.approx(0.1**2 / metric.var())
    assert table["val_metric"]["std"] == pytest.approx(0, abs=1e-9)
    assert table["train_loss"]["mean"] == table["log_lr"]["mean"] == 0
    assert set(found["by_scheduler"]) == set(names)
    of_one = table_a1.report(Exact(fitted[1].lode, series, np.zeros(3)), series, held_out, names)
    for name, own in found["by_scheduler"].items():
        runs = int((held_out & (names == name)).sum())
        assert own["5%"]["held_out"]["val_metric"]["runs"] == runs > 0
        # relative to the variance over all runs, so that schedulers can be compared
        assert own["5%"]["held_out"]["val_metric"]["mean"] == pytest.approx(0.1**2 / metric.var())
        assert of_one["by_scheduler"][name]["5%"]["fitted"]["val_metric"]["mean"] == 0
    final = metric[:, -1]
    best = {"rank": 1, "of": 18, "metric": final.max(), "best": final.max()}
    assert table_a1.selected_trial(knows, series) == pytest.approx(best)
    backwards = series.copy()
    backwards[..., METRIC] *= -1
    knows = Exact(fitted[1].lode, backwards, np.zeros(3))
    knows.series[:, 0] = series[:, 0]  # it must recognise the runs it is shown
    assert table_a1.selected_trial(knows, series)["rank"] == 18
    assert LR == 2
