"""The logs of many runs, several at once where their source is slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from components.importers.errors import LeftOutError
from components.importers.kept import Kept
from components.importers.source import Listed, Source

AT_ONCE = 8  # logs that are asked of a tracker: its answers take longer than its work


def each_log(
    source: Source, runs: Sequence[Listed], columns: Sequence[str], kept: Kept
) -> Iterator[tuple[Listed, pd.DataFrame | LeftOutError]]:
    """Every run with its log, or why it has none, in their order; what a slow source sends is
    kept.

    Raises:
        RunsError: the source does not answer any more.
    """

    def read(run: Listed) -> pd.DataFrame | LeftOutError:
        found = kept.read(run) if source.remote else None
        if found is not None:
            return found
        try:
            log = source.log(run, columns)
        except LeftOutError as error:
            return error
        if source.remote:
            kept.write(run, log)
        return log

    if not source.remote:
        yield from ((run, read(run)) for run in runs)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            yield from zip(runs, pool.map(read, runs), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)
