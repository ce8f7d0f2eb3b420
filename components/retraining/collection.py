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
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.registry import find
from components.registry.aliases import CHALLENGER, now
from components.retraining.record import (
    Night,
    open_night,
    read_or_none,
    save_night,
    seen_digest,
    settings_digest,
)
from components.retraining.sources import IMPORTED, PILOTS, SWEEP, Found, Gathered, gather
from components.settings import Settings
from components.steps.all_steps import StepResult, tracking_uri
from components.storage.workspace import Workspace
from components.training.history import History, digest
from components.validation import check_runs

ONE_IN = 5  # of our own later runs is held out
SEEDS = (10_000, 2**31)  # the range fresh seeds are drawn from, above any that people write


def collect(settings: Settings, workspace: Workspace) -> StepResult:
    """Begin a night: gather all histories, validate them, freeze the set.

    Returns:
        A result whose `ran` says whether there is anything to learn tonight: new histories or
        settings, or a night to go on with.

    Raises:
        ValidationError: no validated sweep, or too many bad histories.
    """
    started, task = time.perf_counter(), settings.task
    workspace.check_writable()
    night, said = open_night(workspace, task), "going on with a night that was interrupted; "
    if night is None or night.settings != settings_digest(settings) or not night.intact(workspace):
        gathered, said = gather(settings, workspace), ""
        fingerprints = {f.history.run_id: digest([f.history]) for f in gathered.runs}
        if seen_digest(settings_digest(settings), fingerprints) == _last_seen(settings, workspace):
            return StepResult(
                "collect",
                ran=False,
                summary=f"nothing new in {len(fingerprints)} runs",
                facts={"runs": len(fingerprints)},
                seconds=time.perf_counter() - started,
            )
        night = _freeze(settings, workspace, gathered, fingerprints)
        save_night(night, workspace, task)
    return StepResult(
        "collect",
        ran=True,
        summary=said + _said(night),
        facts=_facts(night),
        seconds=time.perf_counter() - started,
    )


def _last_seen(settings: Settings, workspace: Workspace) -> str | None:
    """What the last night knew; from the registry where the reports were cleaned away."""
    record = read_or_none(workspace.nightly_report(settings.task))
    if record is not None:
        return str(record["seen"])
    last = find(settings.task, CHALLENGER, tracking_uri=tracking_uri(settings, workspace))
    return None if last is None else last.tags.get("seen")


def _freeze(
    settings: Settings, workspace: Workspace, gathered: Gathered, fingerprints: dict[str, str]
) -> Night:
    completed = [found.history for found in gathered.runs if found.history.completed]
    checked = check_runs(
        completed,
        task=settings.task,
        updates=settings.training.updates,
        points=settings.training.points,
        unreadable=gathered.unreadable,
        max_train_loss=settings.validation.max_train_loss,
        max_quarantined=settings.validation.max_quarantined,
    )
    good = {history.run_id for history in checked.accepted}
    runs = [found for found in gathered.runs if found.history.run_id in good]
    sweep = [found.history for found in runs if found.source == SWEEP]
    last = _last_seeds(sweep, settings.lode.fit.held_out_seeds)
    ours = [found for found in runs if found.source != IMPORTED]
    held = [f for f in ours if f.history.meta["seed"] in last or by_id(f)]
    seen = digest(checked.accepted)
    taken = {*gathered.seeds, *settings.sweep.seeds, *settings.evaluation.seeds}
    return Night(
        started=now(),
        settings=settings_digest(settings),
        files={f.history.run_id: str(f.path.relative_to(workspace.root)) for f in runs},
        fingerprints=fingerprints,
        sweep=[history.run_id for history in sweep],
        others=[f.history.run_id for f in runs if f.source != SWEEP and not by_id(f)],
        held_out=[f.history.run_id for f in held],
        histories_digest=seen,
        seeds=list(itertools.islice(fresh_seeds(seen, taken), settings.retraining.seeds)),
        counts={
            "by_source": dict(Counter(found.source for found in runs)),
            "diverged": len(gathered.runs) - len(completed),
            "duplicates": gathered.duplicates,
            "skipped": dict(gathered.skipped),
            "quarantined": [
                *(bad.describe() for bad in checked.bad),
                *(f"{k}: {v}" for k, v in gathered.unreadable.items()),
            ],
        },
    )


def by_id(found: Found) -> bool:
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


def _facts(night: Night) -> dict[str, Any]:
    return {
        "runs": len(night.files),
        "held_out": len(night.held_out),
        **night.counts,
        "histories_digest": night.histories_digest,
        "seeds": night.seeds,
        "night": night.id,
    }


def _said(night: Night) -> str:
    counts = night.counts
    parts = [f"{number} {source}" for source, number in counts["by_source"].items()]
    text = f"{len(night.files)} runs ({', '.join(parts)}), {len(night.held_out)} of them held out"
    for what in ("diverged", "duplicates"):
        text += f", {counts[what]} {what}" if counts[what] else ""
    for reason, number in counts["skipped"].items():
        text += f", {number} skipped ({reason})"
    if counts["quarantined"]:
        text += f", {len(counts['quarantined'])} quarantined: {'; '.join(counts['quarantined'])}"
    return text
