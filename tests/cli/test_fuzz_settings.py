"""Settings and command lines as strangers may write them: right, or one short message.

Valid settings with a few things changed at random: values of other types, out of range, huge, deep,
or such as YAML reads in its own way; keys that are unknown, double or gone; characters here and
there. Nothing is trained: what the commands would begin is replaced.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import components.runs.policies
import components.runs.single
from components.cli import steps
from components.cli.main import main
from components.schedulers.names import SCHEDULERS
from components.settings import Settings, SettingsError, load
from components.steps.pipeline import PIPELINE
from flows import demo

PARAMS = Path(__file__).parents[2] / "params.yaml"
PLAIN: dict[str, Any] = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
SECTIONS = [name for name, value in PLAIN.items() if isinstance(value, dict)]
KEYS = [
    *PLAIN,
    *(f"{name}.{key}" for name in SECTIONS for key in PLAIN[name]),
    *(
        f"lode.{name}.{key}"
        for name in ("fit", "judge", "scheduler")
        for key in PLAIN["lode"][name]
    ),
]
SLOWEST = 10.0  # seconds of processor time; an alias bomb that is followed takes over 20
LONGEST = 4000  # characters of ten faults; each is shorter by far

BOMB = "[&a [x, x, x], " + ", ".join(
    f"&{new} [{', '.join([f'*{old}'] * 9)}]"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
ODD = (
    st.sampled_from(["0100", "[010, 9]", "1:30", "0b11", "0x1F", "2024-13-45", "2024-01-01", "no"])
    | st.sampled_from(["!!int x", "!!python/name:os.system", "! 5", "&a [*a]", "*nobody", "&x 5"])
    | st.sampled_from(["On", "=", "<<", f"{BOMB}]", "~", "", "''", "'unclosed", "---", "#", "? a"])
    | st.sampled_from(["[" * 5000, "{a: " * 3000, "- " * 3000, "[" + "1, " * 20_000 + "]"])
    | st.sampled_from(["'" + "x" * 50_000 + "'", "9" * 6000, "0x" + "f" * 9999, "@", "`x`", "%TAG"])
    | st.sampled_from(["1.0e+400", "1.0e-400", ".nan", "-.inf", "1e308", "5.0e-324", "1_0"])
    | st.sampled_from(["{a: {b: c}}", "[[1]]", "null", "true", "\x07", "\ufeff", "cuda:99"])
    | st.sampled_from(["../../../etc", "nonsense://x", "'sqlite:///:memory:'", "s3://", "/x"])
)
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 2**64, 10**9, 10**12, 10**15, 10**30])
    | st.floats()
)
LISTS = st.lists(NUMBERS, max_size=5) | st.just(list(range(2000)))
VALUES = ODD | (NUMBERS | LISTS | st.text(max_size=20)).map(lambda v: yaml.safe_dump(v).strip())


def _line(key: str, value: str) -> str:
    """`a.b: v` as a line of a file, in flow style: `a: {b: v}`."""
    *sections, name = key.split(".")
    return "".join(f"{one}: {{" for one in sections) + f"{name}: {value}" + "}" * len(sections)


@st.composite
def files(draw: st.DrawFn) -> str:
    """The text of a settings file with one to three things changed."""
    found: dict[str, Any] = yaml.safe_load(yaml.safe_dump(PLAIN))
    odd: dict[str, str] = {}
    for number in range(draw(st.integers(1, 3))):
        nested = [found[name] for name in SECTIONS if isinstance(found.get(name), dict)]
        section = draw(st.sampled_from([found, *nested]))
        key = draw(st.sampled_from([*sorted(map(str, section)), "updates", "unknown", "sed"]))
        change = draw(st.sampled_from(["value", "value", "value", "gone"]))
        if change == "gone":
            section.pop(key, None)
        else:
            section[key] = f"@{number}@"
            odd[f"'@{number}@'"] = draw(VALUES)
    text = yaml.safe_dump(found, sort_keys=False, default_flow_style=draw(st.booleans()))
    for name, value in odd.items():
        text = text.replace(name, value)
    if draw(st.integers(0, 3)) == 0:  # a double key
        text += _line(draw(st.sampled_from(KEYS)), draw(VALUES)) + "\n"
    if draw(st.integers(0, 3)) == 0:  # characters in between, or a part gone
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=5)) + text[at + draw(st.integers(0, 50)) :]
    return text


def short(message: str) -> bool:
    return 0 < len(message) < LONGEST and len(message.splitlines()) <= 11


def outcome(path: Path, overrides: dict[str, Any] | None = None) -> Settings | SettingsError:
    """What comes of a file; any other exception fails the test."""
    started = time.process_time()
    try:
        found: Settings | SettingsError = load(path, overrides)
    except SettingsError as error:
        assert short(str(error)), str(error)[:1000]
        found = error
    assert time.process_time() - started < SLOWEST
    return found


in_one_folder = settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@in_one_folder
@given(text=files())
def test_any_file_is_settings_or_one_message(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    found = outcome(path)
    if isinstance(found, Settings):  # accepted: then it means what it says
        assert Settings.model_validate(found.model_dump()) == found and found.digest()


@in_one_folder
@given(content=st.binary(max_size=300))
def test_any_bytes_are_settings_or_one_message(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"task: digits-mlp\n" + content)
    outcome(path)


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels else [1]


PYTHON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text()
    | st.binary()
    | st.builds(pow, st.just(10), st.just(5000)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
) | st.just(deep(300))


@in_one_folder
@given(
    overrides=st.dictionaries(
        st.sampled_from(KEYS) | st.text(max_size=20) | st.just(".".join("a" * 3000)),
        PYTHON_VALUES,
        min_size=1,
        max_size=3,
    )
)
def test_any_override_is_settings_or_one_message(overrides: dict[str, Any]) -> None:
    """As a flow's form hands them on: values that no file can hold."""
    outcome(PARAMS, overrides)


WORDS = (
    st.sampled_from(["-5", "0", "nan", "inf", "-inf", "1e400", "0x10", "9" * 5000, "x" * 5000, ""])
    | st.sampled_from(["-", "--", "--help", "--seed", "--bogus", "cosine", "digits-mlp", "a\nb"])
    | st.sampled_from(["/proc/no", "params.yaml", "é", "\udcff"])
    | st.text(max_size=10)
)
SETS = st.builds(lambda key, value: ["--set", f"{key}={value}"], st.sampled_from(KEYS), VALUES)
OPTIONS = st.one_of(
    SETS,
    st.builds(
        lambda name, word: [name, word],
        st.sampled_from(
            ["--seed", "--peak-lr", "--out", "--task", "--params", "--set", "--episodes"]
        ),
        WORDS,
    ),
    st.sampled_from(sorted(SCHEDULERS)).map(lambda name: ["--scheduler", name]),
    WORDS.map(lambda word: [word]),
)
COMMANDS = st.sampled_from(
    [*(step.name for step in PIPELINE), "train", "train", "learn", "table", "report"]
)


@pytest.fixture
def idle(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace in which commands stop where their work begins."""

    def nothing(*_: Any) -> str:
        return "nothing"

    monkeypatch.setattr(steps, "run_step", nothing)
    monkeypatch.setattr(components.runs.single, "single_run", nothing)
    monkeypatch.setattr(components.runs.policies, "learn_policy", nothing)
    monkeypatch.setattr(demo, "up_to_date", lambda *_: True)
    yield workspace


def run(entry: Callable[[], None], arguments: list[str], capsys: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        started, code = time.process_time(), 0
        try:
            entry()
        except SystemExit as end:
            code = int(end.code or 0)
        assert time.process_time() - started < SLOWEST
    said = capsys.readouterr()
    assert code in (0, 1, 2), said.err
    assert "Traceback" not in said.err and len(said.err) < LONGEST, said.err[:1000]
    assert bool(said.err) or code == 0


@settings(in_one_folder, max_examples=100)
@given(command=COMMANDS, options=st.lists(OPTIONS, max_size=3))
def test_any_command_line_ends_well_or_with_one_message(
    command: str, options: list[list[str]], idle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(main, ["lode", command, *(word for option in options for word in option)], capsys)


@settings(in_one_folder, max_examples=30)
@given(options=st.lists(SETS, max_size=2))
def test_any_settings_of_the_demo_end_well_or_with_one_message(
    options: list[list[str]], idle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(demo.entry, ["flows", *(word for option in options for word in option)], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--peak-lr", "0.1"],
        ["train", "--seed", "0"],
        ["train", "--out", "runs"],
        ["train", "--scheduler", "cosine", "--seed", "-5", "--peak-lr", "0.1"],
        ["train", "--scheduler", "cosine", "--seed", str(2**64), "--peak-lr", "0.1"],
        ["train", "--scheduler", "cosine", "--peak-lr", "0.1", "--out", "/proc/nope"],
        ["train", "--scheduler", "cosine", "--peak-lr", "0.1", "--out", "params.yaml/x"],
        *(
            ["train", "--scheduler", "cosine", "--peak-lr", lr]
            for lr in ("nan", "inf", "0", "1e308")
        ),
        ["learn", "--scheduler", "gns", "--seed", "-1"],
        ["learn", "--scheduler", "gns", "--episodes", str(10**12)],
        ["rollback", "--to", "-1"],
        ["plot", "x.parquet", "--out", "/proc/nope/x.svg"],
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_done(
    arguments: list[str],
    idle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["lode", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2 and not said.out
    assert any(word in said.err for word in arguments if word.startswith("--"))
    assert [path.name for path in idle.iterdir()] == ["params.yaml"]
