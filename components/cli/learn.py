"""`lode learn`: the policies of the schedulers that are learned by reinforcement."""

from __future__ import annotations

from pathlib import Path

import click

from components.cli.options import SEED, read_settings, settings_options
from components.schedulers.names import LEARNED_SCHEDULERS
from components.storage.lock import only_one


@click.command("learn")
@settings_options
@click.option("--scheduler", type=click.Choice(LEARNED_SCHEDULERS), required=True)
@click.option("--task", help="For what.  [default: params.yaml's]")
@click.option(
    "--episodes",
    type=click.IntRange(1, 10_000),  # each is a training
    help="Trainings to learn from.  [default: rl 32, gns 30]",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
def learn_command(
    params: Path,
    overrides: tuple[str, ...],
    scheduler: str,
    task: str | None,
    episodes: int | None,
    seed: int,
) -> None:
    """Learn a policy that sets learning rates, for `lode train --scheduler rl-controller` or gns.

    It goes to models/SCHEDULER/TASK; a finished one is kept, a killed learning goes on.
    """
    settings, workspace = read_settings(params, overrides, task, one_run=True)
    from components.runs.plan import template  # torch
    from components.runs.policies import learn_policy

    with only_one(workspace):
        job = template(settings, workspace, workspace.histories(settings.task))
        result = learn_policy(settings, workspace, job, scheduler, episodes, seed)
    done = f"{result.seconds:.1f} s" if result.ran else "up to date"
    click.echo(f"{scheduler} {settings.task}: {result} ({done})")
