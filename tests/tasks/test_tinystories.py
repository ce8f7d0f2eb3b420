"""TinyStories: stories in, windows of byte pairs out; what is kept; which texts are refused."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from components.schedulers.parametric import Parametric
from components.tasks import catalog, tinystories
from components.tasks.datasets import Data, Split
from components.tasks.errors import DataError
from components.tasks.models.gpt import GPT
from components.tasks.own_data import tinystories_digest
from components.training.loop import train

WHO, DID, WHAT = ("Tom", "Lily", "a cat", "Zoë"), ("saw", "liked", "lost"), ("it", "a ball", "“me”")


def stories(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    sentence = lambda: f"{draw.choice(WHO)} {draw.choice(DID)} {draw.choice(WHAT)}."  # noqa: E731
    return [
        " ".join(sentence() for _ in range(draw.randint(3, 9))) + "\nThe end." for _ in range(count)
    ]


def as_published(some: list[str]) -> str:
    return "".join(f"{story}\n<|endoftext|>\n" for story in some)


def put(folder: Path, train_text: str | bytes, valid_text: str | bytes) -> Path:
    home = folder / "tinystories"
    home.mkdir(parents=True, exist_ok=True)
    for part, text in (("train", train_text), ("valid", valid_text)):
        content = text if isinstance(text, bytes) else text.encode()
        (home / f"TinyStories-{part}.txt").write_bytes(content)
    return home


TEXTS = as_published(stories(400, 0)), as_published(stories(150, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, *TEXTS)
    return tmp_path


def decoded(folder: Path, tokens: list[int]) -> str:
    (path,) = (folder / "tinystories").glob("tokenizer-*.json")
    return Tokenizer.from_file(str(path)).decode(tokens, skip_special_tokens=False)


def test_windows_are_the_stories(folder: Path) -> None:
    data = tinystories.load(folder)
    train, val, test = (split.sample(10_000) for split in (data.train, data.val, data.test))
    for x, y in (train, val, test):
        assert x.shape[1:] == y.shape[1:] == (256,) and x.dtype == y.dtype == torch.int64
        assert torch.equal(x[:, 1:], y[:, :-1])
    text = decoded(folder, torch.cat([val[0].flatten(), test[0].flatten()]).tolist())
    whole = "".join(f"{story}<|endoftext|>" for story in stories(150, 1))
    assert whole.startswith(text) and len(text) > 0.8 * len(whole)
    assert abs(len(val[0]) - len(test[0])) <= 1
    starts = {tuple(x[:16].tolist()) for x in train[0]}
    assert len(starts) == len(data.train) and train[0][:, 0].unique().numel() > 3


def test_byte_pairs_are_of_the_training_text_and_leave_nothing_unknown(folder: Path) -> None:
    put(folder, TEXTS[0], as_published(["漢字 and\ttabs and 🐱 " * 200] * 3))
    data = tinystories.load(folder)
    assert decoded(folder, data.val.sample(1)[0][0].tolist()).startswith("漢字 and\ttabs and 🐱 漢")
    (path,) = (folder / "tinystories").glob("tokenizer-*.json")
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.token_to_id("<|endoftext|>") == 0 and tokenizer.token_to_id("Lily") is not None
    assert 256 < tokenizer.get_vocab_size() <= tinystories.TOKENS


def test_tokens_are_memory_mapped_and_made_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tinystories.load(folder)
    assert isinstance(first.train.make.tokens, np.memmap)  # type: ignore[union-attr]
    assert first.train.make.tokens.dtype == np.uint16  # type: ignore[union-attr]
    monkeypatch.setattr(tinystories, "_learn", lambda text: pytest.fail("learned again"))
    again = tinystories.load(folder)
    assert torch.equal(again.train.sample(99)[0], first.train.sample(99)[0])
    assert not list((folder / "tinystories").glob(".*.tmp"))


def test_other_texts_have_other_tokens_and_are_other_runs(folder: Path) -> None:
    digest, before = tinystories_digest(folder), tinystories.load(folder)
    put(folder, as_published(stories(400, 7)), TEXTS[1])
    assert tinystories_digest(folder) != digest
    after = tinystories.load(folder)
    assert not torch.equal(after.train.sample(9)[0], before.train.sample(9)[0])
    put(folder, *TEXTS)
    assert tinystories_digest(folder) == digest


def test_learning_repeats_itself(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    put(other, *TEXTS)
    first, second = tinystories.load(folder), tinystories.load(other)
    assert torch.equal(first.train.sample(999)[0], second.train.sample(999)[0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-2],
        lambda content: content[:-2] + b"\xff\xff",
        lambda content: b"",
        lambda content: b"\x80\x04N.",
    ],
    ids=["cut short", "token beyond the vocabulary", "empty", "a pickle"],
)
def test_damaged_tokens_are_made_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    before = tinystories.load(folder).train.sample(9)[0]
    (cache,) = (folder / "tinystories").glob("tokens-train-*.npy")
    cache.write_bytes(damage(cache.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{cache.name}: .*tokenised again"):
        again = tinystories.load(folder)
    assert torch.equal(again.train.sample(9)[0], before)


def test_validation_of_a_long_text_is_spread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = tinystories.load(folder).val
    monkeypatch.setattr(tinystories, "MAX_VAL", 3)
    few = tinystories.load(folder).val
    assert len(few) == 3 < len(everything)
    assert torch.equal(few.sample(3)[0][2], everything.sample(10_000)[0][-1])


def test_missing_and_several_texts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tinystories: no \*train\.txt; put one there. As publ"):
        tinystories.load(tmp_path)
    home = put(tmp_path, *TEXTS)
    (home / "TinyStoriesV2-GPT4-train.txt").touch()
    with pytest.raises(DataError, match=r"several \*train\.txt; leave one"):
        tinystories_digest(tmp_path)
    (home / "TinyStoriesV2-GPT4-train.txt").unlink()
    (home / "TinyStories-valid.txt").unlink()
    with pytest.raises(DataError, match=r"no \*valid\.txt; put one there.*TinyStories-valid\.txt"):
        tinystories.load(tmp_path)


BAD = {
    "latin1": (
        TEXTS[0].replace("“", "").replace("”", "").encode("latin1"),
        "not UTF-8 .after line "
        r"[\d,]+\); convert it, e.g. with iconv",
    ),
    "utf-16": (TEXTS[0].encode("utf-16"), "not UTF-8 .after line 0"),
    "utf-16 without mark": ("Tom saw it.\n".encode("utf-16-le"), "zero bytes, so it is UTF-16 or"),
    "no separator": (" ".join(stories(400, 0)).encode(), r"no <\|endoftext\|> in it; put a line"),
    "empty": (b"", r"no <\|endoftext\|> in it"),
    "too short": (as_published(stories(3, 0)).encode(), r"tokens are too few; .*at least 513"),
    "nothing between": (b"<|endoftext|>\n" * 9, "0 tokens are too few"),
}


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_text_is_named(folder: Path, kind: str, part: str) -> None:
    content, message = BAD[kind]
    path = folder / "tinystories" / f"TinyStories-{part}.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"TinyStories-{part}\.txt: .*{message}"):
        tinystories.load(folder)


def test_tokens_that_cannot_be_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", lambda *_, **__: full())
    with pytest.raises(DataError, match=r"tinystories: cannot keep the texts' tokens there.*space"):
        tinystories.load(folder)
    assert not list((folder / "tinystories").glob("tokens-*"))


@pytest.mark.slow
def test_a_small_network_learns_from_the_texts(folder: Path) -> None:
    data = tinystories.load(folder)
    task = replace(
        catalog.get("tinystories-minigpt"),
        batch_size=8,
        network=lambda: GPT(
            tokens=1_000, context=256, blocks=1, width=32, heads=2, hidden=32, dropout=0.1
        ),
    )
    few = Data(data.train, data.val.first(2), data.test)
    scheduler = Parametric("constant", peak_lr=1e-2, updates=20)
    outcome = train(task, few, scheduler, seed=0, updates=20, points=2)
    assert outcome.rows[-1]["train_loss"] < outcome.rows[0]["train_loss"] < math.log(1_000)
    assert outcome.rows[-1]["val_metric"] > 0.1


@pytest.mark.slow
def test_the_papers_network_trains(folder: Path) -> None:
    """On the beginning of one window: a whole one takes minutes on a CPU."""
    x, y = tinystories.load(folder).train.sample(1)
    split = Split(x[:, :8], y[:, :8])
    task = replace(catalog.get("tinystories-minigpt"), batch_size=1)
    scheduler = Parametric("constant", peak_lr=1e-3, updates=2)
    outcome = train(task, Data(split, split, split), scheduler, seed=0, updates=2, points=2)
    assert outcome.rows[1]["train_loss"] < outcome.rows[0]["train_loss"] < 12  # log 50,257 = 10.8
