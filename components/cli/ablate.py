"""`lode ablate`: what becomes of the LODE where one setting of it, or of its sweep, is another."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.options import replaced, settings_options
from components.experiments.ablations import NAMES, ablations
from components.lode.settings import CONTROLLERS


@click.command("ablate")
@settings_options
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(list(NAMES)),
    help="One of them. May be repeated.",
)
@click.option(
    "--controller",
    "controllers",
    multiple=True,
    type=click.Choice(CONTROLLERS),
    help="Of one controller alone.  [default: both]",
)
@click.option(
    "--seeds",
    type=click.IntRange(2, 1000),
    default=5,
    show_default=True,
    help="How many of evaluation.seeds every variant is trained on.",
)
def ablate_command(
    params: Path,
    overrides: tuple[str, ...],
    names: tuple[str, ...],
    controllers: tuple[str, ...],
    seeds: int,
) -> None:
    """Vary one thing at a time, and hold it against the full setting on the same fresh seeds.

    \b
    ensemble  ensemble size n and latent noise σ (the paper's Table 3)
    window    μ: how often it decides, and what the paper's controller encodes
    horizon   Δt of the paper's controller (Figure 6)
    caution   κ of ours: gains that a plan is left for, in errors of the judge
    sweep     1, 5, 10 seeds, without OneCycle, only OneCycle (Table 4)
    walltime  seconds per epoch and the share of decisions, by μ and n (Table 5)

    Variants share whatever runs and LODEs they have in common, with the pipeline, too: what is
    there is not done again, and what was killed goes on where it was. The full setting is that of
    params.yaml, so `--set training.updates=2000` ablates longer runs.

    Results are in reports/<task>/ablations: index.md, and for each a figure, JSON and CSV.

    \b
    lode ablate                                        all of them
    lode ablate --only horizon --seeds 20
    lode ablate --only sweep --controller paper
    """
    # pydantic, torch, matplotlib
    from components.experiments.ablate import Base, ablate
    from components.experiments.ablation_page import answer, table
    from components.experiments.command import ExperimentError

    base = Base.of(params, replaced(overrides))
    asked = ablations(base.settings, names, controllers or CONTROLLERS)
    fresh = base.settings.evaluation.seeds
    if len(fresh) < seeds:
        raise ExperimentError(f"--seeds {seeds}: evaluation.seeds has {len(fresh)}; add to them")
    if not asked:
        raise ExperimentError("nothing to ablate: the sweep has one seed and one scheduler")
    for found in ablate(base, asked, fresh[:seeds], say=lambda line: click.echo(line, err=True)):
        click.echo(f"\n{found.key}: {answer(found)}\n\n{table(found).text()}")
    click.echo(f"\nall of it: {base.folder / 'index.md'}")
