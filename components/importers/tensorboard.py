"""Runs in TensorBoard's event files: the scalars of one folder are one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.importers.errors import LeftOutError, RunsError
from components.importers.match import Match
from components.importers.source import Listed, Param, finite_or_marked, flat
from components.storage.shown import cut, printable

STEP, ELAPSED = "_step", "_elapsed_s"
EVENTS = "*tfevents*"
SCALARS, HPARAMS = "scalars", "hparams"


class TensorBoardSource:
    """A folder of event files as a source of runs."""

    kind, remote, counts_updates = "tensorboard", False, True
    own_step: str | None = STEP

    def __init__(self, source: Path) -> None:
        self.label = printable(str(source))
        self.folders = _folders(source)

    def runs(self, match: Match) -> Iterable[Listed]:
        self._logs: dict[str, pd.DataFrame | LeftOutError] = {}
        for name, paths in self.folders.items():
            log, params = _read(paths)
            self._logs[name] = log
            columns = () if isinstance(log, LeftOutError) else tuple(map(str, log.columns))
            named = tuple(one for one in columns if one != STEP)
            yield Listed(name, name, params, named)

    def log(self, run: Listed, columns: Sequence[str]) -> pd.DataFrame:
        log = self._logs[run.id]
        if isinstance(log, LeftOutError):
            raise log
        return log


def _folders(source: Path) -> dict[str, list[Path]]:
    """Event files by the folder they lie in, oldest first: a resumed run has several."""
    if source.is_file():
        return {cut(printable(source.name), 200): [source]}
    found: dict[str, list[Path]] = {}
    for path in sorted(source.rglob(EVENTS)):
        if path.is_file():
            name = printable(str(path.parent.relative_to(source)))
            found.setdefault(cut(source.name if name == "." else name, 200), []).append(path)
    if not found:
        raise RunsError(f"{printable(str(source))}: no event files (…tfevents…) there")
    return found


def _read(paths: Sequence[Path]) -> tuple[pd.DataFrame | LeftOutError, dict[str, Param]]:
    params: dict[str, Param] = {}
    rows: list[dict[str, Any]] = []
    try:
        for path in paths:
            for event in _events(path):
                for value in event.summary.value:
                    plugin = value.metadata.plugin_data.plugin_name
                    if plugin == HPARAMS:
                        params |= _hparams(value.metadata.plugin_data.content)
                    number = _scalar(value)
                    if number is not None and plugin in ("", SCALARS):
                        time = event.wall_time
                        rows.append({STEP: event.step, "_time": time, cut(value.tag, 200): number})
    except RunsError:
        raise
    except Exception as error:  # whatever a damaged file makes its reader raise
        return LeftOutError(f"its event file is damaged ({cut(type(error).__name__)})"), params
    if not rows:
        return LeftOutError("it logged no scalars"), params
    log = pd.DataFrame(rows)
    log[ELAPSED] = log["_time"] - log["_time"].min()
    return log.drop(columns="_time").astype(np.float64), params


def _events(path: Path) -> Iterator[Any]:
    try:
        # Importing it costs a second, and it is an extra.
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    except ModuleNotFoundError:
        raise RunsError(
            "event files are read by the package tensorboard: pip install "
            "'lode-pipeline[tensorboard]'"
        ) from None
    return EventFileLoader(str(path)).Load()  # type: ignore[no-any-return]


def _scalar(value: Any) -> float | None:
    """A scalar, as it is written today or was before TensorFlow 2; None: something else."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return finite_or_marked(float(value.simple_value))
    if kind != "tensor" or value.tensor.tensor_shape.dim:
        return None
    from tensorboard.util.tensor_util import make_ndarray

    number = np.asarray(make_ndarray(value.tensor))
    if number.size != 1 or not np.issubdtype(number.dtype, np.number):
        return None
    return finite_or_marked(float(number.reshape(-1)[0]))


def _hparams(content: bytes) -> dict[str, Param]:
    """The hyperparameters of `SummaryWriter.add_hparams`."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    values = data.session_start_info.hparams
    kinds = {name: values[name].WhichOneof("kind") for name in values}
    return flat({name: getattr(values[name], kind) for name, kind in kinds.items() if kind})
