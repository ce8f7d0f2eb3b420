"""The section `tasks` of params.yaml: what it may say, and what it changes in the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.cli.importing import _target
from components.runs.plan import template
from components.runs.runnable import check_runnable
from components.runs.tasks import digest_of, metric_of, own_of, task_of
from components.settings import Settings, SettingsError, load
from components.steps.declared import learning_digest, values
from components.steps.pipeline import PIPELINE, steps_of
from components.storage.workspace import Workspace
from components.tasks.errors import TaskError
from components.tasks.own import Command, OwnMetric, PythonTask

ACC = {"name": "val_acc", "goal": "maximize"}
COMMAND = {"command": "python train.py", "metric": ACC}
IMPORTED = {"imported": True, "metric": {"name": "val_loss", "goal": "minimize"}}


def settings(folder: Path, own: dict[str, Any], **more: Any) -> Settings:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({"task": "mine", "tasks": {"mine": own}, **more}))
    return load(path)


def test_the_three_kinds(tmp_path: Path) -> None:
    command = settings(tmp_path, {**COMMAND, "folder": "../p", "timeout": "2h"})
    workspace = Workspace(tmp_path)
    metric = OwnMetric("val_acc", "maximize")
    expected = Command("python train.py", str(tmp_path), "../p", metric, 7200.0)
    assert own_of(command, workspace) == expected
    python = settings(tmp_path, {"python": "my_package.tasks:TASK"})
    assert own_of(python, workspace) == PythonTask("my_package.tasks:TASK", str(tmp_path))
    imported = settings(tmp_path, IMPORTED)
    assert own_of(imported, workspace) is None and imported.pilot_runs == 0
    names = " ".join(step.name for step in steps_of(imported))
    assert names == "sweep validate pilot fit register"
    assert steps_of(command) == PIPELINE
    assert metric_of(imported, workspace) == OwnMetric("val_loss", "minimize")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "name one of command .* there is none"),
    ({**COMMAND, "imported": True}, "there is command and imported"),
    ({"command": "x"}, "metric is missing: say what is logged and which way is better"),
    ({"imported": True}, "metric is missing"),
    ({"command": "x", "metric": {"name": "a"}}, "metric.goal is missing"),
    ({"command": "x", "metric": {"name": "a", "goal": "max"}}, "metric.goal = 'max'"),
    ({"command": "x", "metric": {"name": "a\tb", "goal": "maximize"}}, "metric.name = "),
    ({**COMMAND, "timeout": "soon"}, "'soon' is no time: seconds, or 90s, 30m, 2h, 1d"),
    ({**COMMAND, "timeout": "0.1s"}, "must be from 1 to 2592000.0: seconds, 30 days at most"),
    ({**COMMAND, "timeout": "31d"}, "must be from 1"),
    ({**COMMAND, "timeout": True}, "timeout = True"),
    ({**COMMAND, "comand": "x"}, "unknown key tasks.mine.comand"),
    ({"python": "no_colon"}, "python = 'no_colon'"),
    ({"python": "a.b:C", "metric": ACC}, "metric is only of a command"),
    ({**IMPORTED, "timeout": 5.0}, "timeout is only of a command"),
    ({**COMMAND, "folder": "a\nb"}, "folder = "),
    ({**COMMAND, "digest": "train.py"}, "digest = 'train.py'"),
]


@pytest.mark.parametrize(("own", "said"), WRONG)
def test_what_a_task_may_not_say(own: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(tmp_path, own)


@pytest.mark.parametrize("name", ["mnist1d-cnn", "../up", "", ".hidden", "a/b", "x" * 61, "a\nb"])
def test_a_name_is_no_path_and_not_the_catalog_s(name: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"task": "digits-mlp", "tasks": {name: COMMAND}}))
    with pytest.raises(SettingsError, match="tasks"):
        load(path)


def test_a_name_need_not_be_ascii(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"task": "größe-2", "tasks": {"größe-2": COMMAND}}))
    assert load(path).own is not None


def test_an_unknown_task_is_said_with_the_nearest_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"task": "my-resnett", "tasks": {"my-resnet": COMMAND}}))
    with pytest.raises(SettingsError, match="unknown task 'my-resnett'; did you mean 'my-resnet'"):
        load(path)


@pytest.mark.parametrize("name", ["hypergradient", "pbt", "gns", "rl-controller", "schedule-free"])
def test_a_command_is_not_compared_with_what_needs_its_gradients(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{name} works inside the training loop"):
        settings(tmp_path, COMMAND, baselines={"schedulers": [name]})


def test_nothing_is_trained_of_imported_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="linear cannot be trained, as mine has histories only"):
        settings(tmp_path, IMPORTED, baselines={"schedulers": ["linear"]})
    with pytest.raises(TaskError, match="histories only, so nothing can be trained"):
        check_runnable(settings(tmp_path, IMPORTED), Workspace(tmp_path))


@given(st.fixed_dictionaries({}, optional={"timeout": st.sampled_from(["1m", "2h", 30, None])}))
def test_how_long_it_may_take_is_no_part_of_the_result(own: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plain, timed = settings(Path(folder), COMMAND), settings(Path(folder), {**COMMAND, **own})
        workspace = Workspace(Path(folder))
        assert digest_of(plain, workspace) == digest_of(timed, workspace)
        assert learning_digest(plain) == learning_digest(timed)
        assert values(plain, ("own",)) == values(timed, ("own",))


def test_another_line_metric_or_file_is_another_run(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "src").mkdir()
    script = tmp_path / "src" / "train.py"
    script.write_text("1")
    named = {**COMMAND, "digest": ["src"]}
    seen = {
        digest_of(settings(tmp_path, own), workspace)
        for own in (
            COMMAND,
            named,
            {**COMMAND, "command": "python train.py --epochs 2"},
            {**COMMAND, "metric": {**ACC, "goal": "minimize"}},
        )
    }
    before = digest_of(settings(tmp_path, named), workspace)
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "train.pyc").write_text("x")
    assert digest_of(settings(tmp_path, named), workspace) == before
    script.write_text("2")
    seen.add(digest_of(settings(tmp_path, named), workspace))
    assert len(seen) == 5


def test_a_file_that_is_named_and_not_there(tmp_path: Path) -> None:
    own = {**COMMAND, "digest": ["train.py"]}
    with pytest.raises(TaskError, match=r"train.py: not there, and the task's `digest` names it"):
        digest_of(settings(tmp_path, own), Workspace(tmp_path))


def test_an_object_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "my_tumours.py").write_text(
        "from dataclasses import replace\n"
        "from components.tasks.catalog import TASKS\n"
        "TASK = replace(TASKS['digits-mlp'], metric_name='share', percent=True)\n"
        "NONE = 3\n"
    )
    found = settings(tmp_path, {"python": "my_tumours:TASK"})
    workspace = Workspace(tmp_path)
    task = task_of(template(found, workspace, tmp_path))
    assert (task.name, task.batch_size) == ("mine", 64)
    assert metric_of(found, workspace) == OwnMetric("share", "maximize", percent=True)
    for path, said in (
        ("my_tumours:NONE", "is a int, must be a components.tasks.task.Task"),
        ("my_tumours:OTHER", "is nothing, must be"),
        ("no_such_module_of_mine:TASK", "cannot be imported: ModuleNotFoundError"),
    ):
        with pytest.raises(TaskError, match=f"mine: {path} {said}"):
            task_of(template(settings(tmp_path, {"python": path}), workspace, tmp_path))


def test_where_imports_of_each_kind_go(tmp_path: Path) -> None:
    (tmp_path / "my_digits.py").write_text(
        "from components.tasks.catalog import TASKS\nTASK = TASKS['digits-mlp']\n"
    )
    workspace = Workspace(tmp_path)
    for own, folder, metric in (
        (IMPORTED, workspace.histories("mine"), OwnMetric("val_loss", "minimize")),
        (COMMAND, workspace.imported("mine"), OwnMetric("val_acc", "maximize")),
        (
            {"python": "my_digits:TASK"},
            workspace.imported("mine"),
            OwnMetric("accuracy", "maximize", percent=True),
        ),
    ):
        found = _target(settings(tmp_path, own), workspace)
        assert (found.task, found.folder, found.metric) == ("mine", folder, metric)
