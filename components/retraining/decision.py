"""The end of a night: the gate's decision, in the registry and on disk."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from components.evaluation.metric import Metric
from components.registry.about import About
from components.registry.aliases import now
from components.registry.models import Registration
from components.registry.promotion import register_challenger
from components.retraining.comparison import Comparison, compared
from components.retraining.gate import GateResult, Rules, gate
from components.retraining.record import (
    Night,
    NightHistories,
    NightRecord,
    close_night,
    seen_digest,
    this_night,
    write_record,
)
from components.retraining.typed_json import plain
from components.settings import Settings
from components.steps.declared import learning_digest
from components.steps.step import StepResult
from components.storage.workspace import Workspace, git_revision

_LONGEST = 4000  # characters of a tag; MLflow takes 5,000


def decide(settings: Settings, workspace: Workspace) -> StepResult:
    """Pass the gate or not; register the challenger with the decision, and record the night.

    Raises:
        RetrainingError: nothing was compared yet.
        RegistryError: the registry is unreachable, or its champion is another by now. Everything is
            kept: the next `lode retrain` goes on.
    """
    started, task, chosen = time.perf_counter(), settings.task, settings.retraining
    night = this_night(workspace, task)
    found = compared(night, workspace, task)
    rules = Rules(chosen.max_error, chosen.tolerance, chosen.better_in)
    result = gate(found.figures, rules)
    registered = _register(settings, workspace, night, found, result)
    record = _record(task, night, found, result, registered.version)
    write_record(record, workspace)
    close_night(workspace, task)
    return StepResult("decide", True, record.summary, time.perf_counter() - started)


def _register(
    settings: Settings,
    workspace: Workspace,
    night: Night,
    found: Comparison,
    result: GateResult,
) -> Registration:
    lineage = {
        "histories_digest": night.histories_digest,
        "settings_digest": learning_digest(settings),
        "git_revision": git_revision(workspace.main.root),
        "data_revision": night.data_revision or "none",
        "histories": str(len(night.files)),
    }
    return register_challenger(
        workspace.challenger(settings.task),
        task=settings.task,
        tags=lineage,
        decision=_explanation(night, found, result),
        promote=result.promoted,
        champion=found.champion,
        controller=settings.lode.controller,
        settings=settings.lode.scheduler,
        tracking_uri=workspace.database(settings.registry.tracking_uri),
        artifact_root=workspace.artifacts,
        about=About(
            metric=Metric.of(night.read(workspace, night.sweep[:1])),
            learned_from=f"{len(night.sweep)} sweep runs and {len(night.others)} others",
        ),
    )


def _explanation(night: Night, found: Comparison, result: GateResult) -> dict[str, str]:
    """Tags that say why the version is the champion, or is not."""
    return {
        "night": night.id,
        "decision": result.verdict,
        "reasons": "; ".join(result.reasons)[:_LONGEST],
        "figures": json.dumps(plain(result.figures))[:_LONGEST],
        "seeds": json.dumps(night.seeds)[:_LONGEST],
        "compared_with": str(found.champion or "none"),
        "seen": _seen(night, found),
    }


def _record(
    task: str, night: Night, found: Comparison, result: GateResult, version: int
) -> NightRecord:
    return NightRecord(
        night=night.id,
        task=task,
        started=night.started,
        decision=result.verdict,
        reasons=result.reasons,
        figures=result.figures,
        rules=result.rules,
        champion=found.champion,
        seeds=night.seeds,
        tests=found.tests,
        champion_tests=found.champion_tests,
        histories=NightHistories(
            **asdict(night.counts), runs=len(night.files), held_out=len(night.held_out)
        ),
        histories_digest=night.histories_digest,
        data_revision=night.data_revision,
        seen=_seen(night, found),
        version=version,
        ended=now(),
    )


def _seen(night: Night, found: Comparison) -> str:
    return seen_digest(night.settings, {**night.fingerprints, **found.fingerprints})
