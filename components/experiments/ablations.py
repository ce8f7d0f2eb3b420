"""Which ablations there are: what each varies of the settings, and what it is held against.

The paper's (section 5.4, Tables 3 to 5, Figure 6) for its controller, the same for ours where ours
has such a setting, and of ours what Algorithm 1 does not have: its caution and its pilots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from components.evaluation.notation import count
from components.lode.settings import CONTROLLERS, DEFAULT, PAPER
from components.storage.digests import text_digest

if TYPE_CHECKING:
    from components.settings import Settings

# Table 3's and Table 5's values; those of Δt reach from Figure 6's greedy one to the rest of the
# run.
SAMPLES, NOISES = (10, 30, 60), (0.15, 0.3)
SHARES, FEWER = (0.1, 0.05, 0.025), (20, 40)
HORIZONS = (0.05, 0.1, 0.25, 0.5, None)
CAUTIONS = (0.0, 0.5, 1.0, 2.0)  # κ from "whatever looks better" to "hardly ever"
ONECYCLE = "onecycle"


@dataclass(frozen=True)
class Variant:
    """One row of an ablation: a LODE and how its runs are controlled.

    Attributes:
        name: what differs, for people; `full`: it is the setting that others are held against.
        controller: as `LODEScheduler` takes it, JSON-able.
        learned: settings, by dotted key, that change what the LODE is fitted on.
        pilots: whether it is fitted on pilots, too, and begins with their plan.
    """

    name: str
    controller: dict[str, Any]
    learned: Mapping[str, Any] = field(default_factory=dict)
    pilots: bool = False
    full: bool = False

    @property
    def learns(self) -> str:
        """A name for what its LODE is fitted on: the same for variants that share one."""
        return text_digest(dict(self.learned), self.pilots)


@dataclass(frozen=True)
class Ablation:
    """Variants of one controller, the full setting first.

    Attributes:
        name: one of `NAMES`. title: what is varied. paper: where the paper shows the same; empty:
            nowhere.
    """

    name: str
    title: str
    paper: str
    controller: str
    variants: tuple[Variant, ...]

    @property
    def key(self) -> str:
        """`paper-horizon`: of its files."""
        return f"{self.controller}-{self.name}"


NAMES = {
    "ensemble": "ensemble size n and latent noise σ",
    "window": "update interval and window μ",
    "horizon": "horizon Δt",
    "caution": "caution κ: gains that a plan is left for, in errors of the judge",
    "sweep": "what the sweep has",
    "walltime": "seconds per epoch by μ and n",
}
TABLES = {
    "ensemble": "Table 3",
    "horizon": "Figure 6",
    "sweep": "Table 4",
    "walltime": "Table 5",
}
CONTROLLED_BY = {"horizon": (PAPER,), "caution": (DEFAULT,)}  # the others: both


def ablations(
    settings: Settings, names: Iterable[str] = (), controllers: Iterable[str] = CONTROLLERS
) -> list[Ablation]:
    """Those asked for, of every controller that has them; no names: all.

    An ablation that these settings leave nothing to vary of, as `sweep` where there is one seed and
    one scheduler, is left out.
    """
    wanted, controllers = tuple(names) or tuple(NAMES), tuple(controllers)
    found = [
        Ablation(name, NAMES[name], TABLES.get(name, ""), controller, _variants(name, start))
        for controller in controllers
        for name in NAMES
        if name in wanted and controller in CONTROLLED_BY.get(name, CONTROLLERS)
        for start in [_Start.of(settings, controller, name)]
    ]
    return [one for one in found if len(one.variants) > 1]


@dataclass(frozen=True)
class _Start:
    """The full setting that an ablation starts from."""

    settings: Settings
    full: Variant

    @classmethod
    def of(cls, settings: Settings, controller: str, name: str) -> _Start:
        """Of the sweep's ablation without pilots: they would try what the sweep did not have."""
        chosen = {"controller": controller, **vars(settings.lode.scheduler)}
        pilots = controller == DEFAULT and settings.pilot_runs > 0 and name != "sweep"
        return cls(settings, Variant("", chosen, pilots=pilots, full=True))

    def but(self, name: str, **changes: Any) -> Variant:
        """A variant with other settings of the controller; the full one where none is other."""
        controller = self.full.controller | changes
        full = controller == self.full.controller
        return replace(self.full, name=name, controller=controller, full=full)

    def learned(self, name: str, **changes: Any) -> Variant:
        """A variant whose LODE is fitted on something else; `sweep__seeds` is `sweep.seeds`."""
        learned = {key.replace("__", "."): value for key, value in changes.items()}
        return replace(self.full, name=name, learned=learned, full=not learned)


def _variants(name: str, start: _Start) -> tuple[Variant, ...]:
    """The full setting first; it is added where the table's values do not have it."""
    found = list(_MAKERS[name](start))
    if not any(one.full for one in found):
        found.insert(0, replace(start.full, name="as set"))
    return tuple(sorted(found, key=lambda one: not one.full))


def _ensemble(start: _Start) -> Iterable[Variant]:
    for sigma in NOISES:
        for n in SAMPLES:
            yield start.but(f"n = {n}, σ = {sigma:g}", n=n, sigma=sigma)


def _window(start: _Start) -> Iterable[Variant]:
    for mu in SHARES:
        yield start.but(f"μ = {100 * mu:g} %", mu=mu)


def _horizon(start: _Start) -> Iterable[Variant]:
    for share in HORIZONS:
        shown = "the rest of the run" if share is None else f"{100 * share:g} % of the run"
        yield start.but(f"Δt = {shown}", horizon=share)


def _caution(start: _Start) -> Iterable[Variant]:
    for caution in CAUTIONS:
        yield start.but(f"κ = {caution:g}", caution=caution)


def _walltime(start: _Start) -> Iterable[Variant]:
    for n in FEWER:
        for mu in SHARES:
            yield start.but(f"μ = {100 * mu:g} %, n = {n}", mu=mu, n=n)


def _sweep(start: _Start) -> Iterable[Variant]:
    """Table 4: one seed, as many as there are, twice as many; without OneCycle, and it alone."""
    sweep = start.settings.sweep
    seeds = len(sweep.seeds)
    yield start.learned(f"{count(seeds, 'seed')}, {count(len(sweep.schedulers), 'scheduler')}")
    if seeds > 1:
        yield start.learned("1 seed", sweep__seeds=sweep.seeds[:1], lode__fit__held_out_seeds=0)
    yield start.learned(f"{2 * seeds} seeds", sweep__seeds=_twice(start.settings))
    others = [one for one in sweep.schedulers if one != ONECYCLE]
    if others and len(others) < len(sweep.schedulers):
        yield start.learned("no OneCycle", sweep__schedulers=others)
        yield start.learned("only OneCycle", sweep__schedulers=[ONECYCLE])
    if start.full.controller["controller"] == DEFAULT and start.settings.pilot_runs:
        yield replace(start.full, name="and pilots", pilots=True, full=False)


def _twice(settings: Settings) -> list[int]:
    """The sweep's seeds and as many others, none of them one that is evaluated on."""
    seeds, fresh = settings.sweep.seeds, set(settings.evaluation.seeds)
    others = (seed for seed in range(len(seeds) * 2 + len(fresh)) if seed not in {*seeds, *fresh})
    return [*seeds, *(next(others) for _ in seeds)]


_MAKERS = {
    "ensemble": _ensemble,
    "window": _window,
    "horizon": _horizon,
    "caution": _caution,
    "sweep": _sweep,
    "walltime": _walltime,
}
