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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.lode import table_a1
from components.lode.channels import METRIC, Channels
from components.lode.errors import LODEError
from components.lode.fit_data import FitData, initial_schedule
from components.lode.model import LODE, LODEConfig
from components.lode.penalties import error_penalty, path_length
from components.lode.settings import Architecture, FitSettings, window_points
from components.storage.checkpoints import read_checkpoint, write_checkpoint
from components.training.history import History, digest
from components.training.threads import one_thread

# Updates between looks at the held-out runs, each with a checkpoint: a default fit has sixteen sets
# of weights to choose from, and a killed one loses at most so many updates.
CHECK_EVERY = 250
CHECKPOINT = "fit.checkpoint.safetensors"
# A schedule is judged by what the metric does; weighted like the others it generalises worst
# (docs/research/scheduler.md, entry 10).
METRIC_WEIGHT = 3.0
# Of the solver's local error (Pal et al. 2021, Opening the Blackbox): few log points leave the
# field free to become so steep between them that the grid cannot follow it. A hundred times as much
# made Table A1 worse on f600 and text (docs/research/scheduler.md, entry 15).
ERROR_PENALTY = 100.0
# At most so many log points carry the latents' path: several to a solver step, whose cubic needs no
# more, and with T = 600 the update takes half the time.
PATH_POINTS = 128
# A held-out error beyond it is no fit: predicting the mean of every channel costs about 1 in
# standardised units, short fits end between 0.1 and 2, and 10 is off by three standard deviations
# everywhere. Fits that have run away end at thousands and more, or not finite.
MOST_ERROR = 10.0
RECIPE = 10  # raised when a change makes the same settings fit differently: old checkpoints void


@dataclass(frozen=True)
class FitResult:
    """`lode`: the fitted model, also saved. `summary`: what `config.json` holds under `fit`.
    `seconds`: what this call took."""

    lode: LODE
    summary: dict[str, Any]
    seconds: float


def fit(
    histories: Sequence[History],
    *,
    folder: Path,
    mu: int,
    settings: FitSettings = FitSettings(),
    architecture: Architecture = Architecture(),
    pilots: Sequence[History] = (),
    checkpoint: Path | None = None,
    progress: Callable[[int, float], None] = lambda done, error: None,
) -> FitResult:
    """Fit and save a LODE.

    Args:
        histories: a sweep's runs of one task and length T; diverged ones are left out.
        folder: where `lode.safetensors` and `config.json` go.
        mu: window length in log points that the scheduler will encode.
        pilots: more runs to learn from; they play no part in the choice of the initial schedule.
        checkpoint: folder of the checkpoint while the fit runs; None: `folder`. One left there by
            a killed fit of the same histories and settings is continued, any other is ignored.
        progress: called as (updates done, held-out error) at every check.

    Raises:
        LODEError: no usable history, several tasks or lengths, values that are not finite, a
            held-out split that leaves nothing to fit, a loss that is no longer finite, or a fit
            that ends far worse than predicting the mean would.
    """
    began = time.perf_counter()
    data = FitData.of(histories, pilots, settings.held_out_seeds)
    config = LODEConfig(
        channels=Channels.measure(list(data.series[~data.held_out])),
        points=data.series.shape[1],
        updates=int(histories[0].meta["updates"]),
        **asdict(architecture),
        task=histories[0].meta["task"],
        metric_goal=histories[0].meta.get("metric_goal") or "maximize",
        histories_digest=digest([*histories, *pilots]),
        initial_schedule=initial_schedule(histories),
    )
    if not 2 <= mu <= config.points:
        raise LODEError(f"mu = {mu} must lie between 2 and the histories' {config.points} points")
    with one_thread():
        training = _Training(config, settings, data, mu, Path(checkpoint or folder))
        training.run(progress)
        training.check_worth()
        lode = training.best_model()
        quality = table_a1.report(lode, data.series, data.held_out, data.schedulers)
        summary = training.summary() | quality
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


class _Training:
    """The state of a fit: model, Adam, best weights so far, updates done."""

    def __init__(
        self, config: LODEConfig, settings: FitSettings, data: FitData, mu: int, folder: Path
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

    def check_worth(self) -> None:
        """
        Raises:
            LODEError: the best weights are far worse than predicting the mean (`MOST_ERROR`).
        """
        error, of = self.best_error, "held-out"
        if error is None:  # no run is held out
            error, of = self._error_on(self.fitted), "fitted"
        if not error <= MOST_ERROR:
            raise LODEError(
                f"the fit has failed: its error on {of} runs is {error:.4g}, where predicting "
                "their mean costs about 1; lower lode.fit.peak_lr or raise lode.fit.updates"
            )

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
        few, half = (window_points(share, points) for share in table_a1.OBSERVED)
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
        error = self._error_on(self.judged)
        self.errors.append([self.done, error])
        if self.best_error is None or error < self.best_error:
            self.best_update, self.best_error, self.best = self.done, error, self._weights()

    @torch.no_grad()
    def _error_on(self, runs: torch.Tensor) -> float:
        """Mean squared standardised error over windows of the lengths that matter."""
        points, mu = self.config.points, self.mu
        seen = (window_points(share, points) for share in (*table_a1.OBSERVED, 1.0))
        windows = {(share * (points - mu) // 4, mu): None for share in range(4)}
        windows |= dict.fromkeys((0, length) for length in seen)  # each once, in this order
        total = 0.0
        for start, length in windows:
            part = slice(start, start + length)
            times = self.times[part].expand(len(runs), -1)
            z0 = self.model.encode(times, runs[:, part])
            total += float((self.model.decode(z0, self.grid) - runs).square().mean())
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
        write_checkpoint(self.path, tensors, progress)

    def _restore(self) -> None:
        found = read_checkpoint(self.path)
        if found is None:
            return
        tensors, progress = found
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
