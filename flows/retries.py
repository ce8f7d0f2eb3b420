"""What a task tries again, and after how long."""

from __future__ import annotations

from typing import Any

from components.workspace import WorkspaceError

DELAYS = [5.0, 60.0, 600.0]  # seconds before the first, second, third time again


def may_pass_next_time(task: Any, task_run: Any, state: Any) -> bool:
    """A killed worker or an unreachable registry: yes. Bad settings, data or weights: no."""
    try:
        state.result()
    except (ValueError, TypeError, WorkspaceError):
        return False
    except Exception:
        return True
    return False
