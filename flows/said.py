"""How a flow run ends that cannot go on: its state says why, in the words of the command line.

What a room says on purpose (`components.cli.errors.expected`), and what the machine lacks, becomes
the message of the failed state, with no traceback in the log. A fault of ours keeps its traceback.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow, get_run_logger
from prefect import flow as prefect_flow
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from prefect.states import Failed

from components.cli.errors import expected

P = ParamSpec("P")
R = TypeVar("R")
RUN_LOGS = ("prefect.flow_runs", "prefect.task_runs")


def flow(*, name: str, run_name: Callable[[], str]) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """As Prefect's `flow`, for every flow that somebody starts.

    Args:
        run_name: what a run is called; asked when it begins.
    """

    def made(work: Callable[P, R]) -> Flow[P, R]:
        @wraps(work)
        def told(*args: P.args, **kwargs: P.kwargs) -> R | State[Any]:
            try:
                return work(*args, **kwargs)
            except Exception as error:
                message = expected(error)
                if message is None:
                    raise
                get_run_logger().error(message)
                # called by Python, as `make demo` does, it raises the error; so do its retries
                return Failed(message=message, data=error)

        # Prefect would look for the names of annotations in this module
        told.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
        # to who calls it, it returns what `work` does, or raises
        return prefect_flow(name=name, flow_run_name=run_name)(cast("Callable[P, R]", told))

    return made


def _message(error: Exception) -> str | None:
    """Also what Prefect says of parameters that are of a wrong type."""
    return str(error) if isinstance(error, ParameterTypeError) else expected(error)


class _InWords(logging.Filter):
    """Prefect logs every error with a traceback, that of a whole run twice."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        message = _message(error) if isinstance(error, Exception) else None
        if message is None:
            return True
        if record.name == RUN_LOGS[0]:  # `flow` has said it
            return False
        record.msg, record.args, record.exc_info = message, (), None
        return True


for _name in RUN_LOGS:
    logging.getLogger(_name).addFilter(_InWords())
