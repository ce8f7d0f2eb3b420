"""Why the learning rate of a finished run under a LODE moved, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

from components.evaluation.metric import Metric
from components.evaluation.notation import MINUS, NONE
from components.evaluation.plan_figure import Judged, decisions_figure
from components.evaluation.tables import Table
from components.lode.decisions import Move, moves
from components.lode.errors import LODEError
from components.storage.typed import DamagedError
from components.training.history import History

COLUMNS = ("point", "old rate", "new rate", "expected", "gain", "± error", "why")


def moves_of(history: History) -> list[Move]:
    """The decisions of a run; none of one that was not under a LODE.

    Raises:
        LODEError: what the history says of them is damaged.
    """
    try:
        return moves(history.meta.get("decisions") or [])
    except DamagedError as error:
        raise LODEError(
            f"run {history.run_id}: its decisions: {error}: written by another version, or damaged"
        ) from None


def table_of(history: History) -> Table:
    """A row per decision; errors as of `moves_of`."""
    metric = Metric.of([history])
    rows = [
        (
            str(move.point),
            f"{move.old_lr:.4g}",
            f"{move.new_lr:.4g}",
            NONE if move.expected is None else metric.value(move.expected),
            NONE if move.gain is None else _signed(move.gain, metric),
            NONE if move.error is None else metric.size(move.error),
            f"moved: {move.reason}" if move.changed else f"kept: {move.reason}",
        )
        for move in moves_of(history)
    ]
    unit = metric.column
    shown = (*COLUMNS[:3], f"expected{unit}", f"gain{metric.points}", *COLUMNS[5:])
    return Table.of(shown, rows)


def draw(history: History, path: Path) -> None:
    """Rates over the training, decisions marked, expected gains; errors as of `moves_of`."""
    metric, points = Metric.of([history]), history.meta["points"]
    scale = 100 if metric.percent else 1
    judged = [
        Judged(
            move.point / points,
            move.changed,
            None if move.gain is None else scale * move.gain,
            None if move.error is None else scale * move.error,
        )
        for move in moves_of(history)
    ]
    decisions_figure(history, judged, path, metric.points)


def _signed(gain: float, metric: Metric) -> str:
    """More than 0 is better, also of a metric of which less is."""
    return (MINUS if gain < 0 else "+") + metric.size(gain)
