"""Table 1 as far as it was run."""

from dataclasses import replace
from pathlib import Path

from components.evaluation.overview import overview, overview_table, write_overview
from components.evaluation.results import Evaluation
from components.evaluation.statistics import Summary
from components.schedulers.names import LODE, ROWS

Finished = tuple[Evaluation, Path]


def evaluated(finished: Finished, **tests: tuple[float | None, float | None]) -> Evaluation:
    """An evaluation of these rows on two seeds."""
    found, entry = finished[0], finished[0].schedulers[LODE]
    rows = {name: replace(entry, test=Summary(*values, 2)) for name, values in tests.items()}
    return replace(found, schedulers=rows, setup=replace(found.setup, seeds=[100, 101]))


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_what_was_run_stands_in_its_cell_and_the_rest_says_so(finished: Finished) -> None:
    digits = evaluated(finished, pbt=(0.95, 0.001), lode=(0.9712, 0.0034))
    cifar = evaluated(finished, constant=(None, None), lode=(0.7, None))
    found = {"digits-mlp": digits, "cifar100-resnet18": cifar}
    table = cells(overview(found, markdown=True))
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


def test_rows_are_in_the_schedulers_order(finished: Finished) -> None:
    tests = dict.fromkeys([row.name for row in ROWS[::-1]], (0.9, 0.01))
    names = [row[0] for row in overview_table({"digits-mlp": evaluated(finished, **tests)}).rows]
    assert names == [*(row.label for row in ROWS), "seeds"]


def test_a_scheduler_of_another_version_is_shown(finished: Finished) -> None:
    table = overview_table({"digits-mlp": evaluated(finished, forgotten=(0.5, None))})
    assert next(row for row in table.rows if row[0] == "forgotten")[-1] == "50.0"


def test_without_a_report_every_row_of_the_paper_is_there() -> None:
    text = overview({})
    for row in ("Constant", "Cosine", "OneCycle", "Exp. decay", "Hypergradient", "LODE"):
        assert text.count(row) == 3, "once in every block of two columns"
    assert "PBT" not in text and "Finer search" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_page_over_all_tasks(finished: Finished, tmp_path: Path) -> None:
    own = replace(finished[0], metric="<b>loss</b>", percent=False, lower=True)
    path = tmp_path / "reports" / "index.html"
    found = {"mnist1d-cnn": finished[0], "mine": own}
    write_overview(found, {"broken": "broken/evaluation.json: <i>damaged</i>"}, path)
    text = path.read_text(encoding="utf-8")
    assert text.count('href="mnist1d-cnn/index.html"') == 3 and "mine/index.html" in text
    assert "mine (&lt;b&gt;loss&lt;/b&gt;)" in text and "<b>" not in text and "<i>" not in text
    assert "Use LODE: it does better" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert text.count("<strong>") == 2, "the best of each task"
    assert "Not run: Fashion-MNIST CNN, Fashion-MNIST ResNet18" in text
    assert "http" not in text and "<script" not in text


def test_a_page_without_tasks_says_what_to_run(tmp_path: Path) -> None:
    write_overview({}, {}, tmp_path / "index.html")
    assert "Nothing was evaluated here yet" in (tmp_path / "index.html").read_text()
