"""What tonight's challenger learns from, and what it is judged by.

Held out, which neither champion nor challenger was fitted on:

- all runs of the sweep's held-out seeds, as in the `fit` step. Both LODEs chose their best weights
  by them, so they favour neither;
- of our own runs that came after the pilots, one in five, chosen by its run id alone. A run that is
  held out tonight was held out in every night before and will be in all to come, so no champion was
  fitted on it, whichever night it is of. Nothing is chosen by these runs but the winner.

Imported runs are learned from and never held out: they may be many, from elsewhere, or wrong, and
a LODE is judged by the runs that it will schedule. Nor are pilots held out by their id, since a
champion of the `fit` step was fitted on all of them. The rule breaks only where a run's standing
changes: a seed that becomes the sweep's held-out one, or an imported run that is found among our
own, after a champion was fitted on it favours that champion, which is the safe side.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from components.registry.aliases import CHALLENGER, now
from components.registry.promotion import find
from components.retraining.errors import RetrainingError
from components.retraining.record import (
    Counts,
    Night,
    last_record,
    open_night,
    save_night,
    seen_digest,
    settings_digest,
)
from components.retraining.sources import (
    IMPORTED,
    PILOTS,
    SWEEP,
    FoundRun,
    Sources,
    read_sources,
)
from components.runs.tasks import metric_of
from components.settings import Settings
from components.steps.stamps import check_settings_of
from components.steps.step import StepResult
from components.storage.workspace import Workspace
from components.training.history import DIVERGED, STOPPED, History, digest
from components.validation.imported import Checked, check_runs

ONE_IN = 5  # of our own later runs is held out
SEEDS = (10_000, 2**31)  # the range fresh seeds are drawn from, above any that people write


def collect(settings: Settings, workspace: Workspace) -> StepResult:
    """Begin a night: read all histories, validate them, freeze the set.

    A set that cannot teach is not frozen, and a night that froze one does not go on.

    Returns:
        A result whose `ran` says whether there is anything to learn tonight: new histories or
        settings, or a night to go on with.

    Raises:
        ValidationError: no validated sweep, or too many bad histories.
        WorkspaceError: validation or pilots are missing, or of other settings.
        RetrainingError: there is nothing that a LODE can be fitted on.
    """
    started, task = time.perf_counter(), settings.task
    workspace.check_writable()
    night, before = open_night(workspace, task), ""
    if night is not None and _goes_on(night, settings, workspace):
        before = "going on with a night that was interrupted; "
    else:
        check_settings_of("validate", settings, workspace)
        sources = read_sources(settings, workspace)
        fingerprints = {f.history.run_id: digest([f.history]) for f in sources.runs}
        seen = seen_digest(settings_digest(settings), fingerprints)
        if seen == _last_seen(settings, workspace):
            summary = f"nothing new in {len(fingerprints)} runs{_skipped(sources.skipped)}"
            return StepResult("collect", False, summary, time.perf_counter() - started)
        night = _freeze(settings, workspace, sources, fingerprints)
        save_night(night, workspace, task)
    return StepResult("collect", True, before + _summary(night), time.perf_counter() - started)


def _goes_on(night: Night, settings: Settings, workspace: Workspace) -> bool:
    """Whether a frozen night is one of these settings, with its files, that can be fitted."""
    from components.retraining.teaching import check_teaches  # torch

    if night.settings != settings_digest(settings) or not night.intact(workspace):
        return False
    sweep, others = (night.read(workspace, ids) for ids in (night.sweep, night.others))
    try:
        check_teaches(sweep, others, settings)
    except RetrainingError:
        return False
    return True


def _last_seen(settings: Settings, workspace: Workspace) -> str | None:
    """What the last night knew; from the registry where the reports were cleaned away."""
    record = last_record(workspace, settings.task)
    if record is not None:
        return record.seen
    uri = workspace.database(settings.registry.tracking_uri)
    last = find(settings.task, CHALLENGER, tracking_uri=uri)
    return None if last is None else last.tags.get("seen")


def _freeze(
    settings: Settings, workspace: Workspace, sources: Sources, fingerprints: dict[str, str]
) -> Night:
    from components.retraining.teaching import check_pilots, check_teaches  # torch

    completed = [found.history for found in sources.runs if found.history.completed]
    checked = _checked(completed, sources, settings, workspace)
    good = {history.run_id for history in checked.accepted}
    runs = [found for found in sources.runs if found.history.run_id in good]
    sweep = [found.history for found in runs if found.source == SWEEP]
    others = [found.history for found in runs if found.source != SWEEP and not by_id(found)]
    check_teaches(sweep, others, settings, skipped=list(sources.skipped))
    check_pilots(settings, workspace)
    last = _last_seeds(sweep, settings.lode.fit.held_out_seeds)
    ours = [found for found in runs if found.source != IMPORTED]
    held = [f for f in ours if f.history.meta["seed"] in last or by_id(f)]
    seen = digest(checked.accepted)
    taken = {*sources.seeds, *settings.sweep.seeds, *settings.evaluation.seeds}
    return Night(
        started=now(),
        settings=settings_digest(settings),
        files={f.history.run_id: str(f.path.relative_to(workspace.main.root)) for f in runs},
        fingerprints=fingerprints,
        sweep=[history.run_id for history in sweep],
        others=[history.run_id for history in others],
        held_out=[f.history.run_id for f in held],
        histories_digest=seen,
        seeds=list(itertools.islice(fresh_seeds(seen, taken), settings.retraining.seeds)),
        counts=_counts(sources, runs, checked),
    )


def _checked(
    completed: list[History], sources: Sources, settings: Settings, workspace: Workspace
) -> Checked:
    return check_runs(
        completed,
        task=settings.task,
        updates=settings.training.updates,
        points=settings.training.points,
        unreadable=sources.unreadable,
        max_train_loss=settings.validation.max_train_loss,
        max_quarantined=settings.validation.max_quarantined,
        metric=metric_of(settings, workspace),
    )


def _counts(sources: Sources, runs: list[FoundRun], checked: Checked) -> Counts:
    bad_files = [f"{name}: {reason}" for name, reason in sources.unreadable.items()]
    status = Counter(found.history.meta["status"] for found in sources.runs)
    return Counts(
        by_source=dict(Counter(found.source for found in runs)),
        diverged=status[DIVERGED],
        stopped=status[STOPPED],
        duplicates=sources.duplicates,
        skipped=dict(sources.skipped),
        quarantined=[*(bad.describe() for bad in checked.bad), *bad_files],
    )


def by_id(found: FoundRun) -> bool:
    """Whether a run of our own that came after the pilots is one of those held out for good."""
    if found.source in (SWEEP, PILOTS, IMPORTED):
        return False
    return int(hashlib.sha256(found.history.run_id.encode()).hexdigest(), 16) % ONE_IN == 0


def fresh_seeds(of: str, taken: set[int]) -> Iterator[int]:
    """Seeds on which nothing was trained: drawn by the digest of the set, so that every set has
    others and an interrupted night the same, without those in `taken`."""
    rng, taken = np.random.default_rng(int(of[:16], 16)), set(taken)
    while True:
        seed = int(rng.integers(*SEEDS))
        if seed not in taken:
            taken.add(seed)
            yield seed


def _last_seeds(sweep: list[History], count: int) -> set[int]:
    """The sweep's held-out seeds, as the fit chooses them."""
    seeds = sorted({int(history.meta["seed"]) for history in sweep})
    return set(seeds[-count:]) if count else set()


def _summary(night: Night) -> str:
    counts = night.counts
    parts = [f"{number} {source}" for source, number in counts.by_source.items()]
    text = f"{len(night.files)} runs ({', '.join(parts)}), {len(night.held_out)} of them held out"
    text += f", {counts.diverged} diverged" if counts.diverged else ""
    text += f", {counts.stopped} stopped early" if counts.stopped else ""
    text += f", {counts.duplicates} duplicates" if counts.duplicates else ""
    text += _skipped(counts.skipped)
    if counts.quarantined:
        text += f", {len(counts.quarantined)} quarantined: {'; '.join(counts.quarantined)}"
    return text


def _skipped(reasons: Mapping[str, int]) -> str:
    return "".join(f", {number} skipped ({reason})" for reason, number in reasons.items())
