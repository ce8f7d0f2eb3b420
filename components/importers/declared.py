"""Learning rates from a declared schedule, for runs that logged none."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from components.importers.errors import LeftOutError, RunsError
from components.importers.match import number
from components.importers.request import Request
from components.importers.source import Listed, Param
from components.schedulers.parametric import PARAMETRIC
from components.storage.shown import cut
from components.training.run import log_steps


def check(request: Request, parameters: set[str]) -> None:
    """
    Raises:
        RunsError: no such schedule or parameter, or no peak.
    """
    if request.lr_schedule is None:
        return
    names = ", ".join(PARAMETRIC)
    if request.lr_schedule not in {*PARAMETRIC, *parameters}:
        raise RunsError(
            f"--lr-schedule {cut(request.lr_schedule)}: neither a schedule ({names}) nor a "
            "parameter of the runs that names one"
        )
    if request.peak_lr is None:
        raise RunsError("--lr-schedule needs --peak-lr: a number, or the parameter that has it")
    for option, value in (("--peak-lr", request.peak_lr), ("--warmup", request.warmup)):
        if value is not None and value not in parameters and number(value) is None:
            raise RunsError(f"{option} {cut(value)}: neither a number nor a parameter of the runs")


def with_rates(rows: pd.DataFrame, run: Listed, request: Request, updates: int) -> pd.DataFrame:
    """The log with the rates of its schedule at every log point; the warm-up rises linearly and
    multiplies the schedule.

    Raises:
        LeftOutError: the run does not say which schedule, peak or warm-up.
    """
    said = _of(run.params, str(request.lr_schedule))
    name = str(said) if request.lr_schedule not in PARAMETRIC else str(request.lr_schedule)
    if name not in PARAMETRIC:
        raise LeftOutError(f"its schedule {cut(name, 40)} is none of {', '.join(PARAMETRIC)}")
    top = number(_of(run.params, str(request.peak_lr)))
    rise = number(_of(run.params, request.warmup or "0"))
    if top is None or not top > 0:
        raise LeftOutError("its peak learning rate is no number above 0")
    if rise is None or rise < 0:
        raise LeftOutError("its warm-up is no number of updates")
    steps = log_steps(updates, request.points)
    rate = PARAMETRIC[name]
    rates = [
        rate(step - 1, updates, top) * min(1.0, step / rise if rise else 1.0) for step in steps
    ]
    return pd.concat([rows, pd.DataFrame({"step": steps, "lr": rates})], ignore_index=True)


def _of(params: Mapping[str, Param], name: str) -> Param:
    return params.get(name, name)
