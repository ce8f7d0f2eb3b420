"""Which runs stand behind each row of the comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from components.evaluation.errors import EvaluationError
from components.schedulers.names import LODE
from components.training.history import History

Configuration = tuple[str, float | None]  # scheduler, peak lr
Rows = dict[str, list[History]]


def group_runs(
    runs: Sequence[History], chosen: Mapping[str, Configuration], seeds: Iterable[int]
) -> Rows:
    """The runs of each row's configuration, by seed; rows by name, the LODE last.

    Two rows of one configuration share its runs. Runs of other configurations or seeds, those of
    former settings, are left out. A row may lack some of the seeds, not all of them.

    Raises:
        EvaluationError: a row has no run, or one is there twice.
    """
    if not runs:
        raise EvaluationError("no runs on the fresh seeds; run `lode train` first")
    wanted = sorted(set(seeds))
    found = _found(runs, set(chosen.values()), set(wanted))
    trained = {configuration for configuration, _ in found}
    missing = [
        _missing(configuration, wanted, runs, chosen.values())
        for configuration in dict.fromkeys(chosen.values())
        if configuration not in trained
    ]
    if missing:
        raise EvaluationError(f"the comparison lacks {'; '.join(missing)}; run `lode train`")
    names = sorted(chosen, key=lambda name: (name == LODE, name))
    return {
        name: [run for seed in wanted if (run := found.get((chosen[name], seed)))] for name in names
    }


def distinct(rows: Rows) -> list[History]:
    """All rows' runs, each once."""
    return list({run.run_id: run for runs in rows.values() for run in runs}.values())


def check_task(task: str, histories: Sequence[History]) -> None:
    """Raises EvaluationError where a history is of another task, naming it."""
    foreign = next((h for h in histories if h.meta["task"] != task), None)
    if foreign:
        raise EvaluationError(
            f"{foreign.describe()} ({foreign.run_id}) is of {foreign.meta['task']}, "
            f"expected {task}; move it out"
        )


def check_lengths(histories: Sequence[History]) -> None:
    """Raises EvaluationError where histories are not of one number of updates and points."""
    lengths = {(h.meta["updates"], h.meta["points"]) for h in histories}
    if len(lengths) > 1:
        shown = ", ".join(f"{n} updates and {t} points" for n, t in sorted(lengths))
        raise EvaluationError(
            f"runs of different lengths cannot be compared: {shown}; move out those of the "
            "former settings, or run `lode sweep` and `lode train` again"
        )


def _found(
    runs: Sequence[History], configurations: set[Configuration], seeds: set[int]
) -> dict[tuple[Configuration, int], History]:
    """The wanted runs by configuration and seed."""
    found: dict[tuple[Configuration, int], History] = {}
    for run in runs:
        key = run.configuration, int(run.meta["seed"])
        if key[0] not in configurations or key[1] not in seeds:
            continue
        if key in found:
            raise EvaluationError(
                f"{run.describe()} is there twice ({found[key].run_id}, {run.run_id}), from "
                "different settings or LODEs; move the older file away and run `lode train`"
            )
        found[key] = run
    return found


def _missing(
    configuration: Configuration,
    absent: Sequence[int],
    runs: Sequence[History],
    chosen: Collection[Configuration],
) -> str:
    """`onecycle 0.05 seeds 101, 102`, and at which peaks nobody chose it was trained.

    Args:
        absent: the seeds, none of which it was trained with.
    """
    scheduler, peak_lr = configuration
    peak = "" if peak_lr is None else f" {peak_lr:g}"
    text = f"{scheduler}{peak} seeds {', '.join(map(str, absent))}"
    own = {h.configuration for h in runs if h.meta["scheduler"] == scheduler} - set(chosen)
    others = sorted(lr for _, lr in own if lr is not None)
    if others and peak_lr is not None:
        text += f" (it was trained at {', '.join(f'{lr:g}' for lr in others)}, but "
        text += f"{peak_lr:g} was chosen)"
    return text
