"""Table 1 as far as it was run."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.evaluation.errors import EvaluationError
from components.evaluation.overview import overview


def evaluated(reports: Path, task: str, **tests: tuple[float | None, float | None]) -> None:
    schedulers = {name: {"test": {"mean": m, "std": s}} for name, (m, s) in tests.items()}
    (reports / task).mkdir(parents=True)
    content: dict[str, Any] = {"schedulers": schedulers, "setup": {"seeds": [100, 101]}}
    (reports / task / "evaluation.json").write_text(json.dumps(content))


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_what_was_run_stands_in_its_cell_and_the_rest_says_so(tmp_path: Path) -> None:
    evaluated(tmp_path, "digits-mlp", pbt=(0.95, 0.001), lode=(0.9712, 0.0034))
    evaluated(tmp_path, "cifar100-resnet18", constant=(None, None), lode=(0.7, None))
    table = cells(overview(tmp_path, markdown=True))
    assert table["Scheduler"] == [
        "Fashion-MNIST CNN",
        "Fashion-MNIST ResNet18",
        "CIFAR-100 ResNet18",
        "ImageNet ResNet34",
        "TinyStories transformer",
        "digits-mlp",
    ]
    none = "not run"
    assert table["LODE"] == [none, none, "70.0", none, none, "97.1 ± 0.3"]
    assert table["Constant"] == [none, none, "diverged", none, none, none]
    assert table["PBT"][-1] == "95.0 ± 0.1"
    assert table["seeds"] == ["", "", "2", "", "", "2"]


def test_without_a_report_every_row_of_the_paper_is_there(tmp_path: Path) -> None:
    text = overview(tmp_path)
    for row in ("Constant", "Cosine", "OneCycle", "Exp. decay", "Hypergradient", "LODE"):
        assert text.count(row) == 3, "once in every block of two columns"
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("content", ["{", "[]", '{"setup": {"seeds": []}}'])
def test_a_damaged_evaluation_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "digits-mlp").mkdir()
    (tmp_path / "digits-mlp/evaluation.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"digits-mlp/evaluation\.json.*lode evaluate"):
        overview(tmp_path)
