"""Files that steps and nights leave for later, changed in hundreds of ways.

Refused by name with what to run, or the same as if nothing had happened; never another result,
never a traceback.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from components.cli.errors import expected
from components.retraining.record import last_record, open_night, save_night, write_record
from components.runs.comparison import comparison
from components.runs.sweep_histories import sweep_run_ids
from components.steps.fit import pilot_histories
from components.steps.pipeline import STEPS
from components.steps.results import read_evaluation, read_registration, read_validation
from components.steps.stamps import check_settings_of, stamp_path, why_stale
from components.steps.table import result_table
from components.storage import lock
from components.storage.checkpoints import read_checkpoint, write_checkpoint
from components.storage.typed import DamagedError, read_sealed, write_sealed
from components.storage.workspace import Workspace
from components.validation.accepted import accepted_histories
from flows.server import running_server
from tests.mutations import byte_changes, field_changes
from tests.retraining.test_record import NIGHT, night_record
from tests.tiny import TASK, tiny

EACH = 20  # changes of every file
WEIGHTS = {"w": torch.arange(6.0), "step": torch.tensor(3.0)}
STAMPED = [name for name, step in STEPS.items() if step.stamped]

Read = Callable[[], Any]


@pytest.fixture(scope="module")
def workspace(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(Path(shutil.copytree(finished, tmp_path_factory.mktemp("state") / "copy")))
    save_night(NIGHT, made, TASK)
    write_record(night_record(task=TASK), made)
    write_checkpoint(made.state / "checkpoint", WEIGHTS, {"done": 7, "errors": [[1, 0.5]]})
    write_sealed(made.state / "plans.json", {"key": "k", "rounds": {"explore": [[0.1]]}})
    (made.state / "serve.json").write_text(json.dumps({"prefect": "http://127.0.0.1:1", "pid": 1}))
    (made.state / "pipeline.json").write_text(json.dumps({"pid": 1, "since": "now"}))
    return made


def stamp(name: str, workspace: Workspace) -> tuple[Path, list[Read]]:
    step, settings = STEPS[name], tiny()
    # In a copy the registration is stale, whatever its stamp says.
    of_other = tiny(training__updates=50) if name == "validate" else settings

    def stale() -> bool:
        return why_stale(step, settings, workspace) is not None

    def mixed() -> str:
        try:
            check_settings_of(name, of_other, workspace)
        except Exception as error:
            assert expected(error)
            return "refused"
        return "taken"

    return stamp_path(workspace, TASK, name), [stale, mixed]


REPORTS = (
    "validation.json",
    "accepted.json",
    "pilots.json",
    "registration.json",
    "evaluation.json",
)


def report(name: str, workspace: Workspace) -> tuple[Path, list[Read]]:
    histories, path = workspace.histories(TASK), workspace.reports(TASK) / name
    readers: dict[str, list[Read]] = {
        "validation.json": [lambda: read_validation(path)],
        "accepted.json": [
            lambda: [h.run_id for h in accepted_histories(histories, path)],
            lambda: sweep_run_ids(TASK, workspace),
            lambda: [job.spec for job in comparison(tiny(), workspace).jobs],
        ],
        "pilots.json": [lambda: [h.run_id for h in pilot_histories(tiny(), workspace)[0]]],
        "registration.json": [lambda: read_registration(path)],
        "evaluation.json": [
            lambda: read_evaluation(path),
            lambda: result_table(tiny(), workspace),
        ],
    }
    return path, readers[name]


def state(name: str, workspace: Workspace) -> tuple[Path, list[Read]]:
    def checkpoint() -> Any:
        found = read_checkpoint(path)
        return found and ({key: value.tolist() for key, value in found[0].items()}, found[1])

    def plans() -> Any:
        try:
            return read_sealed(path)
        except DamagedError:
            return None

    path = workspace.state / name
    readers: dict[str, tuple[Path, Read]] = {
        "night": (workspace.night(TASK) / "night.json", lambda: open_night(workspace, TASK)),
        "record": (workspace.nightly_report(TASK), lambda: last_record(workspace, TASK)),
        "checkpoint": (path, checkpoint),
        "plans.json": (path, plans),
        "serve.json": (path, lambda: running_server(workspace)),
        "pipeline.json": (path, lambda: bool(lock._describe(path))),
    }
    path, read = readers[name]
    return path, [read]


FILES: dict[str, Callable[[Workspace], tuple[Path, list[Read]]]] = {
    **{f"stamp of {name}": partial(stamp, name) for name in STAMPED},
    **{name: partial(report, name) for name in REPORTS},
    **{
        name: partial(state, name)
        for name in ("night", "record", "checkpoint", "plans.json", "serve.json", "pipeline.json")
    },
}
VOID = ("night", "record", "checkpoint", "plans.json", "serve.json")  # damaged is not there


def changes(content: bytes, draw: random.Random) -> Iterator[bytes]:
    """Of the bytes, and of the values if it is JSON."""
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    bytes_ = list(byte_changes(content, draw, EACH // 4))
    fields = (
        [] if found is None else [json.dumps(one).encode() for one in field_changes(found, draw, 1)]
    )
    yield from (one for one in bytes_ if one != content)
    # reformatted JSON is the same file
    yield from draw.sample(fields, min(EACH, len(fields)))


def outcome(read: Read, path: Path) -> Any:
    """What is read, or the name of the file that is refused."""
    try:
        return read()
    except Exception as error:
        message = expected(error)
        assert message is not None, f"a fault of ours: {error!r}"
        assert path.name in message and "run `lode" in message and len(message) < 2000, message
        return "refused"


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_or_void(name: str, workspace: Workspace) -> None:
    path, readers = FILES[name](workspace)
    content, draw = path.read_bytes(), random.Random(name)
    before = [outcome(read, path) for read in readers]
    assert before == [outcome(read, path) for read in readers]
    tried = 0
    try:
        for other in changes(content, draw):
            path.write_bytes(other)
            tried += 1
            for read, was in zip(readers, before, strict=True):
                found = outcome(read, path)
                void = found is None and name in VOID
                made_again = name.startswith("stamp") and found in (True, "refused")
                assert found in ("refused", was) or void or made_again, (other[:300], found)
        path.unlink()
        path.mkdir()
        for read in readers:
            outcome(read, path)
        path.rmdir()
    finally:
        path.write_bytes(content)
    assert tried >= EACH


def test_every_change_is_noticed_where_a_value_is_another(workspace: Workspace) -> None:
    """Not only without a traceback: no reader of a report takes any changed value."""
    for name in REPORTS:
        path, readers = FILES[name](workspace)
        content, draw = path.read_bytes(), random.Random(name)
        whole = json.loads(content)
        try:
            for other in draw.sample(list(field_changes(whole, draw, 1)), EACH):
                if other != whole:
                    path.write_text(json.dumps(other), encoding="utf-8")
                    assert [outcome(read, path) for read in readers] == ["refused"] * len(readers)
        finally:
            path.write_bytes(content)
