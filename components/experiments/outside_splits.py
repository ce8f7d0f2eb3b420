"""Predictors fitted on some public runs of a language model and asked about others.

    .venv/bin/python -m components.experiments.outside_splits ../shared/data/llama-schedules

About schedules of other shapes (thirds of them held out in turn), of other peaks (each held out
once), and of a longer horizon. The runs are those of `llama_schedules`, one seed each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from scipy.stats import spearmanr

from components.evaluation.tables import Table
from components.experiments.command import Command
from components.experiments.llama_schedules import HORIZONS, POINTS, pool
from components.experiments.on_law import UPDATES, judged, process
from components.experiments.peak_law import fit_peak_law
from components.experiments.strategies import features, fitted_process
from components.lode.channels import LOSS, METRIC
from components.lode.judge import held
from components.lode.judge_fit import Runs, fit_judge
from components.lode.settings import JudgeSettings
from components.schedulers.multi_power_law import Curves, fit_law
from components.schedulers.swept_law import nodes

FOLDS = 3  # of the shapes
FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Part:
    """Runs of one horizon: `updates`, `tables` (R, T + 1), train losses and metrics (R, T), names
    of their shapes (R,)."""

    updates: int
    tables: np.ndarray
    losses: np.ndarray
    metrics: np.ndarray
    shapes: np.ndarray

    def of(self, rows: np.ndarray) -> Part:
        """Some of them."""
        return Part(
            self.updates,
            self.tables[rows],
            self.losses[rows],
            self.metrics[rows],
            self.shapes[rows],
        )

    @property
    def nodes(self) -> np.ndarray:
        """Log points that a law is fitted on."""
        return nodes(POINTS)

    @property
    def steps(self) -> np.ndarray:
        """(K,) updates at these."""
        return self.nodes * self.updates / POINTS

    @property
    def curves(self) -> np.ndarray:
        """(R, K) validation losses there, NaN at the first."""
        padded = np.concatenate([np.full((len(self.metrics), 1), np.nan), -self.metrics], 1)
        found: np.ndarray = padded[:, self.nodes]
        return found

    @property
    def runs(self) -> Runs:
        """As a judge is taught them."""
        count = np.arange(len(self.tables))
        return Runs(held(self.tables), self.losses, self.metrics, np.zeros_like(count), count)


@click.command(cls=Command)
@click.argument("folder", type=FOLDER)
def main(folder: Path) -> None:
    """Print rms error (nats) · rank correlation · regret of the pick (nats) of each predictor.

    FOLDER has runs.csv and points.csv.gz of llama-schedules.
    """
    asked = questions([part_of(folder, horizon) for horizon in HORIZONS])
    rows = [
        [name, *(_cell(predictor, splits) for predictor in PREDICTORS.values())]
        for name, splits in asked.items()
    ]
    click.echo(Table.of(("asked about", *PREDICTORS), rows).markdown())


def _cell(predictor: Predictor, splits: list[Split]) -> str:
    """Means over the splits: rms error in nats · rank correlation · regret of the pick in nats."""
    scores = np.array([score(predictor, *split) for split in splits])
    rms, rank, lost = scores.mean(0)
    return f"{rms:.4f} · {rank:.2f} · {lost:.4f}"


def part_of(folder: Path, horizon: int) -> Part:
    """One run of each schedule."""
    own = pool(folder, horizon)
    runs = [runs[0] for runs in own.runs]
    series = np.stack([run.series() for run in runs])
    shapes = np.array([str(run.meta["scheduler"]) for run in runs])
    return Part(horizon, own.tables, series[..., LOSS], series[..., METRIC], shapes)


Split = tuple[Part, Part]  # to fit on, to ask about


def questions(parts: list[Part]) -> dict[str, list[Split]]:
    """What is asked, by its name in the table."""
    found: dict[str, list[Split]] = {}
    for part in parts:
        found[f"other shapes, {part.updates:,}"] = list(other_shapes(part))
        found[f"other peaks, {part.updates:,}"] = list(other_peaks(part))
    for shorter, longer in pairwise(parts):
        found[f"{longer.updates:,} from {shorter.updates:,}"] = [(shorter, longer)]
    return found


def other_shapes(part: Part) -> Iterator[Split]:
    """Every shape held out once, with all its peaks."""
    names = sorted(set(part.shapes))
    for fold in range(FOLDS):
        away = np.isin(part.shapes, names[fold::FOLDS])
        yield part.of(~away), part.of(away)


def other_peaks(part: Part) -> Iterator[Split]:
    """Every peak held out once, with all its shapes."""
    peaks = np.array([f"{peak:.2g}" for peak in part.tables.max(1)])
    for peak in sorted(set(peaks)):
        yield part.of(peaks != peak), part.of(peaks == peak)


def score(predictor: Predictor, fitted: Part, asked: Part) -> tuple[float, float, float]:
    """rms error, Spearman's rank correlation, and what the pick loses against the best asked."""
    foretold, true = predictor(fitted, asked), asked.metrics[:, -1]
    rms = float(np.sqrt(np.mean((foretold - true) ** 2)))
    lost = float(true.max() - true[int(np.argmax(foretold))])
    return rms, float(spearmanr(foretold, true).statistic), lost


def by_judge(fitted: Part, asked: Part) -> np.ndarray:
    return fit_judge(fitted.runs).final_metric(asked.tables).mean(0)


def by_law(fitted: Part, asked: Part) -> np.ndarray:
    curves = Curves(fitted.steps, fitted.tables[:, fitted.nodes], fitted.curves)
    return -fit_law([curves]).losses(asked.steps, asked.tables[:, asked.nodes])[:, -1]


def by_peak_law(fitted: Part, asked: Part) -> np.ndarray:
    return _on_peak_law(fitted, asked)[1][:, -1]


def by_process(fitted: Part, asked: Part) -> np.ndarray:
    own, rows = _features(fitted, asked)
    model = fitted_process(own[:rows], fitted.metrics[:, -1])
    found: np.ndarray = model.predict(own[rows:])
    return found


def by_process_on_law(fitted: Part, asked: Part) -> np.ndarray:
    left, mean = _on_peak_law(fitted, asked)
    own, rows = _features(fitted, asked)
    return mean[:, -1] + process(own, list(range(rows)), left[:, -1])[0][rows:]


def by_judge_on_law(fitted: Part, asked: Part) -> np.ndarray:
    left, mean = _on_peak_law(fitted, asked)
    residual = replace(fitted.runs, metrics=left)
    return mean[:, -1] + judged(residual, asked.tables, JudgeSettings(updates=UPDATES))


def _on_peak_law(fitted: Part, asked: Part) -> tuple[np.ndarray, np.ndarray]:
    """What a law leaves of the fitted metrics, and the metrics it foretells, each (R, T)."""
    law = fit_peak_law([(fitted.steps, fitted.tables[:, fitted.nodes], fitted.curves)])
    at, foretold = np.arange(1, POINTS + 1), []
    for part in (fitted, asked):
        losses = law.losses(part.steps, part.tables[:, part.nodes])
        foretold.append(np.stack([-np.interp(at, part.nodes[1:], own[1:]) for own in losses]))
    return fitted.metrics - foretold[0], foretold[1]


def _features(fitted: Part, asked: Part) -> tuple[np.ndarray, int]:
    """Of all schedules, and how many of them were fitted."""
    return features(np.concatenate([fitted.tables, asked.tables])), len(fitted.tables)


Predictor = Callable[[Part, Part], np.ndarray]
PREDICTORS: dict[str, Predictor] = {
    "gaussian-process": by_process,
    "law": by_law,
    "peak-law": by_peak_law,
    "process-on-law": by_process_on_law,
    "judge": by_judge,
    "judge-on-law": by_judge_on_law,
}


if __name__ == "__main__":
    main()
