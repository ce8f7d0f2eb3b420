"""Ways of choosing a schedule, each a function that plays a `Game` until its budget is spent.

Those that compare by runs alone choose the best mean that they saw; those that have a model choose
what the model, which was taught by all that was seen, thinks best of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import optuna
from scipy.special import ndtr
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from components.experiments.game import Game, Seen
from components.lode.channels import LOSS, METRIC
from components.lode.judge import held
from components.lode.judge_fit import Runs, fit_judge
from components.lode.settings import JudgeSettings
from components.schedulers.multi_power_law import Curves, LawError, fit_law
from components.schedulers.swept_law import learned, nodes

FEATURES = 5  # principal components of the schedules' log rates: over .95 of their variance
FIRST = 8  # spread runs before a model is asked
EVERY = 4  # runs between two fits of the judge
REPORTS = 10  # looks at a run by the pruners
# A schedule that ends at 0 is not infinitely far from one that ends near it.
FLOOR = 1e-3


def features(tables: np.ndarray) -> np.ndarray:
    """(P, FEATURES) of schedules (P, T + 1), each of unit variance."""
    logs = np.log10(np.maximum(tables, FLOOR * tables.max(1, keepdims=True)))
    found: np.ndarray = PCA(FEATURES, whiten=True, random_state=0).fit_transform(logs)
    return found


def grid(game: Game) -> None:
    """The paper's: schedulers × peaks, seed after seed, in random order."""
    own = [i for i, plan in enumerate(game.pool.plans) if plan.kind == "grid"]
    while True:
        for plan in game.rng.permutation(own):
            game.run(int(plan))
            game.choose_best_mean()


def random(game: Game) -> None:
    """Any schedule of the pool, one run each."""
    for plan in game.rng.permutation(len(game.pool.plans)):
        game.run(int(plan))
        game.choose_best_mean()


def _study(game: Game, pruner: optuna.pruners.BasePruner, sampler: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = int(game.rng.integers(2**31))
    kind = optuna.samplers.TPESampler if sampler == "tpe" else optuna.samplers.RandomSampler
    return optuna.create_study(
        study_name="replay",  # Hyperband draws brackets by it
        direction="maximize",
        sampler=kind(seed=seed),
        pruner=pruner,
    )


def optuna_search(
    game: Game,
    sampler: str = "random",
    pruner: Callable[[], optuna.pruners.BasePruner] | None = None,
) -> None:
    """Optuna in the space of the schedules' features; a suggestion is the nearest free schedule."""
    study = _study(game, (pruner or optuna.pruners.NopPruner)(), sampler)
    own = features(game.pool.tables)
    low, high = own.min(0), own.max(0)
    while True:
        trial = study.ask()
        asked = [trial.suggest_float(f"x{i}", low[i], high[i]) for i in range(FEATURES)]
        distance = np.linalg.norm(own - asked, axis=1) + np.where(game.free(), 0, np.inf)
        run = game.run(int(np.argmin(distance)), partial(_goes_on, game, trial))
        if len(run.series) == game.points:
            study.tell(trial, run.value)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if game.seen:
            game.choose_best_mean()


def _goes_on(game: Game, trial: optuna.Trial, point: int, metric: float) -> bool:
    share = max(game.points // REPORTS, 1)
    if point % share:
        return True
    trial.report(metric, point // share)
    return not trial.should_prune()


def median(game: Game) -> None:
    """Random, runs below the median of the others at the same point being stopped."""
    optuna_search(game, pruner=optuna.pruners.MedianPruner)


def hyperband(game: Game) -> None:
    optuna_search(
        game,
        pruner=lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=REPORTS),
    )


def tpe(game: Game) -> None:
    optuna_search(game, sampler="tpe")


def spread(game: Game, count: int) -> None:
    """Run a random schedule, then always the one farthest from all that were run."""
    own = features(game.pool.tables)
    first = int(game.rng.integers(len(own)))
    nearest = np.full(len(own), np.inf)
    for plan in [first] + [-1] * (count - 1):
        plan = plan if plan >= 0 else int(np.argmax(nearest))
        nearest = np.minimum(nearest, np.linalg.norm(own - own[plan], axis=1))
        game.run(plan)
        game.choose_best_mean()


def gaussian_process(game: Game) -> None:
    """Expected improvement (Matérn 5/2 with noise) over the schedules' features."""
    own = features(game.pool.tables)
    spread(game, FIRST)
    while True:
        values = np.array([one.value for one in game.seen])
        model = fitted_process(own[[one.plan for one in game.seen]], values)
        mean, std = model.predict(own, return_std=True)
        tried = sorted({one.plan for one in game.seen})
        game.choose(tried[int(np.argmax(mean[tried]))])
        expected = improvement(mean, std, tried)
        expected[~game.free()] = -np.inf
        game.run(int(np.argmax(expected)))


def fitted_process(own: np.ndarray, values: np.ndarray) -> GaussianProcessRegressor:
    """Over features (R, n) of values (R,), cut where they are hopeless, so that runs which fail to
    train are all as bad."""
    floor = np.median(values) - 2 * (values.max() - np.median(values))
    kernel = ConstantKernel(1.0) * Matern(np.ones(own.shape[1]), nu=2.5) + WhiteKernel(0.1)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(own, np.maximum(values, floor))
    return model


def improvement(mean: np.ndarray, std: np.ndarray, tried: Sequence[int]) -> np.ndarray:
    """(P,) expected beyond the best mean of those that were tried, of normal beliefs (P,)."""
    top = mean[list(tried)].max()
    z = (mean - top) / np.maximum(std, 1e-9)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    found: np.ndarray = (mean - top) * ndtr(z) + std * density
    return found


def law(game: Game) -> None:
    """The Multi-Power Law fitted on the loss of what was seen; what it foretells best is run next.
    Where no law can be fitted yet, the next run is a spread one."""
    spread(game, 3)
    tables = game.pool.tables
    while True:
        foretold = _foretold(game, tables)
        if foretold is None:
            game.run(int(game.rng.choice(np.flatnonzero(game.free()))))
            game.choose_best_mean()
            continue
        tried = sorted({one.plan for one in game.seen})
        game.choose(tried[int(np.argmin(foretold[tried]))])
        foretold[~game.free()] = np.inf
        foretold[tried] = np.inf
        game.run(int(np.argmin(foretold)))


def _foretold(game: Game, tables: np.ndarray) -> np.ndarray | None:
    """(P,) final losses by a law of the runs that learned at all; None where there is none."""
    good = learned_runs(game)
    if not good:
        return None
    steps = np.arange(tables.shape[1], dtype=np.float64)
    losses = losses_of(game, good)
    losses = np.where(losses > 0, losses, np.nan)
    own = nodes(tables.shape[1] - 1)
    try:
        rates = tables[[run.plan for run in good]][:, own]
        found = fit_law([Curves(steps[own], rates, losses[:, own])])
    except LawError:
        return None
    return found.losses(steps[own], tables[:, own])[:, -1]


def learned_runs(game: Game) -> list[Seen]:
    """What was seen to its end and learned at all."""
    done = [one for one in game.seen if one.completed]
    if not done:
        return []
    kept = learned(np.array([one.series[:, LOSS] for one in done]))
    return [one for one, follows in zip(done, kept, strict=True) if follows]


def metric_is_loss(game: Game) -> bool:
    """So that the metric is the negative of it."""
    return game.pool.runs[0][0].metric_sign < 0


def losses_of(game: Game, runs: Sequence[Seen]) -> np.ndarray:
    """(R, T + 1) that a law is fitted on, at point 0 NaN: the validation loss where that is the
    metric, which is what counts and has less noise; else the train loss."""
    channel, sign = (METRIC, -1.0) if metric_is_loss(game) else (LOSS, 1.0)
    return np.array([np.append(np.nan, sign * one.series[:, channel]) for one in runs])


def judge(game: Game, settings: JudgeSettings = JudgeSettings()) -> None:
    """Ours: learning-rate-driven ODEs fitted on all that was seen; every member's favourite among
    the untried is run next, and the choice is what they like best of the tried."""
    spread(game, FIRST)
    tables = game.pool.tables
    while True:
        model = fit_judge(runs_of(game), settings)
        judged = model.final_metric(tables)
        tried = sorted({one.plan for one in game.seen if one.completed})
        game.choose(tried[int(np.argmax(judged.mean(0)[tried]))])
        for _ in range(EVERY):
            weights = game.rng.dirichlet(np.ones(len(judged)))
            wanted = weights @ judged
            wanted[~game.free()] = -np.inf
            wanted[[one.plan for one in game.seen]] = -np.inf
            game.run(int(np.argmax(wanted)))


def runs_of(game: Game) -> Runs:
    """What was seen to its end, as the judge is taught it."""
    done = [one for one in game.seen if one.completed]
    series = np.stack([one.series for one in done])
    plans = np.array([one.plan for one in done])
    return Runs(
        held(game.pool.tables[plans]),
        series[..., LOSS],
        series[..., METRIC],
        np.array([one.seed for one in done]),
        np.unique(plans, return_inverse=True)[1],
    )


STRATEGIES: dict[str, Callable[[Game], None]] = {
    "grid": grid,
    "random": random,
    "tpe": tpe,
    "median": median,
    "hyperband": hyperband,
    "gaussian-process": gaussian_process,
    "law": law,
    "judge": judge,
}
