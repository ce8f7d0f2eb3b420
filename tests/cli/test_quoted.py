"""Commands of `lode` in README and docs: written as they are typed, and such that the parser takes
them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from components.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
BARE = re.compile(r"(?:^|; |&& |do )lode [a-z-]", re.MULTILINE)
TYPED = re.compile(r"\.venv/bin/lode (\S[^`\n;|]*)")
# What stands for a word of the reader's own.
PLACES = {"STEP": "fit", "VERSION": "5", "REVISION": "3f2a9c", "…": ""}


def quoted() -> list[str]:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    return sorted({found.strip() for found in TYPED.findall(text)} - {"$step"})


def parse(words: list[str]) -> click.Command:
    """The command that these words name, which has taken the others."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    command.make_context("lode", words, resilient_parsing="--help" in words)
    return command


@pytest.mark.parametrize("line", quoted())
def test_the_parser_takes_it(line: str) -> None:
    for place, word in PLACES.items():
        line = line.replace(place, word)
    assert parse(shlex.split(line, comments=True)) is not cli or line.startswith("--")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_to_be_typed_has_its_folder(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [line for block in BLOCK.findall(text) for line in BARE.findall(block)]
    if page.name == "README.md":
        rows = [line for line in text.splitlines() if line.startswith("| ")]
        cells = [row.split("|")[2] for row in rows]
        assert not [cell for cell in cells if re.search(r"`lode [a-zA-Z-]", cell)]


def test_there_are_some() -> None:
    assert len(quoted()) > 15
