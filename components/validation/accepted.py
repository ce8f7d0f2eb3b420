"""What validation accepted: all that a LODE may learn from. Knows nothing of how it was checked."""

from __future__ import annotations

import json
from pathlib import Path

from components.training.history import History, HistoryError, digest, history_path, read_history
from components.validation.errors import ValidationError


def accepted_histories(folder: Path, report: Path) -> list[History]:
    """The histories that validation accepted, by run id.

    Args:
        folder: `data/histories/<task>`.
        report: the `validation.json` of that folder.

    Raises:
        ValidationError: no validation.json, or it did not pass, or the histories changed since.
        HistoryError: an accepted history cannot be read any more.
    """
    try:
        verdict = json.loads(Path(report).read_text(encoding="utf-8"))
        accepted, expected = verdict["accepted"], verdict["histories_digest"]
    except FileNotFoundError:
        raise ValidationError(f"{report}: no such file; run `lode validate` first") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValidationError(
            f"{report}: not a validation report ({error!r}); run `lode validate` again"
        ) from None
    if not verdict["success"]:
        reasons = "\n  - ".join(verdict["stopped_by"])
        raise ValidationError(f"{report}: validation did not pass:\n  - {reasons}")
    try:
        histories = [read_history(history_path(Path(folder), run_id)) for run_id in accepted]
    except HistoryError as error:
        raise ValidationError(f"{error}; then run `lode validate` again") from None
    if digest(histories) != expected:
        raise ValidationError(
            f"{folder}: histories changed since {report} was written; run `lode validate` again"
        )
    return histories
