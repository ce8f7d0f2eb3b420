"""Runs in anybody's MLflow: what others have logged, read page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.registry.connection import RegistryError, connect, is_there, shown
from components.storage.shown import cut

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PAGE = 1000  # runs to a page: what a server gives at most without asking twice
_DEFAULT = "Default"  # the experiment that every tracker has, mostly empty


@dataclass(frozen=True)
class ForeignRun:
    """A run as MLflow lists it: its parameters as text, and the names of its metrics.

    `status`: MLflow's, e.g. `FINISHED`. `ended_ms`: 0 where it has not.
    """

    run_id: str
    name: str
    experiment: str
    params: dict[str, str]
    metrics: tuple[str, ...]
    status: str
    ended_ms: int


class Tracker:
    """A tracker that is connected, and those of its experiments that are meant."""

    def __init__(self, client: MlflowClient, names: Sequence[str]) -> None:
        """
        Args:
            names: of active experiments; none: the only one that is not the default.

        Raises:
            RegistryError: there is none, or more than one and no name.
        """
        self._client = client
        self._names = {one.experiment_id: one.name for one in _experiments(client, names)}
        of = ", ".join(sorted(self._names.values()))
        self.label = f"{shown(client.tracking_uri)}, experiment {cut(of)}"

    def runs(self, match: Sequence[tuple[str, str]]) -> Iterator[ForeignRun]:
        """The runs, in the order in which they began.

        Args:
            match: (parameter, pattern with * and ?), left to the server where it can do it.
        """
        for page in _pages(
            self._client.search_runs,
            experiment_ids=list(self._names),
            filter_string=filter_string(match),
            order_by=["attributes.start_time ASC"],
            max_results=PAGE,
        ):
            yield from (self._run(run) for run in page)

    def metric(self, run_id: str, name: str) -> list[tuple[int, int, float]]:
        """(step, milliseconds, value) of all that a run logged under a name, as it was logged."""
        found = self._client.get_metric_history(run_id, name)
        return sorted(((o.step, o.timestamp, o.value) for o in found), key=lambda row: row[1])

    def _run(self, run: Run) -> ForeignRun:
        return ForeignRun(
            run.info.run_id,
            run.info.run_name or run.info.run_id,
            self._names.get(run.info.experiment_id, ""),
            dict(run.data.params),
            tuple(run.data.metrics),
            str(run.info.status),
            int(run.info.end_time or 0),
        )


@contextmanager
def tracker(uri: str, experiments: Sequence[str]) -> Iterator[Tracker]:
    """
    Raises:
        RegistryError: it is not there or not to be reached, or as of `Tracker`; also instead of
            any error of MLflow inside the block.
    """
    if not is_there(uri):
        raise RegistryError(f"{shown(uri)}: no such database")
    with connect(uri) as client:
        yield Tracker(client, experiments)


def filter_string(match: Sequence[tuple[str, str]]) -> str:
    """As MLflow's search wants it. Its patterns have % and _; what has those, quotes or brackets of
    its own is left out, so that the server gives too many runs rather than too few."""
    clauses = []
    for key, pattern in match:
        if key == "name" or any(c in key + pattern for c in "%_[]'\"`\\"):
            continue
        if _number(pattern):  # 0.1 is also 1e-1, and the server compares texts
            continue
        like = pattern.replace("*", "%").replace("?", "_")
        clauses.append(f"params.`{key}` LIKE '{like}'")
    return " and ".join(clauses)


def _experiments(client: MlflowClient, names: Sequence[str]) -> list[Experiment]:
    found = [one for page in _pages(client.search_experiments) for one in page]
    known = ", ".join(sorted(cut(one.name, 60) for one in found)[:20])
    if names:
        missing = [name for name in names if name not in {one.name for one in found}]
        if missing:
            raise RegistryError(
                f"{shown(client.tracking_uri)}: no experiment {cut(missing[0])} (there are {known})"
            )
        return [one for one in found if one.name in names]
    others = [one for one in found if one.name != _DEFAULT] or found
    if len(others) != 1:
        raise RegistryError(
            f"{shown(client.tracking_uri)}: name one of its experiments with --experiment: "
            f"{known or 'there is none'}"
        )
    return others


def _pages(search, **arguments):  # type: ignore[no-untyped-def]
    """The pages of one of MLflow's searches."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield page
        token = page.token
        if not token:
            return


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
