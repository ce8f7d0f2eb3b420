"""Every scheduler by name: one row each, free of heavy imports so that `lode --help` stays fast.

To add one: its file in this folder, a row here, a line in `components/runs/build.py`. Whatever
lists schedulers (settings, command line, Prefect's form, report, docs' tables) reads these rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a scheduler is: a function of the update alone (`parametric`), one that reacts to gradients
# (`adaptive`), a policy that `lode learn` learns (`learned`), a population that is trained instead
# of one network (`population`), a schedule that a law of the sweep's losses calls best (`law`), a
# search for the best parametric one (`search`), or the LODE.
Family = Literal["parametric", "adaptive", "learned", "population", "law", "search", "lode"]


@dataclass(frozen=True)
class Row:
    """One scheduler.

    Attributes:
        name: as in params.yaml and in a history. label: as a reader of the report expects it.
        has_peak: whether it is tuned by its peak (or initial) learning rate.
        in_paper: one of the four that the paper's sweep learns from.
    """

    name: str
    label: str
    family: Family
    has_peak: bool = True
    in_paper: bool = False


LODE = "lode"
FINER_SEARCH = "finer-search"
MULTI_POWER_LAW = "multi-power-law"

ROWS: tuple[Row, ...] = (
    Row("constant", "Constant", "parametric", in_paper=True),
    Row("cosine", "Cosine", "parametric", in_paper=True),
    Row("onecycle", "OneCycle", "parametric", in_paper=True),
    Row("exp-decay", "Exp. decay", "parametric", in_paper=True),
    Row("linear", "Linear", "parametric"),
    Row("warmup-stable-decay", "Warm-up, stable, decay", "parametric"),
    Row("warmup-cosine", "Warm-up, cosine", "parametric"),
    Row("warmup-linear", "Warm-up, linear", "parametric"),
    Row("warmup-exp-decay", "Warm-up, exp. decay", "parametric"),
    Row("hypergradient", "Hypergradient", "adaptive"),
    Row("schedule-free", "Schedule-free", "adaptive"),
    Row("rl-controller", "RL controller", "learned"),
    Row("gns", "GNS", "learned"),
    Row("pbt", "PBT", "population", has_peak=False),  # draws its learning rates itself
    Row(MULTI_POWER_LAW, "Multi-Power Law", "law", has_peak=False),  # the law chooses its peak
    Row(FINER_SEARCH, "Finer search", "search", has_peak=False),  # finds its peak itself
    Row(LODE, "LODE", "lode", has_peak=False),
)


def _names(rows: tuple[Row, ...]) -> tuple[str, ...]:
    return tuple(row.name for row in rows)


PAPER_SCHEDULERS = _names(tuple(row for row in ROWS if row.in_paper))
PARAMETRIC_SCHEDULERS = _names(tuple(row for row in ROWS if row.family == "parametric"))
LEARNED_SCHEDULERS = _names(tuple(row for row in ROWS if row.family == "learned"))
# What the LODE may be compared with, and what one network can be trained under.
BASELINES = _names(tuple(row for row in ROWS if row.family != "lode"))
SCHEDULERS = _names(tuple(row for row in ROWS if row.family != "search"))
# They need a training's gradients or weights; the others are told to it as rates.
NEED_GRADIENTS = _names(
    tuple(row for row in ROWS if row.family in ("adaptive", "learned", "population"))
)
TUNED_BY_PEAK = _names(tuple(row for row in ROWS if row.has_peak))
WITHOUT_PEAK_LR = _names(
    tuple(row for row in ROWS if not row.has_peak and row.family not in ("lode", "search"))
)

LABELS = {row.name: row.label for row in ROWS}


def label(scheduler: str) -> str:
    """A scheduler's name as a reader expects it; one without a row (`plan`) as it is."""
    return LABELS.get(scheduler, scheduler)
