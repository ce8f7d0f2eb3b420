"""The evaluation's tables: results, comparisons, errors of prediction; and the text for a terminal.

Page, terminal and Prefect show the same rows.
"""

from __future__ import annotations

import textwrap

from components.evaluation.metric import Metric
from components.evaluation.notation import (
    NONE,
    configuration,
    measured,
    p_value,
)
from components.evaluation.results import ErrorEntry, Evaluation, Price, SchedulerEntry
from components.evaluation.tables import Table
from components.evaluation.wording import finer_search, headline
from components.schedulers.names import FINER_SEARCH, LODE, label

SCHEDULER, PEAK, TEST, RUNS = "Scheduler", "Peak lr", "Test accuracy (%)", "Runs"
SHARPNESS, SECONDS = "Sharpness λₘₐₓ", "Seconds per epoch"
SEARCH, COST = "Search (runs)", "Cost"
# In a terminal: its columns by name (TEST is an accuracy's, `test_column` any metric's), and those
# that make room first where 80 columns are too few.
TERMINAL = {
    SCHEDULER: SCHEDULER,
    PEAK: PEAK,
    TEST: "Test (%)",
    RUNS: RUNS,
    SHARPNESS: "λₘₐₓ",
    SECONDS: "s/epoch",
}
LEAST_NEEDED, WIDTH = ("s/epoch", "λₘₐₓ", RUNS), 80
PARTS = {"held_out": "Runs held out of the fit", "fitted": "Runs of the fit"}


def test_column(metric: Metric) -> str:
    """`Test accuracy (%)`."""
    return f"Test {metric.name}{metric.column}"


def validation_column(metric: Metric) -> str:
    """`Validation (%)`."""
    return f"Validation{metric.column}"


def ranked(evaluation: Evaluation) -> list[str]:
    """The rows, best test mean first."""

    def key(row: str) -> tuple[float, str]:
        mean = evaluation.schedulers[row].test.mean
        return (-mean if mean is not None else float("inf"), row)

    return sorted(evaluation.schedulers, key=key)


def best_rows(evaluation: Evaluation) -> list[str]:
    """The best test mean and every row the paired test cannot tell from it.

    Empty where that says nothing: all are alike, the best has diverged runs, or n < 2.
    """
    first, *others = ranked(evaluation)
    entry = evaluation.schedulers[first]
    if entry.diverged or entry.test.n < 2:
        return []
    pairs = evaluation.comparisons[first]
    alike = [row for row in others if not pairs[row].significant]
    return [] if len(alike) == len(others) else [first, *alike]


def result_table(evaluation: Evaluation) -> Table:
    """One row per scheduler, best test mean first."""
    metric = evaluation.shown
    values = test_column(metric), validation_column(metric)
    columns = (SCHEDULER, PEAK, *values, RUNS, SHARPNESS, SECONDS, SEARCH, COST)
    rows = [_result(row, evaluation.schedulers[row], metric) for row in ranked(evaluation)]
    table = Table.of(columns, rows)
    measured_any = any(entry.sharpness.n for entry in evaluation.schedulers.values())
    return table if measured_any else table.without(SHARPNESS)


def _result(row: str, entry: SchedulerEntry, metric: Metric) -> tuple[str, ...]:
    lost = f" (+ {entry.diverged} diverged)" if entry.diverged else ""
    return (
        label(row),
        _peak(row, entry),
        metric.spread(entry.test),
        metric.spread(entry.validation),
        f"{entry.test.n}{lost}",
        measured(entry.sharpness),
        measured(entry.seconds_per_epoch),
        _price(entry.price),
        NONE if entry.relative_cost is None else f"{entry.relative_cost:.2f}×",
    )


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


def comparison_table(evaluation: Evaluation) -> Table:
    """LODE minus each other row, shares in percentage points; the best baseline and the finer
    search first."""
    metric = evaluation.shown
    best, pairs = evaluation.best_baseline, evaluation.comparisons[LODE]
    order = sorted(pairs, key=lambda row: (row != best, row != FINER_SEARCH, row))
    rows = [
        (
            label(row) + (" (best on validation)" if row == best else ""),
            NONE if (mean := pairs[row].mean) is None else metric.difference(mean),
            metric.interval(pairs[row]),
            p_value(pairs[row]),
            str(pairs[row].n),
        )
        for row in order
    ]
    difference = "Difference (points)" if metric.percent else "Difference"
    return Table.of(("LODE minus", difference, "95 % interval", "p", "Seeds"), rows)


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


def text_table(evaluation: Evaluation) -> str:
    """Headline, notes and result table as plain text of 80 columns, for the end of `make demo`."""
    table, metric = result_table(evaluation), evaluation.shown
    names = {test_column(metric) if name == TEST else name: of for name, of in TERMINAL.items()}
    names[test_column(metric)] = f"Test{metric.column}"
    shown = {name: short for name, short in names.items() if name in table.columns}
    table = table.select(shown)
    for column in LEAST_NEEDED:
        if table.width > WIDTH and column in table.columns:
            table = table.without(column)
    sentences = [headline(evaluation), *finer_search(evaluation), *evaluation.notes]
    wrapped = "\n".join(textwrap.fill(sentence, WIDTH) for sentence in sentences)
    return f"{wrapped}\n\n{table.text()}"
