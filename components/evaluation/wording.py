"""The report's sentences, no stronger than the numbers."""

from __future__ import annotations

from components.evaluation.metric import Metric
from components.evaluation.notation import (
    configuration,
    count,
    duration,
    place,
    seeds,
)
from components.evaluation.results import Evaluation, FitSummary, PilotResult, RankEntry
from components.schedulers.names import FINER_SEARCH, MULTI_POWER_LAW, label


def setup(evaluation: Evaluation) -> str:
    about, sweep = evaluation.setup, evaluation.sweep
    samples = about.train_samples
    return (
        f"{count(len(about.seeds), 'fresh seed')} per scheduler, {about.updates:,} updates and "
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


def law(unexplained: float, refused: str) -> str:
    """How far the Multi-Power Law is to be believed, or why it has no row.

    Args:
        unexplained: share of the variance of the log losses that it leaves. refused: why it has no
            schedule; empty: it has one.
    """
    name = label(MULTI_POWER_LAW)
    if refused:
        return f"{name} has no row, as it has no schedule: {refused}."
    return (
        f"{name} is the schedule of the least train loss under a law fitted on the sweep's train "
        f"losses, of whose variance (of the logarithms) the law leaves {unexplained:.0%} "
        "unexplained."
    )


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
        f"Before the fit, {found.runs} pilots (runs under schedules that nobody had tried): "
        f"{budget.get('finer', 0)} of the sweep's at peaks between its grid's, "
        f"{budget.get('explore', 0)} of random shape, {budget.get('propose', 0)} proposed by "
        "the LODE and valued by the judge (latent ODEs that say what a given schedule would do), "
        "the others to try the best two (the finalists) against the sweep's best. They took "
        f"{duration(found.seconds)} of training, the sweep {duration(sweep_seconds)}."
    )
    if gain.mean is None or gain.error is None:
        return [cost, f"The finalist diverged, so LODE's runs begin with {name}."]
    result = (
        f"On {gain.n} seeds the better finalist gained {metric.difference(gain.mean)} ± "
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
    dropped = sum(one.dropped for one in found.configurations)
    seeds = f"with {len(found.seeds)} seeds each"
    if dropped:
        seeds = f"on one seed, {len(found.configurations) - dropped} of them on {len(found.seeds)}"
    sentences = [
        f"{found.runs} runs, {len(found.configurations)} configurations {seeds}; {diverged}. They "
        f"took {duration(found.seconds)} of training, added over all runs."
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
        ("Date", about.date and f"{about.date} UTC"),
        ("Code", about.commit),
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
        ("Data", "evaluation.json, runs.parquet, figures/ and downloads/ beside this page"),
    ]
    return [(name, value) for name, value in lines if value]


# What a reader meets on the page, and nowhere else.
WORDS = (
    ("Scheduler", "a way of setting the learning rate; a schedule is its rates over a whole run."),
    ("Sweep", "the runs over schedulers, peak learning rates and seeds that the LODE learns from."),
    ("LODE", "the latent ODE fitted on these runs; a LODE run asks it for its next rates."),
    ("Judge", "latent ODEs driven by the learning rate: what would a given schedule do?"),
    ("Pilot", "a run that tries a schedule nobody has tried, before the LODE is fitted for good."),
    ("Finalist", "one of the pilots' best two schedules; the better one is tried to the end."),
    ("Plan", "the schedule that LODE's runs begin with; they leave it for a judged gain only."),
    (
        "Finer search",
        "the opponent: the sweep's best families at finer peaks, for as many runs as the pilots.",
    ),
    ("Best baseline", "the row, finer search aside, whose configuration validated best."),
    ("Fresh seeds", "seeds that nothing was chosen by: neither peak, nor plan, nor LODE."),
    (
        "Sharpness",
        "the largest eigenvalue of the training loss's Hessian; lower is flatter.",
    ),
)
