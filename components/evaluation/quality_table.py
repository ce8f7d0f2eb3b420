"""How well the LODE foretells the runs of each scheduler: the paper's Table A1, a row for each."""

from __future__ import annotations

from components.evaluation.notation import NONE
from components.evaluation.results import ErrorEntry, Evaluation, TableA1
from components.evaluation.tables import Table
from components.schedulers.names import label

CHANNELS = {
    "val_metric": "metric",
    "train_loss": "training loss",
    "log_lr": "learning rate, log",
}
PARTS = {"held_out": "held out", "fitted": "fitted"}
PILOTS = "plan"  # the scheduler of runs that try a plan


def scheduler_errors(evaluation: Evaluation) -> Table:
    """A row per scheduler and part of its runs, a column per channel and share seen; no rows where
    the fit did not measure it, as earlier ones."""
    fit = evaluation.lode.fit
    found = fit.by_scheduler if fit else {}
    shares = list(next(iter(found.values()), {}))
    columns = [
        f"{name}, {share.replace('%', ' %')} seen" for name in CHANNELS.values() for share in shares
    ]
    rows = [
        (f"{_named(scheduler)}, {called}", *_cells(own, part, shares))
        for scheduler, own in found.items()
        for part, called in PARTS.items()
        if any(part in seen for seen in own.values())
    ]
    return Table.of(("runs", *columns), rows)


def _named(scheduler: str) -> str:
    return "Pilots" if scheduler == PILOTS else label(scheduler)


def _cells(table: TableA1, part: str, shares: list[str]) -> list[str]:
    return [
        _error(table.get(share, {}).get(part, {}).get(channel))
        for channel in CHANNELS
        for share in shares
    ]


def _error(entry: ErrorEntry | None) -> str:
    return NONE if entry is None else f"{entry.mean:.3f} ± {entry.std:.3f}"
