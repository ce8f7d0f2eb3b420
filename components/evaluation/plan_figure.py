"""Two figures of one run's rates: what a plan asks for, and why a finished run's moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.evaluation.drawing import (
    BLUE,
    GREY,
    RED,
    WIDE,
    End,
    figure,
    legend_above,
    log_scale,
    name_lines,
    percent_of_training,
    progress,
)
from components.training.history import History

Pairs = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Judged:
    """A decision as it is drawn: after what share of the training, whether the rate moved, and the
    gain that was expected with its error (None: not known)."""

    share: float
    changed: bool
    gain: float | None
    error: float | None


def plan_figure(rates: Pairs, compared: Pairs, named: str, path: Path) -> None:
    """Rates over the share of training as SVG, the peak marked.

    Args:
        rates: (share, rate) of the plan. compared: of the schedule beside it, empty if there is
            none, which is called `named`.
    """
    with figure(path, WIDE, 3.2) as axes:
        ends = []
        if compared:
            shares, lrs = np.array(compared).T
            axes.plot(100 * shares, lrs, "--", color=BLUE)
            ends.append(End(float(lrs[-1]), f"{named},\nthe sweep's best", BLUE))
        shares, lrs = np.array(rates).T
        axes.plot(100 * shares, lrs, color=RED, linewidth=2.0)
        ends.append(End(float(lrs[-1]), "the plan", RED))
        top = int(lrs.argmax())
        axes.plot(100 * shares[top], lrs[top], "o", color=RED, markersize=5)
        said = f"peak {lrs[top]:.3g} at {100 * shares[top]:.0f} %"
        axes.annotate(
            said, (100 * shares[top], lrs[top]), textcoords="offset points", xytext=(7, -3)
        )
        percent_of_training(axes)
        axes.set_ylabel("learning rate")
        axes.set_ylim(bottom=0)
        name_lines(axes, ends)


def decisions_figure(
    history: History, judged: Sequence[Judged], path: Path, unit: str = ""
) -> None:
    """A run's rates with its decisions, and under them what these expected to gain, in `unit`."""
    with figure(path, WIDE, 4.6, nrows=2, sharex=True, height_ratios=[3, 2]) as (rates, gains):
        x, lrs = progress(history), history.points["lr"].to_numpy()
        rates.plot(x, lrs, color=RED, label="learning rate")
        for changed, look, name in (
            (True, {"marker": "o", "color": RED}, "moved"),
            (False, {"marker": "|", "color": GREY}, "kept"),
        ):
            at = [100 * one.share for one in judged if one.changed == changed]
            style = {"linestyle": "none", "markersize": 6, **look}
            rates.plot(at, np.interp(at, x, lrs) if len(x) else at, label=name, **style)
        known = [one for one in judged if one.gain is not None]
        gains.errorbar(
            [100 * one.share for one in known],
            [one.gain or 0.0 for one in known],
            [one.error or 0.0 for one in known],
            fmt="o",
            markersize=3,
            linewidth=1,
            color=BLUE,
        )
        gains.axhline(0, color=GREY, linewidth=0.8)
        log_scale(rates, 3e-5)
        rates.set_ylabel("learning rate")
        gains.set_ylabel(f"expected gain\n± error{unit}")
        legend_above(rates)
        percent_of_training(gains)
