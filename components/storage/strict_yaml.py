"""YAML as a person means it: what YAML 1.1 reads as something else is refused, and nothing grows.

`0100` is 64 there, `1:30` is 90, `no` is false, of two equal keys the last one counts, and a few
lines of aliases stand for gigabytes. None of that is guessed at: the message says what to write.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from components.storage.shown import cut, shown

LARGEST = 100_000  # bytes; a params.yaml with all its comments has 4,000
DEEPEST = 20  # levels; params.yaml has 3
MOST = 10_000  # values, an alias counted as what it stands for
LONGEST_NUMBER = 40  # characters; no setting needs more

_TAG = "tag:yaml.org,2002:"
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
_PLAIN_FLOAT = re.compile(r"[^:]+")
_WORDS = {"true": True, "false": False}


class YamlError(ValueError):
    """Not YAML, or YAML that hardly anybody means; the message says where and what to write."""


def read_yaml(text: str, where: str, *, lines: bool = True) -> Any:
    """Mappings, lists, texts, numbers, true, false and null; every alias a copy of its own.

    Args:
        where: what the text is from; begins every message.
        lines: whether messages name the line, as of a file.
    """
    if len(text) > LARGEST:
        raise YamlError(f"{where}: more than {LARGEST} characters, which no settings have")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        loader.count = 0
        return None if node is None else loader.plain(node)
    except _Refused as error:
        line = f", line {error.mark.line + 1}" if lines else ""
        raise YamlError(f"{where}{line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if lines and error.problem_mark else ""
        raise YamlError(f"{where}{line}: not YAML: {cut(str(error.problem))}") from None
    except yaml.reader.ReaderError as error:
        raise YamlError(
            f"{where}: not YAML: character {shown(chr(int(error.character)))} at "
            f"position {error.position}"
        ) from None
    finally:
        if loader is not None:
            loader.dispose()


class _Refused(Exception):  # noqa: N818  it never leaves this file
    def __init__(self, mark: Any, message: str) -> None:
        super().__init__(message)
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """PyYAML reads and resolves; this refuses, and builds the values itself, counting them."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        self._one_more(event)
        if not isinstance(event, yaml.AliasEvent) and event.tag is not None:
            tag = event.tag.replace(_TAG, "!!")
            raise _Refused(event.start_mark, f"tag {cut(tag, 40)}: write the value without it")
        self._descend(event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        first: dict[str, Any] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused(key.start_mark, "a list or mapping as a key; keys are words")
            if key.value in first:
                raise _Refused(
                    key.start_mark,
                    f"{cut(key.value, 60)} stands here a second time "
                    f"(first in line {first[key.value].line + 1}); keep one",
                )
            first[key.value] = key.start_mark
        return node

    def plain(self, node: Any) -> Any:
        """The value of a node."""
        self._one_more(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._descend(node)
        if isinstance(node, yaml.SequenceNode):
            value: Any = [self.plain(one) for one in node.value]
        else:
            value = self._mapping(node)
        self.depth -= 1
        return value

    def _mapping(self, node: Any) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key, value in node.value:
            if key.tag != f"{_TAG}merge":
                own[self.plain(key)] = self.plain(value)
                continue
            for one in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(one, yaml.MappingNode):
                    raise _Refused(one.start_mark, "<< takes a mapping, or a list of them")
                merged = self.plain(one) | merged
        return merged | own

    def _one_more(self, what: Any) -> None:
        self.count += 1
        if self.count > MOST:
            raise _Refused(what.start_mark, f"more than {MOST} values, aliases written out")

    def _descend(self, what: Any) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Refused(what.start_mark, f"nested deeper than {DEEPEST} levels")

    def _scalar(self, node: Any) -> Any:
        text, kind = node.value, node.tag.removeprefix(_TAG)
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if kind in ("int", "float"):
            return self._number(node, kind)
        reads = {"timestamp": " as a date", "bool": " as true or false"}.get(kind, " specially")
        raise _Refused(
            node.start_mark, f"YAML reads {cut(text, 40)}{reads}; write '{cut(text, 40)}' in quotes"
        )

    def _number(self, node: Any, kind: str) -> int | float:
        text = node.value
        if len(text) > LONGEST_NUMBER:
            raise _Refused(node.start_mark, f"a number of {len(text)} characters: {cut(text, 20)}")
        try:
            value: int | float = getattr(self, f"construct_yaml_{kind}")(node)
        except ValueError:  # `0x_`
            raise _Refused(node.start_mark, f"{text} is no number") from None
        if (_PLAIN_INT if kind == "int" else _PLAIN_FLOAT).fullmatch(text) and not (
            value == 0 and re.search("[1-9]", re.split("[eE]", text)[0])  # as of 1.0e-400
        ):
            return value
        raise _Refused(node.start_mark, f"YAML reads {text} as {value}: {_instead(text, value)}")


def _instead(text: str, value: Any) -> str:
    """`write 64, or 100` for 0100, which is octal; `write 90, or '1:30' in quotes` for 1:30."""
    meant = text.replace("_", "").lstrip("+-0")
    if meant.isdigit() and meant:
        sign = "-" if text.startswith("-") else ""
        return f"write {value}, or {sign}{meant}"
    return f"write {value}, or '{text}' in quotes"
