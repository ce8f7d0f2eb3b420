"""All tasks' results in the layout of the paper's Table 1, and what was not run said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.evaluation.decision import decide
from components.evaluation.notation import count
from components.evaluation.order import ranked
from components.evaluation.page import environment
from components.evaluation.results import Evaluation
from components.evaluation.tables import Table
from components.schedulers.names import LABELS, LODE, ROWS, label
from components.storage.files import write_text

NOT_RUN = "not run"
# The paper's columns first, in its order; what else was evaluated follows.
COLUMNS = {
    "fashion-mnist-cnn": "Fashion-MNIST CNN",
    "fashion-mnist-resnet18": "Fashion-MNIST ResNet18",
    "cifar100-resnet18": "CIFAR-100 ResNet18",
    "imagenet-resnet34": "ImageNet ResNet34",
    "tinystories-minigpt": "TinyStories transformer",
}
# Beside its sweep's schedulers the paper has some of each of these kinds; others where evaluated.
_ALWAYS = tuple(
    row.name for row in ROWS if row.in_paper or row.family in ("adaptive", "learned", "lode")
)
_BLOCK = 2  # tasks side by side in a terminal, so that lines stay within 80 columns


def overview(evaluations: Mapping[str, Evaluation], *, markdown: bool = False) -> str:
    """Table 1 (test metric, shares in %, mean ± std over seeds), as text or Markdown.

    Args:
        evaluations: by task; tasks of the paper that are not among them say "not run".
    """
    table = overview_table(evaluations)
    if markdown:
        return table.markdown()
    first, *tasks = table.columns
    blocks = [[first, *tasks[i : i + _BLOCK]] for i in range(0, len(tasks), _BLOCK)]
    return "\n\n".join(table.select({name: name for name in block}).text() for block in blocks)


def overview_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """A row per scheduler and a last one of how many seeds; a column per task."""
    tasks = [*COLUMNS, *(task for task in evaluations if task not in COLUMNS)]
    found = [evaluations.get(task) for task in tasks]
    rows = [(label(row), *(_cell(one, row) for one in found)) for row in _rows(evaluations)]
    seeds = ("seeds", *(str(len(one.setup.seeds)) if one else "" for one in found))
    titles = [_title(task, one) for task, one in zip(tasks, found, strict=True)]
    return Table.of(("Scheduler", *titles), [*rows, seeds])


def _title(task: str, evaluation: Evaluation | None) -> str:
    """The task's, and what is shown where that is no share."""
    title = COLUMNS.get(task, task)
    return title if evaluation is None or evaluation.percent else f"{title} ({evaluation.metric})"


def _rows(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """In the order of the schedulers' table; the LODE is its last."""
    evaluated = {row for one in evaluations.values() for row in one.schedulers}
    known = [row.name for row in ROWS if row.name in evaluated or row.name in _ALWAYS]
    return [*sorted(evaluated.difference(known)), *known]


def _cell(evaluation: Evaluation | None, row: str) -> str:
    entry = evaluation.schedulers.get(row) if evaluation else None
    if entry is None:
        return NOT_RUN
    if entry.test.mean is None:
        return "diverged"
    return evaluation.shown.spread(entry.test, digits=1) if evaluation else NOT_RUN


@dataclass(frozen=True)
class Cell:
    """Of the page's table: what a scheduler reached on a task; `best`: nothing has a better mean
    there, `level`: that cannot be told from the best."""

    text: str
    best: bool = False
    level: bool = False

    @property
    def missing(self) -> bool:
        return self.text == NOT_RUN


@dataclass(frozen=True)
class TaskBlock:
    """What the page says of a task: where its report is, what to use and why, how it was
    measured."""

    title: str
    link: str
    why: str
    use: str
    gain: str
    measured: str


def write_overview(
    evaluations: Mapping[str, Evaluation], unread: Mapping[str, str], path: Path
) -> None:
    """The page over all tasks, whose reports lie in folders of their names beside it.

    Args:
        evaluations: by task. unread: by task, why its evaluation cannot be shown.
    """
    # what is there first: a phone's width ends after two columns
    tasks = [*evaluations, *(task for task in COLUMNS if task not in evaluations)]
    names = sorted(_rows(evaluations), key=lambda row: (row != LODE, row not in LABELS))
    rows = [
        (label(row), row == LODE, [_judged(evaluations.get(task), row) for task in tasks])
        for row in names
    ]
    text = (
        environment()
        .get_template("overview.html")
        .render(
            columns=[
                (_title(task, evaluations.get(task)), task in evaluations, task) for task in tasks
            ],
            rows=rows,
            seeds=[str(len(evaluations[t].setup.seeds)) if t in evaluations else "" for t in tasks],
            blocks=[_block(task, one) for task, one in evaluations.items()],
            missing=[COLUMNS[task] for task in COLUMNS if task not in evaluations],
            unread=unread,
        )
    )
    write_text(path, text)


def _judged(evaluation: Evaluation | None, row: str) -> Cell:
    text = _cell(evaluation, row)
    if evaluation is None or row not in evaluation.schedulers or text == "diverged":
        return Cell(text)
    best = ranked(evaluation)[0]
    if row == best:
        return Cell(text, best=True)
    pair = evaluation.comparisons[best][row]
    return Cell(text, level=pair.p_adjusted is not None and not pair.significant)


def _block(task: str, evaluation: Evaluation) -> TaskBlock:
    decision, about = decide(evaluation), evaluation.setup
    date = evaluation.provenance.date
    measured = f"{about.updates:,} updates, {count(len(about.seeds), 'fresh seed')}"
    return TaskBlock(
        title=_title(task, evaluation),
        link=f"{task}/index.html",
        why=decision.choice.why,
        use=decision.use,
        gain=decision.gain,
        measured=measured + (f", {date} UTC" if date else ""),
    )
