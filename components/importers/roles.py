"""Which column is which: as `--map` says, else guessed where names are usual, and then shown.

Two columns that could be the same thing are a question to the user, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.importers.errors import RunsError
from components.storage.shown import cut, shown
from components.tasks.own import OwnMetric
from components.training.facts import MINIMIZE

STEP, EPOCH, LOSS, METRIC, LR = "step", "epoch", "train_loss", "val_metric", "lr"
ELAPSED, TEST = "elapsed_s", "test_metric"
ROLES = (STEP, EPOCH, LOSS, METRIC, LR, ELAPSED, TEST)

# Usual names, as `_plain` makes them. `loss` alone is Keras' and Hugging Face's training loss.
_USUAL: dict[str, str] = {
    STEP: r"(train(er)?_)?(global_)?step|iter(ation)?|num_updates|updates?",
    EPOCH: r"(train_)?epochs?",
    LOSS: r"loss|(train(ing)?)_loss(_(step|epoch))?|loss_train(ing)?",
    ELAPSED: r"elapsed_s|_?runtime|_elapsed_s",
    LR: r"((train|optim(izer)?|opt)_)?(lr|learning_rate)(_[a-z]+)?(_?((param_)?group|pg)?_?\d+)?",
}
_HIGHER = r"(val(id(ation)?)?|eval|dev)_(acc(uracy)?|metric|score|f1|r2|auc|top_?1|acc(uracy)?_?1)"
_LOWER = r"(val(id(ation)?)?|eval|dev)_(loss|error|err|perplexity|ppl|nll|mse|rmse|mae|bpb)"
_SPREAD = re.compile(r"_(std|stderr|min|max|var)$", re.IGNORECASE)  # of several runs' means
_NUMBERED = re.compile(r"^(.*?)(\d+)\D*$")


@dataclass(frozen=True)
class Columns:
    """Columns of a log by role; `lr` may be of several parameter groups, the first one's first.

    `guessed`: the roles that nobody named.
    """

    columns: Mapping[str, tuple[str, ...]]
    guessed: frozenset[str] = frozenset()

    def column(self, role: str) -> str | None:
        found = self.columns.get(role)
        return found[0] if found else None

    def names(self) -> list[str]:
        """Every column that is needed, each once."""
        return list(dict.fromkeys(name for names in self.columns.values() for name in names))

    def describe(self) -> str:
        """`train_loss = loss (guessed), …`."""
        return ", ".join(
            f"{role} = {', '.join(cut(name, 60) for name in names)}"
            + (" (guessed)" if role in self.guessed else "")
            for role, names in self.columns.items()
        )


def mapped(
    named: Sequence[tuple[str, str]],
    columns: Sequence[str],
    *,
    constant: Iterable[str] = (),
    own_step: str | None = None,
    counts_updates: bool = False,
    metric: OwnMetric,
    lr_declared: bool = False,
) -> Columns:
    """
    Args:
        named: (role, column), of `--map`.
        columns: what the runs logged. constant: those of them that never change within a run, and
            so are guessed only where no other could be it.
        own_step: the column in which the source counts, taken before any other if it
            `counts_updates`, else where no other says step or epoch.
        metric: the task's; a column of that name is it.
        lr_declared: the rates come from a declared schedule.

    Raises:
        RunsError: no such role or column; one that is needed and not found; two that could be it.
    """
    chosen = _named(named, columns, own_step)
    guessed = set()
    if counts_updates and own_step is not None and not {STEP, EPOCH} & set(chosen):
        chosen[STEP] = (own_step,)
        guessed.add(STEP)
    for role in ROLES:
        if role in chosen or role == TEST or (role == LR and lr_declared):
            continue
        found = _guess(role, columns, set(constant), metric)
        if role == EPOCH and STEP in chosen:
            continue  # steps say more than epochs
        if found:
            chosen[role] = found
            guessed.add(role)
    if STEP not in chosen and EPOCH not in chosen and own_step is not None:
        chosen[STEP] = (own_step,)
        guessed.add(STEP)
    _check_complete(chosen, columns, metric, lr_declared)
    return Columns({role: chosen[role] for role in ROLES if role in chosen}, frozenset(guessed))


def _named(
    named: Sequence[tuple[str, str]], columns: Sequence[str], own_step: str | None
) -> dict[str, tuple[str, ...]]:
    chosen: dict[str, tuple[str, ...]] = {}
    for role, column in named:
        if role not in ROLES:
            raise RunsError(f"--map {cut(role)}=…: no such thing; known: {', '.join(ROLES)}")
        if role in chosen:
            raise RunsError(f"--map {role}: named twice, {cut(chosen[role][0])} and {cut(column)}")
        if column not in columns and column != own_step:
            raise RunsError(
                f"--map {role}={cut(column)}: no run logged a column of that name; they logged "
                f"{shown(list(columns), 600)}"
            )
        chosen[role] = (column,)
    return chosen


def _guess(
    role: str, columns: Sequence[str], constant: set[str], metric: OwnMetric
) -> tuple[str, ...]:
    """The column that must be it, or the learning rates of all groups; nothing: there is none."""
    if role == METRIC and metric.name in columns:
        return (metric.name,)
    usual = _USUAL.get(role) or (
        f"{re.escape(_plain(metric.name))}|{_LOWER if metric.goal == MINIMIZE else _HIGHER}"
    )
    found = [n for n in columns if re.fullmatch(usual, _plain(n)) and not _SPREAD.search(n)]
    found = [name for name in found if name not in constant] or found
    if role == METRIC and len(found) > 1:
        found = [name for name in found if _plain(name) == _plain(metric.name)] or found
    if len(found) < 2:
        return tuple(found)
    groups = _groups(found) if role == LR else ()
    if groups:
        return groups
    names = " or ".join(cut(name, 60) for name in found[:5])
    raise RunsError(f"{role} could be {names}: choose one, e.g. --map {role}={cut(found[0], 60)}")


def _groups(names: Sequence[str]) -> tuple[str, ...]:
    """Names that differ in one number alone, by that number; else nothing."""
    parts = [_NUMBERED.match(name) for name in names]
    if not all(parts) or len({part[1] for part in parts if part}) > 1:
        return ()
    return tuple(
        sorted(names, key=lambda name: int(_NUMBERED.match(name)[2]))  # type: ignore[index]
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W]+", "_", name.strip().lower())


def _check_complete(
    chosen: Mapping[str, tuple[str, ...]],
    columns: Sequence[str],
    metric: OwnMetric,
    lr_declared: bool,
) -> None:
    remedies = {
        LOSS: "name it with --map train_loss=COLUMN",
        METRIC: "name it with --map val_metric=COLUMN",
        LR: "name it with --map lr=COLUMN, or declare the rates with --lr-schedule",
        STEP: "name it with --map step=COLUMN, or epochs with --map epoch=COLUMN",
    }
    for role, remedy in remedies.items():
        if role in chosen or (role == LR and lr_declared) or (role == STEP and EPOCH in chosen):
            continue
        what = f"{role} ({metric.name}, {metric.goal})" if role == METRIC else role
        raise RunsError(
            f"no column looks like the {what} among {shown(list(columns), 600)}; {remedy}"
        )
