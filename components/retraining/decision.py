"""The end of a night: the gate's decision, in the registry and on disk."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from typing import Any

from components.registry import Registration, register_challenger
from components.registry.aliases import now
from components.retraining.comparison import compared, figures
from components.retraining.gate import Decision, Rules, gate
from components.retraining.record import (
    Night,
    close_night,
    seen_digest,
    this_night,
    write_record,
)
from components.settings import Settings
from components.steps.all_steps import (
    StepResult,
    controller_settings,
    learning_digest,
    tracking_uri,
)
from components.storage.workspace import Workspace, git_revision

PROMOTED, REFUSED = "promoted", "refused"
_LONGEST = 4000  # characters of a tag; MLflow takes 5,000


def decide(settings: Settings, workspace: Workspace) -> StepResult:
    """Pass the gate or not; register the challenger with the decision, and record the night.

    Raises:
        RetrainingError: nothing was compared yet.
        RegistryError: the registry is unreachable, or its champion is another by now. Everything is
            kept: the next `lode retrain` goes on.
    """
    started, task = time.perf_counter(), settings.task
    night = this_night(workspace, task)
    found = compared(night, workspace, task)
    chosen = settings.retraining
    rules = Rules(chosen.max_error, chosen.tolerance, chosen.better_in)
    decision = gate(figures(found), rules)
    record = _record(settings, night, found, decision)
    registered = _register(settings, workspace, night, found, decision, record)
    record |= {"version": registered.version, "ended": now()}
    write_record(record, workspace, task)
    close_night(workspace, task)
    return StepResult(
        "decide",
        ran=True,
        summary=_said(registered, decision),
        facts=record,
        seconds=time.perf_counter() - started,
    )


def _record(
    settings: Settings, night: Night, found: dict[str, Any], decision: Decision
) -> dict[str, Any]:
    return {
        "night": night.id,
        "task": settings.task,
        "started": night.started,
        "decision": PROMOTED if decision.promoted else REFUSED,
        "reasons": decision.reasons,
        "figures": _plain(asdict(decision.figures)),
        "rules": asdict(decision.rules),
        "champion": found["champion"],
        "seeds": night.seeds,
        "tests": found["tests"],
        "champion_tests": found["champion_tests"],
        "histories": {"runs": len(night.files), "held_out": len(night.held_out), **night.counts},
        "histories_digest": night.histories_digest,
        "data_revision": night.data_revision,
        "seen": seen_digest(night.settings, {**night.fingerprints, **found["fingerprints"]}),
    }


def _register(
    settings: Settings,
    workspace: Workspace,
    night: Night,
    found: dict[str, Any],
    decision: Decision,
    record: dict[str, Any],
) -> Registration:
    lineage = {
        "histories_digest": night.histories_digest,
        "settings_digest": learning_digest(settings),
        "git_revision": git_revision(workspace.root),
        "data_revision": night.data_revision or "none",
        "histories": str(len(night.files)),
    }
    explained = {
        "night": night.id,
        "decision": record["decision"],
        "reasons": "; ".join(decision.reasons)[:_LONGEST],
        "figures": json.dumps(record["figures"])[:_LONGEST],
        "seeds": json.dumps(night.seeds)[:_LONGEST],
        "compared_with": str(found["champion"] or "none"),
        "seen": record["seen"],
    }
    return register_challenger(
        workspace.challenger(settings.task),
        task=settings.task,
        tags=lineage,
        decision=explained,
        promote=decision.promoted,
        champion=found["champion"],
        tracking_uri=tracking_uri(settings, workspace),
        artifact_root=workspace.artifacts,
        **controller_settings(settings),
    )


def _plain(value: Any) -> Any:
    """As JSON can hold it: None for what is not finite."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _said(registered: Registration, decision: Decision) -> str:
    verdict = PROMOTED if decision.promoted else REFUSED
    return (
        f"{registered.name} version {registered.version} {verdict}: {'; '.join(decision.reasons)}"
    )
