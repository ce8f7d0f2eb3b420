"""What to do with an evaluation: which schedule to use, what that is expected to bring, how sure
this is, what it cost and where it could fail. Page, terminal and Prefect open with it.

The choice is made on validation: LODE where it beats the best baseline beyond noise, else that
baseline. Test results overrule it only where another row is better than the choice beyond noise,
and then the words say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from components.evaluation.notation import NONE, count, duration, p_value, with_peak
from components.evaluation.order import ranked
from components.evaluation.results import Evaluation
from components.evaluation.shared import same_runs
from components.evaluation.statistics import Comparison
from components.schedulers.names import FINER_SEARCH, LODE, NEED_GRADIENTS, label

# `lode`: LODE is better. `kept`: it is the best baseline, to the bit. `level`, `worse`: it cannot
# be told from it; it is worse. `fragile`: it is better, but more of its runs have no result.
# `unknown`: nothing can be said of their difference. `test`: another row is better than what
# validation chose. `left`: what validation chose has no result. `nothing`: no row has one.
Why = Literal["lode", "kept", "level", "worse", "fragile", "unknown", "test", "left", "nothing"]
FEW_SEEDS = 5  # below, Student's interval is more than 1.4 times as wide as of many seeds


@dataclass(frozen=True)
class Choice:
    """The row to use (None: none has a result), and why it; `over`: the row that it is better than
    (`lode`, `test`), or that validation had chosen (`left`)."""

    row: str | None
    why: Why
    over: str


@dataclass(frozen=True)
class Decision:
    """Sentences, and the choice behind them."""

    choice: Choice
    use: str
    gain: str
    sure: str
    cost: str
    risks: list[str]

    def answers(self) -> list[tuple[str, list[str]]]:
        """(question, sentences) of all but `use`."""
        found = [
            ("Expected gain", [self.gain]),
            ("How sure", [self.sure]),
            ("Cost", [self.cost]),
            ("Could fail", self.risks),
        ]
        return [(question, sentences) for question, sentences in found if sentences]

    def lines(self) -> list[str]:
        """All of it, `use` first, each answer with its question."""
        found = (f"{question}: {' '.join(texts)}" for question, texts in self.answers())
        return [self.use, *found]


def decide(evaluation: Evaluation) -> Decision:
    """In plain words, no stronger than the numbers."""
    choice = choose(evaluation)
    if choice.row is None:
        return Decision(choice, _use(evaluation, choice), *_NOTHING, [])
    return Decision(
        choice,
        _use(evaluation, choice),
        _gain(evaluation, choice),
        _sure(evaluation, choice),
        _cost(evaluation, choice.row),
        list(_risks(evaluation, choice)),
    )


_NOTHING = (
    "None: there is no result.",
    "Not at all: every run diverged, or has no finite test metric.",
    "All runs of sweep and comparison, for nothing; lower sweep.peak_lrs and run `lode sweep`.",
)


def choose(evaluation: Evaluation) -> Choice:
    """By validation, unless the test results speak clearly against it."""
    planned = _by_validation(evaluation)
    leader, *_ = order = ranked(evaluation)
    if evaluation.schedulers[leader].test.mean is None:
        return Choice(None, "nothing", evaluation.best_baseline)
    assert planned.row is not None
    if evaluation.schedulers[planned.row].test.mean is None:
        return Choice(leader, "left", planned.row)
    clearly = (row for row in order if _is_better(evaluation, row, planned.row))
    better = next(clearly, None)
    return Choice(better, "test", planned.row) if better else planned


def _by_validation(evaluation: Evaluation) -> Choice:
    best, entries = evaluation.best_baseline, evaluation.schedulers
    pair = evaluation.comparisons[LODE][best]
    if same_runs(entries[LODE], entries[best]):
        return Choice(best, "kept", best)
    if pair.mean is None or pair.p_adjusted is None:
        return Choice(best, "unknown", best)
    if not pair.significant:
        return Choice(best, "level", best)
    if pair.mean < 0:
        return Choice(best, "worse", best)
    if entries[LODE].diverged > entries[best].diverged:
        return Choice(best, "fragile", best)
    return Choice(LODE, "lode", best)


def _is_better(evaluation: Evaluation, row: str, other: str) -> bool:
    """Beyond noise, and with no more runs lost."""
    if row == other:
        return False
    pair, entries = evaluation.comparisons[row][other], evaluation.schedulers
    ahead = pair.mean is not None and pair.mean > 0 and pair.significant
    return ahead and entries[row].diverged <= entries[other].diverged


def name_of(evaluation: Evaluation, row: str) -> str:
    """`LODE`, `OneCycle (peak lr 0.05)`, `Finer search's OneCycle (peak lr 0.07)`."""
    entry = evaluation.schedulers[row]
    named = with_peak(entry.scheduler, entry.peak_lr)
    return named if entry.scheduler == row else f"{label(row)}'s {named}"


def _use(evaluation: Evaluation, choice: Choice) -> str:
    best = name_of(evaluation, evaluation.best_baseline)
    row = name_of(evaluation, choice.row) if choice.row else ""
    over = name_of(evaluation, choice.over)
    reason = f"{count(len(evaluation.setup.seeds), 'seed')} cannot tell LODE from it"
    if evaluation.schedulers[LODE].test.mean is None:
        reason = "LODE has no result"
    sentences: dict[Why, str] = {
        "lode": f"Use LODE: it does better than {best}, the best baseline on validation.",
        "kept": f"Use {best}: LODE found no schedule that it would trust more, and kept it; its "
        "runs are the same to the bit.",
        "level": f"Use {best}, the best baseline on validation: LODE cannot be told apart from it, "
        "and takes more trainings to find.",
        "worse": f"Use {best}, the best baseline on validation: LODE does worse.",
        "fragile": f"Use {best}, the best baseline on validation: LODE does better where it ends, "
        "but more of its runs have no result.",
        "unknown": f"Use {best}, the best baseline on validation, for want of evidence: {reason}.",
        "test": f"Use {row}: validation had chosen {over}, but on the fresh seeds {row} does "
        "better.",
        "left": f"Use {row}: {over}, the best baseline on validation, has no result on the fresh "
        "seeds.",
        "nothing": "Use none of these schedules: no run on the fresh seeds has a result.",
    }
    return sentences[choice.why]


def _gain(evaluation: Evaluation, choice: Choice) -> str:
    metric, entries = evaluation.shown, evaluation.schedulers
    assert choice.row is not None
    mean = f"{metric.spread(entries[choice.row].test)}{metric.unit} test {metric.name}"
    reached = f"{name_of(evaluation, choice.row)} reaches {mean}."
    if choice.why in ("kept", "left"):
        return f"{'None' if choice.why == 'kept' else 'Not known'}: {reached}"
    first = choice.row if choice.why == "test" else LODE
    pair = evaluation.comparisons[first][choice.over]
    if pair.mean is None:
        return f"Not known: no seed that both completed. {reached}"
    means = f"{metric.mean(entries[first].test)} against {metric.mean(entries[choice.over].test)}"
    means += f"{metric.unit} test {metric.name}" + (", lower is better" if metric.lower else "")
    size = metric.difference(pair.mean) + metric.points
    if choice.why in ("lode", "test"):
        return f"{size} over {name_of(evaluation, choice.over)}: {means}."
    none = {
        "worse": "None by LODE, which loses",
        "level": "None that can be told from noise",
        "fragile": "None to rely on",
    }
    return f"{none.get(choice.why, 'Not known')}: LODE minus it {size} ({means})."


def _sure(evaluation: Evaluation, choice: Choice) -> str:
    assert choice.row is not None
    if choice.why == "kept":
        n = evaluation.schedulers[choice.row].test.n
        return f"Exact: on {count(n, 'seed')} the two end with the same numbers."
    if choice.why == "left":
        n = evaluation.schedulers[choice.row].test.n
        return f"Not very: it has the highest mean of what is left, over {count(n, 'seed')}."
    first = choice.row if choice.why == "test" else LODE
    return evidence(evaluation, first, choice.over)


def evidence(evaluation: Evaluation, first: str, second: str) -> str:
    """How sure a difference is: its interval, seeds and adjusted p-value, in sentences."""
    pair, metric = evaluation.comparisons[first][second], evaluation.shown
    if pair.n < 2:
        return f"Not at all: {count(pair.n, 'seed')} in common, hence no interval and no p-value."
    if pair.p_value is None:
        return f"Unclear: all {pair.n} differences are equal, hence no interval and no p-value."
    sentence = (
        f"95 % interval {metric.interval(pair)} over {pair.n} seeds, "
        f"{adjusted(pair, comparisons_of(evaluation, first))}."
    )
    if pair.n < FEW_SEEDS:
        sentence += f" Few: with {pair.n} seeds only large differences show."
    return sentence


def adjusted(pair: Comparison, of: int) -> str:
    """`p = 0.012 (adjusted for 4 comparisons)`."""
    p = p_value(pair.p_adjusted)
    if p == NONE:
        return "no p-value"
    shown = f"p {p}" if p.startswith("<") else f"p = {p}"
    return shown if of == 1 else f"{shown} (adjusted for {of} comparisons)"


def comparisons_of(evaluation: Evaluation, row: str) -> int:
    """How many comparisons of a row its p-values are adjusted for."""
    return sum(pair.p_value is not None for pair in evaluation.comparisons[row].values())


def _cost(evaluation: Evaluation, row: str) -> str:
    price, sweep = evaluation.schedulers[row].price, evaluation.sweep
    pilots = evaluation.pilots
    if row != LODE:
        theirs = evaluation.schedulers[LODE].price.search
        text = f"{count(price.search, 'training')} to choose it; LODE's search took {theirs}."
    elif pilots:
        text = (
            f"{count(price.search, 'training')} before the first: {sweep.runs} of the sweep "
            f"({duration(sweep.seconds)}) and {pilots.runs} pilots, which tried schedules of other "
            f"shapes ({duration(pilots.seconds)})."
        )
    else:
        text = (
            f"{count(price.search, 'training')} before the first, all of the sweep "
            f"({duration(sweep.seconds)}); no pilots."
        )
    if price.learning:
        text += f" Learning its policy took as much as {price.learning:.3g} trainings more."
    each = "one training" if price.factor == 1 else f"{price.factor:g} trainings"
    return f"{text} A result then takes {each}."


def _risks(evaluation: Evaluation, choice: Choice) -> Iterator[str]:
    assert choice.row is not None
    yield from _leader(evaluation, choice.row)
    if choice.why == "test":
        yield (
            "It was picked by these very test results: try it on new seeds before you rely on the "
            "number."
        )
    if choice.row == LODE:
        yield from _finer_search(evaluation)
        if evaluation.pilots is None:
            yield (
                "No pilot has tried LODE's schedule before: what it was chosen by is a prediction."
            )
    for row in dict.fromkeys((choice.row, evaluation.best_baseline)):
        yield from _edge(evaluation, row)
    entry = evaluation.schedulers[choice.row]
    if entry.diverged:
        yield f"{entry.diverged} of its {len(entry.test_by_seed)} runs have no result."
    if choice.row in NEED_GRADIENTS:
        yield "It follows the gradients of each run: there is no fixed schedule to take away."
    yield (
        f"Measured in trainings of {evaluation.setup.updates:,} updates of this task; elsewhere it "
        "may be otherwise."
    )


def _leader(evaluation: Evaluation, row: str) -> Iterator[str]:
    """Another row with the highest test mean."""
    leader, entries = ranked(evaluation)[0], evaluation.schedulers
    if leader in (row, LODE) or same_runs(entries[leader], entries[row]):
        return  # LODE's difference is what was said before
    pair, metric = evaluation.comparisons[leader][row], evaluation.shown
    by = "" if pair.mean is None else f" by {metric.size(pair.mean)}{metric.points}"
    told = adjusted(pair, comparisons_of(evaluation, leader))
    why = "the lead may be chance"
    if pair.significant:
        why = f"but {entries[leader].diverged} of its runs have no result"
    yield (
        f"{name_of(evaluation, leader)}, not the best on validation, leads the table of test "
        f"results{by} ({told}): {why}."
    )


def _finer_search(evaluation: Evaluation) -> Iterator[str]:
    """Whether the same trainings, spent on finer peaks, would have done as well."""
    if FINER_SEARCH not in evaluation.schedulers:
        return
    pair, metric = evaluation.comparisons[LODE][FINER_SEARCH], evaluation.shown
    if pair.mean is None or (pair.significant and pair.mean > 0):
        return
    size = metric.difference(pair.mean) + metric.points
    yield (
        f"{name_of(evaluation, FINER_SEARCH)}, found with about as many trainings, does as well: "
        f"LODE minus it {size} ({adjusted(pair, comparisons_of(evaluation, LODE))})."
    )


def _edge(evaluation: Evaluation, row: str) -> Iterator[str]:
    """A best peak at the end of those that were tried."""
    entry = evaluation.schedulers[row]
    peaks = sorted(
        c.peak_lr
        for c in evaluation.sweep.configurations
        if c.scheduler == entry.scheduler and c.peak_lr is not None
    )
    if len(peaks) < 2 or entry.peak_lr not in (peaks[0], peaks[-1]):
        return
    end, other = ("largest", "larger") if entry.peak_lr == peaks[-1] else ("smallest", "smaller")
    yield (
        f"{label(entry.scheduler)}'s best peak, {entry.peak_lr:g}, is the {end} of the "
        f"{len(peaks)} that were tried: a {other} one may be better still (sweep.peak_lrs)."
    )
