"""YAML is read as PyYAML reads it, or refused in one line."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.storage.strict_yaml import YamlError, read_yaml

scalars = (
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text() | st.floats(width=32)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
yaml_text = st.text("0123456789abefxnosyt:.-+_ []{},'\"&*!#\n<=~", max_size=30)


def bomb(line: str, levels: int = 12) -> str:
    first = "a0: &a0 {x: 1}\n"
    return first + "".join(line.format(i=i, o=i - 1) for i in range(1, levels))


def refused(text: str) -> str:
    started = time.monotonic()
    with pytest.raises(YamlError) as error:
        read_yaml(text, "params.yaml")
    assert time.monotonic() - started < 2
    message = str(error.value)
    assert message.startswith("params.yaml") and "\n" not in message and len(message) < 300
    return message


@given(values)
def test_what_is_written_plainly_is_read(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert repr(read_yaml(text, "x")) == repr(yaml.safe_load(text))


@given(yaml_text)
def test_any_text_is_read_as_pyyaml_does_or_refused(text: str) -> None:
    try:
        found = read_yaml(text, "x")
    except YamlError as error:
        assert len(str(error)) < 300 and "\n" not in str(error)
    else:
        assert repr(found) == repr(yaml.safe_load(text))


@given(st.integers(1, 10**9), st.sampled_from(["{}", "[{}, 9]", "a: {}", "a: {{b: [{}]}}"]))
def test_numbers_in_another_base_are_refused(number: int, where: str) -> None:
    assert f"as {number}: write {number}, or" in refused(where.format(f"0{number:o}"))
    assert f"as {number}: write {number}, or" in refused(where.format(f"0b{number:b}"))


@given(st.integers(1, 500), st.integers(0, 59), st.sampled_from(["", ".5"]))
def test_numbers_to_the_base_of_60_are_refused(high: int, low: int, rest: str) -> None:
    text = f"{high}:{low:02}{rest}"
    assert f"YAML reads {text} as {60 * high + low}" in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("updates: 0100", "line 1: YAML reads 0100 as 64: write 64, or 100"),
        ("a: -010", "write -8, or -10"),
        ("a: 1:30", "YAML reads 1:30 as 90: write 90, or '1:30' in quotes"),
        ("\n\ntask: 2024-13-45", "line 3: YAML reads 2024-13-45 as a date; write '2024-13-45' in"),
        ("a: 2024-01-01T00:00:00Z", "as a date"),
        ("a: no", "YAML reads no as true or false; write 'no' in quotes"),
        ("a: =", "in quotes"),
        ("a: !!int x", "tag !!int: write the value without it"),
        ("a: !!python/object:os.system x", "tag !!python/object:os.system"),
        ("a: ! x", "tag !:"),
        ("a: !!set {b}", "tag !!set"),
        ("a: 1\nb: 2\na: 3", "line 3: a stands here a second time (first in line 1); keep one"),
        ("x: {a: 1, 'a': 2}", "a stands here a second time"),
        ("? [a]\n: b", "keys are words"),
        ("a: 1.0e-400", "YAML reads 1.0e-400 as 0.0"),
        ("a: " + "9" * 5000, "a number of 5000 characters: 9999"),
        ("a: 0x" + "f" * 5000, "a number of 5002 characters"),
        ("a: 0x_", "0x_ is no number"),
        ("[" * 5000, "nested deeper than 20 levels"),
        ("- " * 5000, "nested deeper than 20 levels"),
        ("{a: " * 5000, "nested deeper than 20 levels"),
        ("&a [*a]", "nested deeper than 20 levels"),
        ("[" + "1," * 40_000 + "]", "more than 10000 values"),
        ("x" * 100_001, "more than 100000 characters"),
        ("x" * 900 + ": 1\n" + "x" * 900 + ": 1", "stands here a second time"),
        (bomb("a{i}: &a{i} [" + ",".join(["*a{o}"] * 9) + "]\n"), "more than 10000 values"),
        (bomb("a{i}: &a{i} {{<<: [" + ",".join(["*a{o}"] * 9) + "]}}\n"), "more than 10000 values"),
        ("<<: 5", "<< takes a mapping"),
        ("a: [1", "line 1: not YAML: expected ',' or ']'"),
        ("a: 1\n---\nb: 1", "line 2: not YAML"),
        ("a: \x00", r"not YAML: character '\x00' at position 3"),
        ("a: *" + "x" * 5000, "not YAML: found undefined alias"),
    ],
    ids=lambda text: text[:20],
)
def test_what_hardly_anybody_means_is_refused_with_what_to_write(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize("text", ["100", "-5", "0", "+7", "1_000", "0x1F", "1.5", "1.0e-3", "00x"])
def test_numbers_that_everybody_reads_alike(text: str) -> None:
    assert read_yaml(text, "x") == yaml.safe_load(text)


def test_aliases_are_copies_and_merges_give_way_to_own_keys() -> None:
    found = read_yaml("a: &x {b: 1, c: 2}\nd: *x\ne: {<<: *x, b: 3}", "x")
    assert found == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 2}, "e": {"b": 3, "c": 2}}
    assert found["a"] is not found["d"], "--set d.b=5 must not change a"


def test_an_argument_has_no_lines() -> None:
    with pytest.raises(YamlError, match=r"^--set a: YAML reads 010 as 8: write 8, or 10$"):
        read_yaml("010", "--set a", lines=False)
