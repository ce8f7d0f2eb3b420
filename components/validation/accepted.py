"""What validation accepted: all that a LODE may learn from. Knows nothing of how it was checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from components.storage.shown import shown
from components.training.history import History, HistoryError, digest, history_path, read_history
from components.validation.errors import ValidationError


@dataclass(frozen=True)
class _Verdict:
    """What of a report the fit depends on."""

    success: bool
    stopped_by: list[str]
    accepted: list[str]
    histories_digest: str

    def __post_init__(self) -> None:
        texts = [*self.stopped_by, *self.accepted, self.histories_digest]
        if not isinstance(self.success, bool) or not all(isinstance(text, str) for text in texts):
            raise TypeError("a value of another type")


def accepted_histories(folder: Path, report: Path) -> list[History]:
    """The histories that validation accepted, by run id.

    Args:
        folder: `data/histories/<task>`.
        report: the `validation.json` of that folder.

    Raises:
        ValidationError: no validation.json, or it did not pass, or the histories changed since.
    """
    verdict = _read(Path(report))
    if not verdict.success:
        reasons = "\n  - ".join(verdict.stopped_by)
        raise ValidationError(f"{report}: validation did not pass:\n  - {reasons}")
    try:
        files = [history_path(Path(folder), run_id) for run_id in verdict.accepted]
        histories = [read_history(path) for path in files]
    except HistoryError as error:
        raise ValidationError(f"{error}; then run `lode validate` again") from None
    if digest(histories) != verdict.histories_digest:
        raise ValidationError(
            f"{folder}: histories changed since {report} was written; run `lode validate` again"
        )
    return histories


def _read(report: Path) -> _Verdict:
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
        return _Verdict(*(found[each.name] for each in fields(_Verdict)))
    except FileNotFoundError:
        raise ValidationError(f"{report}: no such file; run `lode validate` first") from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValidationError(
            f"{report}: not a validation report ({shown(error)}); run `lode validate` again"
        ) from None
