"""What validation accepted: all that a LODE may learn from. Knows nothing of how it was checked."""

from __future__ import annotations

from pathlib import Path

from components.runs.validated import read_accepted
from components.storage.workspace import WorkspaceError
from components.training.history import History, HistoryError, digest, history_path, read_history
from components.validation.errors import ValidationError


def accepted_histories(folder: Path, report: Path) -> list[History]:
    """The histories that validation accepted, by run id.

    Args:
        folder: `data/histories/<task>`.
        report: the `accepted.json` of that folder; its `validation.json` says the same.

    Raises:
        ValidationError: none there, or it did not pass, or the histories changed since.
    """
    try:
        verdict = read_accepted(Path(report))
        files = [history_path(Path(folder), run_id) for run_id in verdict.accepted]
        histories = [read_history(path) for path in files]
    except HistoryError as error:
        raise ValidationError(f"{error}; then run `lode validate` again") from None
    except WorkspaceError as error:
        raise ValidationError(str(error)) from None
    if digest(histories) != verdict.histories_digest:
        raise ValidationError(
            f"{folder}: histories changed since {report} was written; run `lode validate` again"
        )
    return histories
