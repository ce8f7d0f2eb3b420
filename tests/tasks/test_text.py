"""Text: one file in, windows of characters out; which files are refused; what the GPT does."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch

from components.evaluation.sharpness import sharpness
from components.schedulers.parametric import Parametric
from components.tasks import catalog, text
from components.tasks.datasets import Data
from components.tasks.errors import DataError
from components.training.loop import Outcome, train

# public domain: Lewis Carroll, "Alice's Adventures in Wonderland" (1865)
SENTENCES = """\
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing \
to do: once or twice she had peeped into the book her sister was reading, but it had no pictures \
or conversations in it, “and what is the use of a book,” thought Alice “without pictures or \
conversations?”
So she was considering in her own mind (as well as she could, for the hot day made her feel very \
sleepy and stupid), whether the pleasure of making a daisy-chain would be worth the trouble of \
getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.
""".splitlines(keepends=True)


def made(characters: int = 40_000) -> str:
    """The sentences' clauses in random order, as often as it takes."""
    clauses = [clause for line in SENTENCES for clause in line.replace("\n", ",\n").split(",")]
    draw = random.Random(0)
    content = ""
    while len(content) < characters:
        content += draw.choice(clauses) + ","
    return content[:characters]


def put(folder: Path, content: str | bytes, name: str = "some.txt") -> Path:
    path = folder / "text" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    put(folder, made())
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    return text.load(folder)


def characters(windows: torch.Tensor, alphabet: list[str]) -> list[str]:
    """The windows (n, k) as strings; unknown characters as ▯."""
    return ["".join("▯" if i == 0 else alphabet[i - 1] for i in row) for row in windows.tolist()]


def test_windows_are_the_text(data: Data) -> None:
    content = made()
    parts = content[:36_000], content[36_000:38_000], content[38_000:]
    alphabet = sorted(set(parts[0]))
    for split, part in zip((data.train, data.val, data.test), parts, strict=True):
        starts = range(0, len(part) - 64, 64)
        x, y = characters(split.x, alphabet), characters(split.y, alphabet)
        assert sorted(x) == sorted(part[i : i + 64] for i in starts)
        assert sorted(y) == sorted(part[i + 1 : i + 65] for i in starts)
        assert split.x.dtype == split.y.dtype == torch.int64
        assert torch.equal(split.x[:, 1:], split.y[:, :-1])
    assert data.sizes == {"train": 562, "val": 31, "test": 31}
    assert characters(data.test.x[:1], alphabet)[0] == parts[2][:64]  # in order but for training


def test_every_load_is_the_same(folder: Path, data: Data) -> None:
    again = text.load(folder)
    for a, b in ((again.train, data.train), (again.val, data.val), (again.test, data.test)):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


def test_first_training_samples_are_from_everywhere(tmp_path: Path) -> None:
    put(tmp_path, "a" * 18_000 + "b" * 22_000)
    part = catalog.load_data(catalog.get("text-minigpt"), tmp_path, train_samples=40)
    assert 5 < (part.train.x[:, 0] == 1).sum() < 35


def test_validation_of_a_long_text_is_spread(tmp_path: Path) -> None:
    put(tmp_path, "a" * 920_000 + "b" * 80_000)  # the latter fifths of validation are b
    data = text.load(tmp_path)
    assert data.sizes == {"train": 14_062, "val": 256, "test": 781}
    assert (data.val.x == 1).float().mean().item() == pytest.approx(0.4, abs=0.01)


def test_characters_unseen_in_training_are_unknown(tmp_path: Path) -> None:
    put(tmp_path, "ba" * 9_000 + "bz" * 1_000)  # training ends at 18,000
    data = text.load(tmp_path)
    assert set(data.train.x.unique().tolist()) == {1, 2}
    assert set(data.val.x.unique().tolist()) == {0, 2}


def test_rare_characters_of_a_large_alphabet_are_unknown(tmp_path: Path) -> None:
    rare = "".join(chr(0x4E00 + i) for i in range(200))
    put(tmp_path, (rare + made(9_800)) * 2)
    data = text.load(tmp_path)
    assert data.train.x.max() == 127 and (data.train.x == 0).any()


def test_byte_order_mark_and_line_ends(tmp_path: Path, folder: Path, data: Data) -> None:
    put(tmp_path, b"\xef\xbb\xbf" + made().replace("\n", "\r\n").encode())
    assert torch.equal(text.load(tmp_path).train.x, data.train.x)


def test_no_file(tmp_path: Path) -> None:
    message = r"no text in .*text: put one UTF-8 file there, named \*\.txt, of at least 10,000"
    with pytest.raises(DataError, match=message):
        text.load(tmp_path)
    (tmp_path / "text").mkdir()
    with pytest.raises(DataError, match=message):
        text.load(tmp_path)


def test_several_files(tmp_path: Path) -> None:
    put(tmp_path, made(), "b.txt")
    put(tmp_path, made(), "a.txt")
    with pytest.raises(DataError, match=r"several texts \(a\.txt, b\.txt\); leave the one"):
        text.load(tmp_path)


MANY = "".join(chr(0x4E00 + i) for i in range(1_000)) * 12
BAD = {
    "latin1": ("é".join(made()).encode("latin1", "ignore"), r"not UTF-8 \(byte \d+\).*iconv"),
    "utf-16": (made().encode("utf-16"), "not UTF-8 .byte 0.*iconv"),
    "utf-16 without mark": (
        made().replace("“", "").replace("”", "").encode("utf-16-le"),
        "zero bytes, so it is UTF-16 or no text",
    ),
    "empty": (b"", "0 characters are too few; .* at least 10,000"),
    "too short": (made(9_999).encode(), "9,999 characters are too few"),
    "no alphabet": (MANY.encode(), "1,000 different characters, and 87% of .* alphabetic script"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_file_is_named(tmp_path: Path, kind: str) -> None:
    content, message = BAD[kind]
    put(tmp_path, content, "mine.txt")
    with pytest.raises(DataError, match=rf"text/mine\.txt: .*{message}"):
        text.load(tmp_path)


def test_network_does_not_look_ahead() -> None:
    torch.manual_seed(0)
    network, x = catalog.get("text-minigpt").network().eval(), torch.randint(128, (1, 64))
    later = x.clone()
    later[:, 40:] = 5
    before, after = network(x), network(later)
    torch.testing.assert_close(before[..., :40], after[..., :40])
    assert not torch.allclose(before[..., 40:], after[..., 40:])
    torch.testing.assert_close(network(x[:, :40]), before[..., :40])  # shorter texts are taken too


def test_attention_is_torchs() -> None:
    """Against the fused one, which cannot be used for want of a second derivative."""
    torch.manual_seed(0)
    block, x = (
        catalog.get("text-minigpt").network().get_submodule("blocks.0"),
        torch.randn(2, 9, 64),
    )
    q, k, v = (part.unflatten(-1, (4, 16)).transpose(1, 2) for part in block.qkv(x).chunk(3, -1))
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    future = torch.ones(9, 9, dtype=torch.bool).triu(1)
    expected = block.out(fused.transpose(1, 2).reshape(2, 9, 64))
    torch.testing.assert_close(block._attention(x, future), expected)


def trained(data: Data, updates: int) -> Outcome:
    scheduler = Parametric("onecycle", peak_lr=1e-2, updates=updates)
    return train(catalog.get("text-minigpt"), data, scheduler, seed=0, updates=updates, points=2)


@pytest.mark.slow
def test_network_learns_and_its_sharpness_can_be_measured(data: Data) -> None:
    outcome = trained(data, 80)
    most_frequent = max(torch.bincount(data.val.y.flatten()) / data.val.y.numel()).item()
    assert most_frequent + 0.1 < outcome.rows[-1]["val_metric"] < 1
    assert outcome.rows[-1]["train_loss"] < 2.6 < math.log(128)
    loss = catalog.get("text-minigpt").loss
    found = sharpness(outcome.network, loss, data.train.x, data.train.y, samples=8, batch_size=4)
    whole = sharpness(outcome.network, loss, data.train.x, data.train.y, samples=8)
    assert found["lambda_max"] > 0 and found["residual"] < 1e-2
    assert found["lambda_max"] == pytest.approx(whole["lambda_max"], rel=1e-3)


def test_training_is_reproducible(data: Data) -> None:
    small = Data(data.train, data.val.first(4), data.test)
    first, second = (trained(small, 4) for _ in range(2))
    assert [row["train_loss"] for row in first.rows] == [row["train_loss"] for row in second.rows]
