"""The evaluation's tables, each one entry of `TABLES`; and the text for a terminal.

Page, terminal, Prefect, MLflow and the files to take away show the same rows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from components.evaluation import captions
from components.evaluation.decision import decide
from components.evaluation.metric import Metric
from components.evaluation.notation import NONE, configuration, measured, p_value
from components.evaluation.order import ranked, shown_first
from components.evaluation.quality_table import scheduler_errors
from components.evaluation.results import ErrorEntry, Evaluation, Price, SchedulerEntry
from components.evaluation.shared import same_runs
from components.evaluation.sharpness_table import measured_rows, sharpness_table
from components.evaluation.tables import Table
from components.evaluation.wording import finer_search
from components.schedulers.names import FINER_SEARCH, LODE, label

SCHEDULER, BEHIND, PEAK, RUNS = "Scheduler", "Behind the best", "Peak lr", "Runs"
SHARPNESS, SECONDS, COST = "Sharpness λₘₐₓ", "Seconds per epoch", "Cost (trainings)"
LEVEL = "≈"  # before a difference that the paired test cannot tell from zero
# In a terminal: its columns by name beside the test metric's, and those that make room first where
# 80 columns are too few.
TERMINAL = {BEHIND: "Behind", PEAK: PEAK, RUNS: RUNS, SHARPNESS: "λₘₐₓ", SECONDS: "s/epoch"}
LEAST_NEEDED, WIDTH = ("s/epoch", "λₘₐₓ", RUNS), 80
PARTS = {"held_out": "Runs held out of the fit", "fitted": "Runs of the fit"}


@dataclass(frozen=True)
class TableEntry:
    """A table of the report.

    Attributes:
        name: of its files, and where else it is spoken of. section: of the page.
        rows: which of the comparison's rows the table's rows are, if they are; the page then shows
            those of `shown_first` before the others.
        best: the column whose first row is the best of the table.
    """

    name: str
    section: str
    title: str
    table: Callable[[Evaluation], Table]
    caption: Callable[[Evaluation], str]
    rows: Callable[[Evaluation], list[str]] | None = None
    best: Callable[[Metric], str] | None = None


def test_column(metric: Metric) -> str:
    """`Test accuracy (%)`."""
    return f"Test {metric.name}{metric.column}"


def validation_column(metric: Metric) -> str:
    """`Validation (%)`."""
    return f"Validation{metric.column}"


def result_table(evaluation: Evaluation) -> Table:
    """One row per scheduler, best test mean first."""
    metric = evaluation.shown
    test, validation = test_column(metric), validation_column(metric)
    columns = (SCHEDULER, test, BEHIND, PEAK, RUNS, COST, validation, SHARPNESS, SECONDS)
    table = Table.of(columns, [_result(evaluation, row) for row in ranked(evaluation)])
    measured_any = any(entry.sharpness.n for entry in evaluation.schedulers.values())
    return table if measured_any else table.without(SHARPNESS)


def _result(evaluation: Evaluation, row: str) -> tuple[str, ...]:
    entry, metric = evaluation.schedulers[row], evaluation.shown
    lost = f" (+ {entry.diverged} diverged)" if entry.diverged else ""
    return (
        label(row),
        metric.spread(entry.test),
        behind(evaluation, row),
        _peak(row, entry),
        f"{entry.test.n}{lost}",
        _price(entry.price),
        metric.spread(entry.validation),
        measured(entry.sharpness),
        measured(entry.seconds_per_epoch),
    )


def behind(evaluation: Evaluation, row: str) -> str:
    """`−0.93`, or `≈ −0.12` where the paired test cannot tell: a row less the best, on the seeds
    that both completed."""
    best = ranked(evaluation)[0]
    if row == best:
        return NONE
    pair = evaluation.comparisons[best][row]
    if same_runs(evaluation.schedulers[best], evaluation.schedulers[row]):
        return "same runs"
    if pair.mean is None:
        return NONE
    shown = evaluation.shown.difference(-pair.mean)
    return f"{LEVEL} {shown}" if pair.p_adjusted is not None and not pair.significant else shown


def _peak(row: str, entry: SchedulerEntry) -> str:
    """`0.05`; with its scheduler where the row is not named after it."""
    if entry.scheduler != row:
        return configuration(entry.scheduler, entry.peak_lr)
    return NONE if entry.peak_lr is None else f"{entry.peak_lr:g}"


def _price(price: Price) -> str:
    """`25`, `25 + 30 learning`, `0, 8 a run`."""
    text = f"{price.search}"
    if price.learning:
        text += f" + {price.learning:.3g} learning"
    return text + (f", {price.factor:g} a run" if price.factor != 1 else "")


def compared(evaluation: Evaluation) -> list[str]:
    """The rows that LODE is compared with: the best baseline, the finer search, then the others
    by their test means."""
    own = (evaluation.best_baseline, FINER_SEARCH)
    others = [row for row in ranked(evaluation) if row != LODE]
    return sorted(others, key=lambda row: own.index(row) if row in own else len(own))


def comparison_table(evaluation: Evaluation) -> Table:
    """LODE minus each other row, shares in percentage points."""
    metric, pairs = evaluation.shown, evaluation.comparisons[LODE]
    rows = [
        (
            label(row) + (" (best on validation)" if row == evaluation.best_baseline else ""),
            NONE if (mean := pairs[row].mean) is None else metric.difference(mean),
            metric.interval(pairs[row]),
            p_value(pairs[row].p_adjusted),
            str(pairs[row].n),
        )
        for row in compared(evaluation)
    ]
    difference = "Difference (points)" if metric.percent else "Difference"
    return Table.of(("LODE minus", difference, "95 % interval", "p, adjusted", "Seeds"), rows)


def error_table(evaluation: Evaluation) -> Table:
    """The paper's Table A1, as far as the fit measured it; no rows where it did not."""
    fit = evaluation.lode.fit
    shares = fit.table_a1 if fit else {}
    channels = {
        "train_loss": "Training loss",
        "log_lr": "Learning rate, log",
        "val_metric": f"Validation {evaluation.metric}",
    }
    parts = [part for part in PARTS if any(part in shown for shown in shares.values())]
    rows = [
        (
            f"{name} ({share.replace('%', ' %')})",
            *(_error(shown.get(part, {}).get(channel)) for part in parts),
        )
        for channel, name in channels.items()
        for share, shown in shares.items()
    ]
    return Table.of(("Channel (share seen)", *(PARTS[part] for part in parts)), rows)


def _error(entry: ErrorEntry | None) -> str:
    return NONE if entry is None else f"{entry.mean:.3f} ± {entry.std:.3f}"


# In the page's order. One more table is one more entry.
TABLES = (
    TableEntry(
        "results",
        "results",
        "Every scheduler",
        result_table,
        captions.results,
        rows=ranked,
        best=test_column,
    ),
    TableEntry(
        "comparisons",
        "results",
        "LODE minus each other, seed by seed",
        comparison_table,
        captions.comparisons,
        rows=compared,
    ),
    TableEntry(
        "sharpness_over_training",
        "training",
        "Sharpness over training",
        lambda found: sharpness_table(measured_rows(found), found.setup.points),
        lambda _: captions.SHARPNESS,
        rows=lambda found: list(measured_rows(found)),
    ),
    TableEntry(
        "errors", "lode", "How well the LODE predicts", error_table, lambda _: captions.ERRORS
    ),
    TableEntry(
        "errors_by_scheduler",
        "lode",
        "How well it predicts the runs of each scheduler",
        scheduler_errors,
        lambda _: captions.ERRORS_BY_SCHEDULER,
    ),
)


def text_table(evaluation: Evaluation) -> str:
    """Decision, notes and result table as plain text of 80 columns, for the end of `make demo`."""
    said = decide(evaluation).lines()
    sentences = [*said, *finer_search(evaluation), *evaluation.notes]
    wrapped = "\n".join(textwrap.fill(sentence, WIDTH) for sentence in sentences)
    return f"{wrapped}\n\n{_terminal(evaluation)}"


def _terminal(evaluation: Evaluation) -> str:
    table, metric = result_table(evaluation), evaluation.shown
    names = {SCHEDULER: SCHEDULER, test_column(metric): f"Test{metric.column}", **TERMINAL}
    order, first = ranked(evaluation), shown_first(evaluation)
    rows = [cells for row, cells in zip(order, table.rows, strict=True) if row in first]
    shown = {name: short for name, short in names.items() if name in table.columns}
    table = Table.of(table.columns, rows).select(shown)
    for column in LEAST_NEEDED:
        if table.width > WIDTH and column in table.columns:
            table = table.without(column)
    more = len(order) - len(rows)
    return table.text() + (f"\nand {more} schedulers more, in the report" if more else "")
