"""`index.md`: every ablation of a task, its answer in a sentence, its table and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.evaluation.notation import NONE, count, seeds
from components.evaluation.statistics import CONFIDENCE, Summary
from components.evaluation.tables import Table
from components.experiments.ablation_figures import WALLTIME, runs_path, strip_path
from components.experiments.ablation_results import AblationResult, VariantResult, read_results
from components.experiments.ablations import NAMES
from components.lode.settings import DEFAULT
from components.storage.files import write_text

PAGE = "index.md"
CONTROLLER: dict[str, str] = {DEFAULT: "our controller"}  # any other: the paper's
FULL = "full setting"


def write_page(folder: Path) -> None:
    """Write `index.md` of all ablations in a folder, those of earlier calls among them.

    Raises:
        WorkspaceError: the file of one is damaged.
    """
    write_text(folder / PAGE, page(read_results(folder)))


def page(found: Sequence[AblationResult]) -> str:
    """Markdown, with links to the figures beside it."""
    order = [*NAMES]
    found = sorted(found, key=lambda one: (order.index(one.name), one.controller))
    parts = [f"# Ablations on {found[0].task}\n\n{_setting(found[0])}", *map(_section, found)]
    return "\n\n".join(parts) + "\n"


def _setting(found: AblationResult) -> str:
    versions = ", ".join(f"{name} {' / '.join(v)}" for name, v in found.versions.items())
    return (
        f"{found.updates} updates and {found.points} log points a run, fresh seeds "
        f"{seeds(found.seeds)}; the full setting's LODE learned from {found.swept} runs, and under "
        f"our controller from pilots, too, unless said. {', '.join(found.devices)}; {versions}.\n\n"
        "Test metric at the best validation point, mean ± standard deviation over the seeds; "
        "paired differences to the full setting with 95 % intervals; p by Holm for the ablation's "
        "comparisons. Made by `lode ablate`."
    )


def _section(found: AblationResult) -> str:
    under = CONTROLLER.get(found.controller, "the paper's controller")
    as_in = f" ({found.paper} of the paper)" if found.paper else ""
    pictures = [strip_path(Path(), found)]
    if found.name != WALLTIME:
        pictures.append(runs_path(Path(), found))
    shown = "\n".join(f"![{found.title}, {under}]({path})" for path in pictures)
    return (
        f"## {found.title[:1].upper()}{found.title[1:]}: {under}{as_in}\n\n{answer(found)}\n\n"
        f"{table(found).markdown()}\n\n{shown}"
    )


def answer(found: AblationResult) -> str:
    """What the ablation says, in a sentence or two, no stronger than its numbers."""
    if found.name == WALLTIME:
        return _share(found)
    full, *others = (row.test_by_seed for row in found.variants)
    if all(row == full for row in others):
        return "Every variant has the full setting's results, on every seed."
    told = [row for row in found.variants if _differs(row)]
    if not told:
        variants, n = count(len(others), "variant"), len(found.seeds)
        if n < 2:
            return f"One seed, so nothing can be said of the differences of {variants}."
        return (
            f"None of {variants} can be told from the full setting on {n} seeds (adjusted p ≥ "
            f"{1 - CONFIDENCE:.2f}); the intervals say how large a difference may have been missed."
        )
    return "Told from the full setting: " + "; ".join(_told(row, found) for row in told) + "."


def _differs(row: VariantResult) -> bool:
    return row.adjusted is not None and row.adjusted < 1 - CONFIDENCE


def _told(row: VariantResult, found: AblationResult) -> str:
    assert row.difference is not None and row.difference.mean is not None
    gain = found.shown.difference(row.difference.mean) + found.shown.points
    return f"{row.name}, {gain} ({found.shown.interval(row.difference)})"


def _share(found: AblationResult) -> str:
    known = [row for row in found.variants if row.decision_share.mean is not None]
    if not known:
        return "These runs do not say how long their scheduler decided."
    shares = [100 * float(row.decision_share.mean or 0) for row in known]
    return (
        f"The scheduler decides for {min(shares):.2g} to {max(shares):.2g} % of an epoch's seconds "
        "(the paper: 7 to 31 % more than a parametric schedule takes)."
    )


def table(found: AblationResult) -> Table:
    """A row per variant, and the sweep's best schedule last."""
    cells = _seconds if found.name == WALLTIME else _metric
    columns = _SECONDS if found.name == WALLTIME else _metric_columns(found)
    rows = [(row.name, *cells(row, found)) for row in found.variants]
    last = (f"{found.reference.name}, the sweep's best", *cells(found.reference, found))
    return Table.of(columns, [*rows, last])


_SECONDS = ("variant", "seconds per epoch", "share of decisions (%)", "runs")


def _seconds(row: VariantResult, found: AblationResult) -> tuple[str, ...]:
    return _spread(row.seconds_per_epoch, 1, 3), _spread(row.decision_share, 100, 2), _runs(row)


def _spread(summary: Summary, factor: float, digits: int) -> str:
    if summary.mean is None:
        return NONE
    spread = "" if summary.std is None else f" ± {factor * summary.std:.{digits}f}"
    return f"{factor * summary.mean:.{digits}f}{spread}"


def _metric_columns(found: AblationResult) -> tuple[str, ...]:
    unit = found.shown.column
    return (
        "variant",
        f"test {found.metric}{unit}",
        f"validation{unit}",
        f"minus the {FULL}" + (" (points)" if found.percent else ""),
        "95 % interval",
        "p (Holm)",
        "runs",
    )


def _metric(row: VariantResult, found: AblationResult) -> tuple[str, ...]:
    metric, pair = found.shown, row.difference
    minus = (FULL, NONE, NONE) if row.full else (NONE, NONE, NONE)
    if pair is not None and pair.mean is not None:
        minus = metric.difference(pair.mean), metric.interval(pair), _p(row.adjusted)
    return metric.spread(row.test), metric.spread(row.validation), *minus, _runs(row)


def _p(p: float | None) -> str:
    return NONE if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _runs(row: VariantResult) -> str:
    lost = f" (+ {row.diverged} diverged)" if row.diverged else ""
    return f"{row.test.n}{lost}"
