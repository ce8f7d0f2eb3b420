"""The report's sentences, no stronger than the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.metric import Metric
from components.evaluation.notation import (
    NONE,
    configuration,
    count,
    duration,
    p_value,
    place,
    seeds,
    with_peak,
)
from components.evaluation.results import Evaluation, FitSummary, PilotResult, RankEntry
from components.evaluation.statistics import PairedDifference
from components.schedulers.names import FINER_SEARCH, LODE


def headline(evaluation: Evaluation) -> str:
    """The result in one sentence."""
    best = evaluation.best_baseline
    entry, reference = evaluation.schedulers[LODE], evaluation.schedulers[best]
    name = with_peak(reference.scheduler, reference.peak_lr)
    difference = evaluation.comparisons[LODE][best]
    if difference.mean is None:
        return f"LODE and {name} have no seed in common that both completed: no comparison."
    metric = evaluation.shown
    means = f"{metric.mean(entry.test)} against {metric.mean(reference.test)}{metric.unit}"
    means += f" test {metric.name}"
    evidence = f"{_evidence(difference, metric)}, n = {difference.n} seeds"
    decided = verdict(evaluation)
    if decided == "undecided":
        return (
            f"LODE and {name}, the best baseline on validation, cannot be told apart: "
            f"{means}; difference {metric.difference(difference.mean)}{metric.points} ({evidence})."
        )
    side = "above" if decided == "better" else "below"
    size = metric.size(difference.mean) + metric.points
    return f"LODE ends {size} {side} {name}, the best baseline on validation: {means} ({evidence})."


def verdict(evaluation: Evaluation) -> str:
    """`better`, `worse` or `undecided`: LODE against the best baseline, at the 5 % level."""
    difference = evaluation.comparisons[LODE][evaluation.best_baseline]
    if difference.mean is None or not difference.significant:
        return "undecided"
    return "better" if difference.mean > 0 else "worse"


def _evidence(pair: PairedDifference, metric: Metric) -> str:
    """`95 % interval −0.01 to +0.25, p = 0.06`."""
    reach, p = metric.interval(pair), p_value(pair)
    shown = "no interval" if reach == NONE else f"95 % interval {reach}"
    if p == NONE:
        return f"{shown}, no p-value"
    return f"{shown}, p {p}" if p.startswith("<") else f"{shown}, p = {p}"


def setup(evaluation: Evaluation) -> str:
    about, sweep = evaluation.setup, evaluation.sweep
    samples = about.train_samples
    return (
        f"{len(about.seeds)} fresh seeds per scheduler, {about.updates:,} updates and "
        f"{about.points} log points per run"
        + (f", {samples:,} training samples" if samples else "")
        + f", on {', '.join(evaluation.provenance.devices)}. The LODE learned from a sweep "
        f"of {sweep.runs} runs."
    )


def finer_search(evaluation: Evaluation) -> list[str]:
    """What the finer search is and what it chose; nothing where there was none."""
    entry = evaluation.schedulers.get(FINER_SEARCH)
    if entry is None:
        return []
    runs, pilots = entry.price.search - evaluation.sweep.runs, evaluation.pilots
    spent = count(runs, "run")
    if pilots:
        spent += ", as many as the pilots," if pilots.runs == runs else f" (pilots: {pilots.runs})"
    return [
        f"Finer search, the honest opponent, spent {spent} on the sweep's two best schedules at "
        f"finer peaks and chose {configuration(entry.scheduler, entry.peak_lr)}."
    ]


def bold(alike: Sequence[str]) -> str:
    """What bold in the result table means, given the rows in bold."""
    if not alike:
        return "No row is in bold: the paired test does not single out a best scheduler."
    if len(alike) == 1:
        return "Bold: better than every other scheduler (paired t test, p < 0.05)."
    return "Bold: the best mean and those the paired t test cannot tell from it (p ≥ 0.05)."


def lode(evaluation: Evaluation) -> list[str]:
    """What the LODE was fitted on, what the pilots did, how it ranks runs, what it decided."""
    fit = evaluation.lode.fit or FitSummary()
    sentences = []
    if fit.histories is not None:
        held_out = fit.held_out or 0
        sentences.append(
            f"Fitted on {fit.histories - held_out} histories; "
            f"{count(held_out, 'run')} with other seeds held out."
        )
    if evaluation.pilots:
        sentences += pilots(evaluation.pilots, evaluation.sweep.seconds, evaluation.shown)
    sentences += [
        _rank(found, among, evaluation.shown)
        for found, among in (
            (fit.rank.held_out, "held-out runs"),
            (fit.rank.all, "runs, fitted ones included"),
        )
        if found
    ]
    decisions = evaluation.lode.decisions
    if decisions.total:
        kept = ", ".join(f"{n} times ({reason})" for reason, n in decisions.kept.items())
        sentences.append(
            f"Over all scheduled runs it was asked {decisions.total:,} times for the next "
            "learning rates" + (f" and kept its former plan {kept}." if kept else ".")
        )
    return sentences


def _rank(found: RankEntry, among: str, metric: Metric) -> str:
    return (
        f"Shown the first 5 % of each of {found.of} {among}, it picks "
        f"{place(found.rank)}: final validation {metric.name} "
        f"{metric.value(found.metric)}{metric.unit}, the best run's "
        f"{metric.value(found.best)}{metric.unit}."
    )


def pilots(
    found: PilotResult,
    sweep_seconds: float,
    metric: Metric = Metric(),  # noqa: B008 (immutable)
) -> list[str]:
    """What the pilots cost and what came of them."""
    budget, gain = found.budget, found.gain
    name = "the sweep's best schedule"
    if found.baseline:
        name = configuration(found.baseline.scheduler, found.baseline.peak_lr)
    cost = (
        f"{found.runs} pilots tried schedules before the fit: {budget.get('finer', 0)} of the "
        f"sweep's at peaks between its grid's, {budget.get('explore', 0)} of random shape, 2 × "
        f"{budget.get('propose', 0)} proposed by LODE and judge, the others to choose and confirm "
        f"a finalist. They took {duration(found.seconds)} of training, the sweep "
        f"{duration(sweep_seconds)}."
    )
    if gain.mean is None or gain.error is None:
        return [cost, f"The finalist diverged, so LODE's runs begin with {name}."]
    result = (
        f"On {gain.n} seeds of its own the finalist gained {metric.difference(gain.mean)} ± "
        f"{metric.size(gain.error)}{metric.points and metric.points + ' of'} validation "
        f"{metric.name} over {name} (± one standard "
        "error), "
    )
    if found.adopted:
        return [cost, result + "and became the plan."]
    return [cost, result + f"too little to be trusted, so LODE's runs begin with {name}."]


def sweep(evaluation: Evaluation) -> list[str]:
    """What the sweep was, and what became of its runs."""
    found, validation = evaluation.sweep, evaluation.validation
    diverged = f"{found.diverged} of them diverged" if found.diverged else "none diverged"
    sentences = [
        f"{found.runs} runs, {len(found.configurations)} configurations with "
        f"{len(found.seeds)} seeds each; {diverged}. They took "
        f"{duration(found.seconds)} of training, added over all runs."
    ]
    if validation:
        text = f"Validation accepted {count(validation.accepted, 'run')} for the LODE"
        text += f" and quarantined {len(validation.quarantined) or 'none'}"
        if validation.outside:
            belong = "belongs" if validation.outside == 1 else "belong"
            runs = count(validation.outside, "run")
            text += f"; {runs} in the folder {belong} to no declared sweep"
        sentences.append(text + ".")
    if found.diverged:
        sentences.append(
            "In the choice of a peak learning rate a diverged run counts as the worst "
            f"{evaluation.metric} any run of the sweep logged."
        )
    return sentences


def provenance(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(name, value) of what made the report, as far as it is known."""
    about = evaluation.provenance
    threads = "/".join(map(str, about.threads))
    own, swept = seeds(evaluation.setup.seeds), seeds(evaluation.sweep.seeds)
    lines = [
        ("Command", about.command),
        ("Seeds", f"evaluation {own}; sweep {swept}"),
        (
            "Hardware",
            ", ".join(about.devices) + (f", threads per run: {threads}" if threads else ""),
        ),
        ("Versions", ", ".join(f"{name} {'/'.join(v)}" for name, v in about.versions.items())),
        ("Sweep", about.sweep_digest),
        ("Runs", about.runs_digest),
        ("LODE", evaluation.lode.digest),
        ("Data", "evaluation.json, runs.parquet and figures/ beside this page"),
    ]
    return [(name, value) for name, value in lines if value]
