"""Any command in a folder that is no workspace, or one where nothing was run yet: nothing is left
behind but what a command is there to make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from components.cli.errors import expected
from components.cli.main import cli
from flows.demo import main as demo
from flows.deploy import main as deploy

# What is in the folder: nothing, or another project's file of the same name.
FOLDERS = {
    "empty": None,
    "another's": "train:\n  learning_rate: 0.1\n  epochs: 3\nmodel: resnet\n",
    "a word": "hello\n",
    "nothing in it": "",
    "only comments": "# later\n",
    "no YAML": "a: [1\n",
}
NEED_NO_WORKSPACE = ("lode tasks",)
# what may be run before anything else
FIRST = ("lode sweep", "lode learn", "lode ablate", "python -m flows")


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command, list[str]]]:
    """Every command that does something, by its name, with the words that reach it."""
    waiting: list[tuple[str, click.Command, list[str]]] = [(name, command, [])]
    while waiting:
        name, found, words = waiting.pop()
        if isinstance(found, click.Group):
            waiting += [(f"{name} {n}", c, [*words, n]) for n, c in found.commands.items()]
            if not found.invoke_without_command:
                continue
        yield name, found, words


def arguments(command: click.Command) -> list[str]:
    """The least that the parser takes."""
    words: list[str] = []
    for one in command.params:
        if not one.required:
            continue
        value = "1"
        if isinstance(one.type, click.Choice):
            value = str(one.type.choices[0])
        words += [value] if isinstance(one, click.Argument) else [one.opts[0], value]
    return words


COMMANDS = {
    name: (root, [*words, *arguments(found)])
    for root, title in (
        (cli, "lode"),
        (demo, "python -m flows"),
        (deploy, "python -m flows.deploy"),
    )
    for name, found, words in leaves(root, title)
}


def test_the_parser_was_walked() -> None:
    assert {"lode versions", "lode histories", "lode histories at", "python -m flows"} < set(
        COMMANDS
    )
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("content", FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_made(
    name: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    command, words = COMMANDS[name]
    result = CliRunner().invoke(command, words)
    assert sorted(tmp_path.rglob("*")) == before, result.output
    assert (result.exit_code == 0) == (name in NEED_NO_WORKSPACE), result.output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in FIRST])
def test_nothing_is_made_where_nothing_was_run(name: str, workspace: Path) -> None:
    command, words = COMMANDS[name]
    result = CliRunner().invoke(command, words)
    assert [path.name for path in workspace.rglob("*")] == ["params.yaml"], result.output
    error = result.exception
    assert error is None or isinstance(error, SystemExit) or expected(error) is not None
