"""What a task tries again, and after how long."""

from __future__ import annotations

from typing import Any

from components.storage.files import DiskFullError
from components.storage.workspace import WorkspaceError


class FanOutError(RuntimeError):
    """Runs could not be trained elsewhere; the message says which, why, and what to do."""


DELAYS = [5.0, 60.0, 600.0]  # seconds before the first, second, third time again


def may_pass_next_time(task: Any, task_run: Any, state: Any) -> bool:
    """A killed worker or an unreachable registry: yes. Bad settings or data, a full disk: no; nor
    what was already tried again elsewhere."""
    try:
        state.result()
    except (ValueError, TypeError, WorkspaceError, DiskFullError, FanOutError):
        return False
    except Exception:
        return True
    return False
