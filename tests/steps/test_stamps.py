"""Stamps: what makes a step run again, and what does not; on steps of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.settings import Settings
from components.steps import declared, stamps
from components.steps.declared import UndeclaredError
from components.steps.files import Artifact
from components.steps.pipeline import PIPELINE
from components.steps.step import Step
from components.storage.digests import text_digest
from components.storage.workspace import Workspace
from tests.tiny import TASK, tiny

READ, WRITTEN = "reports/read.txt", "reports/written.txt"


def step(**changes: Any) -> Step:
    """A step that copies a file, under the name and code of a real one."""
    facts: dict[str, Any] = {
        "name": "fit",
        "help": "",
        "settings": ("task", "lode.fit"),
        "reads": (Artifact(lambda workspace, task: workspace.root / READ, "x"),),
        "writes": (Artifact(lambda workspace, task: workspace.root / WRITTEN, "fit"),),
    }
    return Step(**(facts | changes))


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    (tmp_path / "reports").mkdir()
    for name in (READ, WRITTEN):
        (tmp_path / name).write_text("one")
    workspace = Workspace(tmp_path)
    stamps.write_stamp(step(), tiny(), workspace)
    assert stamps.why_stale(step(), tiny(), workspace) is None
    return workspace


def test_without_a_stamp_it_runs_and_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert stamps.why_stale(step(), tiny(), Workspace(tmp_path)) == ""


def test_what_has_changed_is_named(made: Workspace) -> None:
    said = stamps.why_stale(step(), tiny(lode__fit__updates=7, lode__fit__seed=3), made)
    assert said == "lode.fit.seed, lode.fit.updates have changed"
    assert stamps.why_stale(step(), tiny(lode__scheduler__mu=0.4), made) is None, "not declared"
    (made.root / READ).write_text("two")
    assert stamps.why_stale(step(), tiny(), made) == f"{READ} has changed"
    (made.root / READ).write_text("one")
    (made.root / WRITTEN).write_text("changed by hand")
    assert stamps.why_stale(step(), tiny(), made) == f"{WRITTEN} has changed"
    (made.root / WRITTEN).unlink()
    assert stamps.why_stale(step(), tiny(), made) == "what it needs or made is missing or damaged"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"inputs": "of an earlier version"}',
        '{"settings": [], "code": {}, "read": {}, "written": {}}',
    ],
)
def test_a_stamp_that_cannot_be_read_is_none(made: Workspace, text: str) -> None:
    stamps.stamp_path(made, TASK, "fit").write_text(text)
    assert stamps.why_stale(step(), tiny(), made) == ""


def test_changed_code_of_the_fit_makes_it_run_again_and_says_so(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = stamps.imported_modules("components.steps.fit", barred=stamps.NOT_COMPUTING)
    changed = "components.lode.penalties"
    assert changed in sources

    def with_change(to: str) -> str | None:
        edited = {**sources, changed: to}
        monkeypatch.setattr(stamps, "imported_modules", lambda *entry, barred: edited)
        monkeypatch.setattr(
            stamps, "source_digests", lambda names: {name: edited[name] for name in names}
        )
        return stamps.why_stale(step(), tiny(), made)

    source = sources[changed]
    assert with_change(source + "\n# a comment\n") is None
    assert with_change(source.replace('"""', '"""Other words. ', 1)) is None, "a docstring"
    assert with_change(source + "\nMORE = 1\n") == f"{changed} has changed"


def test_nothing_is_parsed_where_no_source_has_changed(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "code_of", lambda module: pytest.fail(f"{module} was parsed"))
    assert stamps.why_stale(step(), tiny(), made) is None


@given(
    comment=st.text(st.characters(exclude_categories=["C"]), max_size=20), spaces=st.integers(1, 9)
)
def test_comments_docstrings_and_layout_mean_nothing(comment: str, spaces: int) -> None:
    code = 'def f(x):\n    """Doc."""\n    return x + 1\n'
    other = f"def f(x):\n{' ' * spaces}# {comment}\n\n{' ' * spaces}return   x+1\n"
    assert stamps._meaning(code) == stamps._meaning(other)
    assert stamps._meaning(code) != stamps._meaning(code.replace("+ 1", "+ 2"))


def test_a_fit_depends_on_what_computes_it_and_on_nothing_else() -> None:
    code = set(stamps.code_of("components.steps.fit"))
    assert {"components.lode.fit", "components.lode.judge_fit", "components.steps.fit"} <= code
    assert {"components.evaluation.ranking", "components.training.history"} <= code
    rooms = {name.split(".")[1] for name in code}
    assert not rooms & {"settings", "storage", "tasks", "registry", "cli", "pilots"}
    assert "components.lode.control" not in code, "a decision during a run changes no fit"


# ------------------------------------------------------------- declared settings


def test_a_step_can_read_only_what_it_declares() -> None:
    part = declared.declared(tiny(), ("task", "lode.fit", "sweep"), "step x")
    assert part.task == TASK and part.lode.fit.updates == 20 and part.sweep_runs == 8
    with pytest.raises(UndeclaredError, match=r"step x reads the setting training, .*dvc\.yaml"):
        _ = part.training
    with pytest.raises(UndeclaredError, match=r"setting lode\.judge"):
        _ = part.lode.judge
    with pytest.raises(UndeclaredError, match=r"setting lode\.controller"):
        _ = part.pilot_runs  # computed from what was not declared


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PIPELINE), st.data())
def test_every_setting_that_a_step_declares_is_in_its_stamp(
    step: Step, data: st.DataObject
) -> None:
    """So that a new setting below a declared section cannot be forgotten."""
    settings: Settings = tiny()
    every = declared.values(settings, ("task", *Settings.model_fields))
    key = data.draw(st.sampled_from(sorted(every)))
    below = any(key == one or key.startswith(f"{one}.") for one in step.settings)
    assert (key in declared.values(settings, step.settings)) == below
    assert not any(key.startswith(one) for one in declared.ONLY_SPEED)


def test_the_learning_digest_forgets_what_only_changes_the_speed() -> None:
    same = tiny(sweep__workers=1, training__device="auto", execution__runs_per_shard=9)
    assert declared.learning_digest(tiny()) == declared.learning_digest(same)
    assert declared.learning_digest(tiny()) != declared.learning_digest(tiny(lode__fit__seed=1))
    say = tiny().model_dump(mode="json")
    del say["sweep"]["workers"], say["training"]["device"]
    expected = text_digest(*(say[key] for key in declared.LEARNING))
    assert declared.learning_digest(tiny()) == expected, "versions would be registered again"
    part = declared.declared(tiny(), (*declared.LEARNING, "own"), "step x")
    assert declared.learning_digest(part) == expected
