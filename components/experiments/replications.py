"""Replications of a setting: sweeps of it, each with pilots and a fit of its own, and all of them.

A row of a sweep is over the seeds of the final trainings alone. All together are shown over those
seeds, of every seed's mean over the replications: how sure these plans' mean is; and over the
replications, of their means: what another sweep, other pilots and another fit may bring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import click

from components.evaluation.metric import Metric
from components.evaluation.notation import NONE, configuration, seeds
from components.evaluation.results import Evaluation, PilotResult
from components.evaluation.statistics import summarize
from components.evaluation.tables import Table
from components.experiments.command import (
    PARAMS,
    Command,
    ExperimentError,
    by_folder,
    evaluation_of,
)
from components.experiments.differences import Differences, above_zero, minus, sweeps_best, text
from components.schedulers.names import FINER_SEARCH

COLUMNS = (
    "sweep seeds",
    "the sweep's best",
    "pilots' gain",
    "plan",
    "minus the sweep's best",
    "minus the finer search's",
    "n",
)
NOT_RUN = "not run"


@click.command(cls=Command)
@click.argument("params", nargs=-1, required=True, type=PARAMS)
def main(params: tuple[Path, ...]) -> None:
    """Print LODE minus its sweep's best, and minus the finer search, of replications of a setting.

    Reads reports/<task>/evaluation.json beside every PARAMS, which `lode evaluate` leaves: one
    setting and the same fresh seeds, every folder with a sweep, pilots and a fit of its own. With
    `baselines: {schedulers: [finer-search]}` there is a finer search to compare with.

    Prints a Markdown table (of a share in points): a row per sweep, then all of them over the
    fresh seeds and over the replications, with 95 % intervals.

    \b
    .venv/bin/python -m components.experiments.replications R1/params.yaml R2/params.yaml
    """
    evaluations = by_folder(params, evaluation_of)
    table = replications_table(evaluations)
    click.echo(f"{heading(evaluations)}\n\n{table.markdown()}\n\n{decisions(evaluations)}")


def replications_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """A row per sweep; with two or more, three rows of all of them.

    Args:
        evaluations: by folder.

    Raises:
        ExperimentError: they are not of one setting with the same fresh seeds.
    """
    check_alike(evaluations)
    rows = [_sweep(folder, one) for folder, one in evaluations.items()]
    metric = next(iter(evaluations.values())).shown
    best = [minus(one, sweeps_best(one, folder)) for folder, one in evaluations.items()]
    finer = [minus(one, FINER_SEARCH) for one in evaluations.values() if _has_finer(one)]
    return Table.of(COLUMNS, [*rows, *(_together(best, finer, metric) if len(rows) > 1 else [])])


def check_alike(evaluations: Mapping[str, Evaluation]) -> None:
    """Raises ExperimentError where two evaluations are not replications of one setting."""
    (first, reference), *others = evaluations.items()
    for folder, one in others:
        for name, mine, theirs in (
            ("task", one.task, reference.task),
            ("updates", one.setup.updates, reference.setup.updates),
            ("log points", one.setup.points, reference.setup.points),
            ("training samples", one.setup.train_samples, reference.setup.train_samples),
            ("controller", _controller(one), _controller(reference)),
            ("fresh seeds", seeds(one.setup.seeds), seeds(reference.setup.seeds)),
        ):
            if mine != theirs:
                raise ExperimentError(
                    f"{folder}: {name} {mine}, but {theirs} in {first}; replications are of one "
                    "setting: print the others apart, or set it alike and run `lode train` and "
                    f"`lode evaluate --params {folder}/params.yaml`"
                )
        if one.provenance == reference.provenance:
            raise ExperimentError(f"{folder}: the same runs as in {first}; name it once")


def heading(evaluations: Mapping[str, Evaluation]) -> str:
    """What the table is of."""
    one = next(iter(evaluations.values()))
    return (
        f"{one.task}, {one.setup.updates:,} updates: LODE minus another, "
        f"{'points of ' if one.percent else ''}test {one.metric} on the fresh seeds "
        f"{seeds(one.setup.seeds)}, paired, 95 % intervals"
    )


def decisions(evaluations: Mapping[str, Evaluation]) -> str:
    """How often LODE left its plan during a run."""
    asked = sum(one.lode.decisions.total for one in evaluations.values())
    kept = sum(sum(one.lode.decisions.kept.values()) for one in evaluations.values())
    return f"LODE left its plan at {asked - kept:,} of {asked:,} decisions."


def over_seeds(replications: Sequence[Differences]) -> Differences:
    """Mean over the replications of every seed that all of them have."""
    common = set.intersection(*(set(one) for one in replications))
    return {seed: fmean(one[seed] for one in replications) for seed in sorted(common)}


def over_replications(replications: Sequence[Differences]) -> Differences:
    """Mean over its seeds of every replication that has any."""
    return {str(i): fmean(one.values()) for i, one in enumerate(replications) if one}


def _controller(evaluation: Evaluation) -> str:
    return str((evaluation.lode.controller or {}).get("controller"))


def _has_finer(evaluation: Evaluation) -> bool:
    return FINER_SEARCH in evaluation.schedulers


def _sweep(folder: str, evaluation: Evaluation) -> list[str]:
    """The row of one replication."""
    row = sweeps_best(evaluation, folder)
    best, finer = evaluation.schedulers[row], evaluation.schedulers.get(FINER_SEARCH)
    # the two comparisons that were planned, each for itself
    pairs = {
        one: above_zero(minus(evaluation, one)) for one in (row, *([FINER_SEARCH] if finer else []))
    }
    compared = [pairs[row]] + ([pairs[FINER_SEARCH]] if finer else [])
    against = text(pairs[FINER_SEARCH], evaluation.shown) if finer else NOT_RUN
    if finer and (finer.scheduler, finer.peak_lr) == (best.scheduler, best.peak_lr):
        against += ": it chose the sweep's best"
    return [
        seeds(evaluation.sweep.seeds),
        configuration(best.scheduler, best.peak_lr),
        *_pilots(evaluation.pilots, evaluation.shown),
        text(pairs[row], evaluation.shown),
        against,
        ", ".join(dict.fromkeys(str(pair.n) for pair in compared)),
    ]


def _pilots(pilots: PilotResult | None, metric: Metric) -> list[str]:
    """Their estimate of the plan's gain ± its standard error, and what became of the plan."""
    if pilots is None:
        return [NONE, "no pilots"]
    gain = pilots.gain
    estimate = NONE
    if gain.mean is not None and gain.error is not None:
        estimate = f"{metric.difference(gain.mean)} ± {metric.size(gain.error)}"
    return [estimate, "adopted" if pilots.adopted else "refused"]


def _together(
    best: Sequence[Differences], finer: Sequence[Differences], metric: Metric
) -> list[list[str]]:
    """All replications over seeds and over themselves, and how much they scatter."""
    rows = []
    for name, over in (("seeds", over_seeds), ("replications", over_replications)):
        pooled = [over(found) if found else {} for found in (best, finer)]
        cells = [text(above_zero(one), metric) if one else NOT_RUN for one in pooled]
        counts = ", ".join(dict.fromkeys(str(len(one)) for one in pooled if one))
        rows.append([f"**all {len(best)}, over {name}**", "", "", "", *cells, counts])
    spread = [summarize(over_replications(found).values()) for found in (best, finer)]
    scatter = [NONE if one.std is None else metric.size(one.std) for one in spread]
    counts = ", ".join(dict.fromkeys(str(one.n) for one in spread if one.n))
    return [*rows, ["standard deviation over replications", "", "", "", *scatter, counts]]


if __name__ == "__main__":
    main()
