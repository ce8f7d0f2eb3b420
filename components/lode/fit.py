"""Fit a LODE to a sweep's histories (paper 3.1 and A.3).

Deterministic on the CPU: the same histories and settings give the same weights bit for bit, also
when the fit was killed and continued from its checkpoint.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.evaluation.ranking import best_configuration, best_validation
from components.lode import table_a1
from components.lode.channels import LOSS, METRIC, Channels
from components.lode.errors import LODEError
from components.lode.model import LODE, LODEConfig
from components.storage.files import atomic_path
from components.training.history import History, digest
from components.training.threads import one_thread

CHECK_EVERY = 250  # updates between looks at the held-out runs, each with a checkpoint
CHECKPOINT = "fit.checkpoint.safetensors"
# A schedule is judged by what the metric does; weighted like the others it generalises worst.
METRIC_WEIGHT = 3.0
# Of the solver's local error (Pal et al. 2021, Opening the Blackbox): few log points leave the
# field free to become so steep between them that the grid cannot follow it.
ERROR_PENALTY = 100.0
# At most so many log points carry the latents' path: several to a solver step, whose cubic needs no
# more, and with T = 600 the update takes half the time.
PATH_POINTS = 128
RECIPE = 10  # raised when a change makes the same settings fit differently: old checkpoints void


@dataclass(frozen=True)
class FitConfig:
    """The LODE's own training; see `params.yaml`, section `lode.fit`, for how to choose."""

    updates: int = 4000
    batch_size: int = 100
    peak_lr: float = 2e-2
    path_penalty: float = 0.01
    held_out_seeds: int = 1
    seed: int = 0


@dataclass(frozen=True)
class FitResult:
    """`lode`: the fitted model, also saved. `summary`: what `config.json` holds under `fit`.
    `seconds`: what this call took."""

    lode: LODE
    summary: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class _Data:
    """Completed histories: `series` (R, T, 3) in original units, `held_out` (R,) bool."""

    series: np.ndarray
    held_out: np.ndarray
    diverged: int


def fit(
    histories: Sequence[History],
    *,
    folder: Path,
    pilots: Sequence[History] = (),
    mu: int,
    settings: FitConfig | None = None,
    encoder: str = "ode-rnn",
    latent: int = 20,
    hidden: int = 20,
    solver: str = "rk4",
    solver_steps: int = 32,
    checkpoint: Path | None = None,
    progress: Callable[[int, float], None] = lambda done, error: None,
) -> FitResult:
    """Fit and save a LODE.

    Args:
        histories: a sweep's runs of one task and length T; diverged ones are left out.
        pilots: more runs to learn from; they play no part in the choice of the initial schedule.
        folder: where `lode.safetensors` and `config.json` go.
        checkpoint: folder of the checkpoint while the fit runs; None: `folder`. One left there by
            a killed fit of the same histories and settings is continued, any other is ignored.
        mu: window length in log points that the scheduler will encode.
        encoder, latent, hidden, solver, solver_steps: the architecture.
        progress: called as (updates done, held-out error) at every check.

    Raises:
        LODEError: no usable history, several tasks or lengths, values that are not finite, a
            held-out split that leaves nothing to fit, or a loss that is no longer finite.
    """
    settings = settings or FitConfig()
    began = time.perf_counter()
    data = _collect(histories, pilots, settings.held_out_seeds)
    config = LODEConfig(
        channels=Channels.measure(list(data.series[~data.held_out])),
        points=data.series.shape[1],
        updates=int(histories[0].meta["updates"]),
        encoder=encoder,
        latent=latent,
        hidden=hidden,
        solver=solver,
        solver_steps=solver_steps,
        task=histories[0].meta["task"],
        histories_digest=digest([*histories, *pilots]),
        initial_schedule=_initial_schedule(histories),
    )
    if not 2 <= mu <= config.points:
        raise LODEError(f"mu = {mu} must lie between 2 and the histories' {config.points} points")
    with one_thread():
        training = _Training(config, settings, data, mu, Path(checkpoint or folder))
        training.run(progress)
        lode = training.best_model()
        summary = training.summary() | table_a1.report(lode, data.series, data.held_out)
    lode.config = replace(config, fit=summary)
    lode.save(folder)
    training.path.unlink(missing_ok=True)
    return FitResult(lode, summary, time.perf_counter() - began)


def one_cycle(update: int, updates: int, peak: float) -> float:
    """The paper's schedule of the fit: cosine up from peak / 25 over the first 30 %, then down
    to peak / 25,000 (the authors' final division of 1,000)."""
    low, turn = peak / 25, max(1, int(0.3 * updates))
    if update < turn:
        return peak + (low - peak) / 2 * (1 + math.cos(math.pi * update / turn))
    done = (update - turn) / max(1, updates - turn)
    return low / 1000 + (peak - low / 1000) / 2 * (1 + math.cos(math.pi * min(done, 1.0)))


def spread(latents: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each latent dimension over batch and time, (B, K, D) -> (D,); a
    constant to the gradient, else shrinking everything would be the cheapest way to be small."""
    values = latents.detach()
    # Not `std`, which takes several times as long over leading dimensions.
    return (values - values.mean((0, 1))).square().mean((0, 1)).sqrt().clamp(min=1e-6)


def path_length(latents: torch.Tensor) -> torch.Tensor:
    """Length of each latent path, (B, K, D) -> (B,), in units of the batch's spread.

    The intended form of the path penalty: the sum of sqrt(dz' diag(q)⁻¹ dz) over the segments,
    q the variance of each latent dimension.
    """
    steps = latents.diff(dim=1) / spread(latents)
    return (steps.square().sum(-1) + 1e-12).sqrt().sum(-1)


def error_penalty(errors: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Mean square of the solver's local errors (n, B, D), in units of the latents' (B, K, D)
    spread, summed over dimensions; 0 where there are none."""
    return (errors / spread(latents)).square().sum() / max(1, errors[..., 0].numel())


class _Training:
    """The state of a fit: model, Adam, best weights so far, updates done."""

    def __init__(
        self, config: LODEConfig, settings: FitConfig, data: _Data, mu: int, folder: Path
    ) -> None:
        self.config, self.settings, self.mu = config, settings, mu
        self.path = folder / CHECKPOINT
        self.counts = {
            "histories": len(data.series),
            "fitted": int((~data.held_out).sum()),
            "held_out": int(data.held_out.sum()),
            "diverged": data.diverged,
        }
        points = config.points
        self.grid = np.arange(1, points + 1) / points
        self.times = torch.as_tensor(self.grid, dtype=torch.float32)
        self.along = np.linspace(0, points - 1, min(points, PATH_POINTS)).round().astype(int)
        standard = torch.as_tensor(config.channels.forward(data.series), dtype=torch.float32)
        held_out = torch.as_tensor(data.held_out)
        self.fitted, self.judged = standard[~held_out], standard[held_out]
        self.weights = torch.ones(3)
        self.weights[METRIC] = METRIC_WEIGHT
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.model = LODE(config)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.peak_lr, fused=True)
        self.done, self.best_update = 0, 0
        self.best_error: float | None = None  # None also where no run is held out
        self.best = self._weights()
        self.errors: list[list[float]] = []  # [update, held-out error], oldest first

    def run(self, show: Callable[[int, float], None]) -> None:
        self._restore()
        while self.done < self.settings.updates:
            self._update()
            if self.done % CHECK_EVERY == 0 or self.done == self.settings.updates:
                self._check()
                self._write()
                show(self.done, self.errors[-1][1] if self.errors else math.nan)

    def best_model(self) -> LODE:
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.best)
        return model.eval()

    def summary(self) -> dict[str, Any]:
        return {
            "settings": {**asdict(self.settings), "mu": self.mu},
            **self.counts,
            "best_update": self.best_update,
            "best_error": self.best_error,
            "errors": self.errors,
        }

    def _update(self) -> None:
        settings = self.settings
        # A generator per update, not one carried along: a continued fit draws the same.
        rng = np.random.default_rng([settings.seed, self.done])
        times, window, whole = self._batch(rng)
        encoded = self.model.encode(times, window)
        decoded, latents, local = self.model.decode_along(encoded, self.grid, self.along)
        error = (self.weights * (decoded - whole).square()).sum((1, 2)) / 2
        # Per point, so that neither the step size nor α depends on how often runs are logged.
        penalty = settings.path_penalty * path_length(latents) if settings.path_penalty else 0.0
        loss = (error + penalty).mean() / self.config.points
        loss = loss + ERROR_PENALTY * error_penalty(local, latents)
        if not math.isfinite(loss.item()):
            raise LODEError(
                f"the fit's loss is no longer finite at update {self.done + 1}; "
                "lower lode.fit.peak_lr or raise lode.solver_steps"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = one_cycle(
            self.done, settings.updates, settings.peak_lr
        )
        self.optimizer.step()
        self.done += 1

    def _batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Times (B, L) and windows (B, L, 3) to encode, whole series (B, T, 3) to decode.

        One length per update, so that a batch stacks: what the scheduler will encode, what
        Table A1 shows (of a run of few points that is a shorter window than the scheduler's),
        everything, or anything. Half of the windows begin the run.
        """
        points, runs = self.config.points, len(self.fitted)
        few, half = (table_a1.window_points(share, points) for share in table_a1.OBSERVED)
        lengths = (self.mu, few, half, points, int(rng.integers(2, points + 1)))
        length = lengths[rng.integers(len(lengths))]
        size = min(self.settings.batch_size, runs)
        rows = np.arange(runs) if size == runs else rng.choice(runs, size, replace=False)
        starts = rng.integers(0, points - length + 1, size) * (rng.random(size) < 0.5)
        columns = torch.as_tensor(starts[:, None] + np.arange(length))
        whole = self.fitted[torch.as_tensor(rows)]
        return self.times[columns], whole.gather(1, columns[..., None].expand(-1, -1, 3)), whole

    def _check(self) -> None:
        if not len(self.judged):  # nothing to choose by: the last weights
            self.best_update, self.best = self.done, self._weights()
            return
        error = self._held_out_error()
        self.errors.append([self.done, error])
        if self.best_error is None or error < self.best_error:
            self.best_update, self.best_error, self.best = self.done, error, self._weights()

    @torch.no_grad()
    def _held_out_error(self) -> float:
        """Mean squared standardised error over windows of the lengths that matter."""
        points, mu = self.config.points, self.mu
        seen = (table_a1.window_points(share, points) for share in (*table_a1.OBSERVED, 1.0))
        windows = {(share * (points - mu) // 4, mu): None for share in range(4)}
        windows |= dict.fromkeys((0, length) for length in seen)  # each once, in this order
        total = 0.0
        for start, length in windows:
            part = slice(start, start + length)
            times = self.times[part].expand(len(self.judged), -1)
            z0 = self.model.encode(times, self.judged[:, part])
            total += float((self.model.decode(z0, self.grid) - self.judged).square().mean())
        return total / len(windows)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _fingerprint(self) -> str:
        facts = {
            "recipe": RECIPE,
            "torch": torch.__version__,
            "settings": self.summary()["settings"],
            "config": self.config.to_dict(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _write(self) -> None:
        from safetensors.torch import save_file

        tensors = {f"model.{name}": value for name, value in self._weights().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{name}.{key}"] = value.contiguous()
        progress = {
            "fingerprint": self._fingerprint(),
            "done": self.done,
            "best_update": self.best_update,
            "best_error": self.best_error,
            "errors": self.errors,
        }
        # Numbers and tensors in one file: there is no moment at which they disagree.
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, {"progress": json.dumps(progress)})

    def _restore(self) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                progress = json.loads(file.metadata()["progress"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError):
            return
        if progress.pop("fingerprint") != self._fingerprint():
            return
        for key, value in progress.items():
            setattr(self, key, value)
        names = self.model.state_dict()
        self.model.load_state_dict({name: tensors[f"model.{name}"] for name in names})
        self.best = {name: tensors[f"best.{name}"] for name in names}
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                key: tensors[f"adam.{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }


def _collect(sweep: Sequence[History], pilots: Sequence[History], held_out_seeds: int) -> _Data:
    completed = [history for history in sweep if history.completed]
    if not completed:
        raise LODEError(
            f"none of {len(sweep)} histories is of a completed run; run `lode sweep` first"
        )
    seeds = sorted({history.meta["seed"] for history in completed})
    completed += [history for history in pilots if history.completed]
    _check(completed)
    last = set(seeds[-held_out_seeds:]) if held_out_seeds else set()
    if len(last) == len(seeds):
        raise LODEError(
            f"held_out_seeds = {held_out_seeds} leaves none of the seeds {seeds} to fit"
        )
    series = np.stack([h.series() for h in completed])
    _check_direction(series)
    held_out = np.array([history.meta["seed"] in last for history in completed])
    return _Data(series, held_out, len(sweep) + len(pilots) - len(completed))


def _check(histories: Sequence[History]) -> None:
    for key, plural in (("task", "tasks"), ("points", "lengths"), ("updates", "budgets")):
        values = sorted({str(history.meta[key]) for history in histories})
        if len(values) > 1:
            raise LODEError(f"histories of several {plural}: {', '.join(values)}; fit them apart")
    points = int(histories[0].meta["points"])
    for history in histories:
        if len(history.points) != points:
            raise LODEError(
                f"{history.describe()} ({history.run_id}) has {len(history.points)} of {points} "
                "points; quarantine it"
            )
        if not np.isfinite(history.series()).all():
            raise LODEError(
                f"{history.describe()} ({history.run_id}) has values that are not finite; "
                "quarantine it"
            )
    if len({history.meta["scheduler"] for history in histories}) == 1:
        warnings.warn(
            f"all {len(histories)} histories are of scheduler {histories[0].meta['scheduler']}: a "
            "LODE needs several kinds of schedule to learn what a learning rate does (the paper's "
            "Table 4); add others to sweep.schedulers",
            stacklevel=4,
        )


def _check_direction(series: np.ndarray) -> None:
    """A metric that is lower where the loss is lower is an error rate, not an accuracy."""
    loss, metric = series[..., LOSS].ravel(), series[..., METRIC].ravel()
    if np.ptp(metric) == 0 or np.ptp(loss) == 0:
        return
    a, b = (x.argsort(kind="stable").argsort() / len(x) - 0.5 for x in (loss, metric))
    if 12 * float(np.mean(a * b)) > 0.5:  # their rank correlation
        raise LODEError(
            "val_metric falls as the train loss falls, so lower seems to be better; everything "
            "here maximises it: log its negative (or 1 - error) instead"
        )


def _initial_schedule(histories: Sequence[History]) -> tuple[float, ...]:
    """Learning rates of the best configuration; where its runs differ (learned schedulers), of its
    best run."""
    best = best_configuration(histories)
    runs = [run for run in histories if run.configuration == (best.scheduler, best.peak_lr)]
    winner = max(runs, key=lambda run: (run.completed, best_validation(run)))
    return tuple(float(lr) for lr in winner.points["lr"])
