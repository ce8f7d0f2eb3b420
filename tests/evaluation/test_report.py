import copy
import re
import subprocess
from html.parser import HTMLParser

import pytest

from components.evaluation import report
from components.evaluation.evaluate import evaluate

VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture
def evaluation(finished):
    return copy.deepcopy(finished[0])


@pytest.fixture
def page(finished):
    return finished[1] / "index.html"


def with_pair(evaluation, **changes):
    """The evaluation with another outcome of LODE against the best baseline."""
    other = copy.deepcopy(evaluation)
    other["comparisons"]["lode"]["onecycle"].update(changes)
    return other


class Page(HTMLParser):
    """Tags that are opened and not closed, ids, and what the page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.fetched, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            if values.get(name) and not values[name].startswith("#"):
                self.fetched.append(values[name])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def plain(html):
    return " ".join(" ".join(Page(html[html.index("<html") :]).text).split())


def test_headline_better(evaluation):
    sentence = report.headline(evaluation)
    assert re.fullmatch(
        r"LODE ends 0\.\d\d points above OneCycle \(peak lr 0\.05\), the best baseline on "
        r"validation: 94\.\d\d against 93\.\d\d % test accuracy \(95 % interval \+0\.\d\d to "
        r"\+1\.\d\d, p [=<] 0\.\d+, n = 6 seeds\)\.",
        sentence,
    )
    assert report.verdict(evaluation) == "better"


def test_headline_worse(evaluation):
    worse = with_pair(evaluation, mean=-0.0042, low=-0.006, high=-0.0024, p_value=0.0004)
    assert report.verdict(worse) == "worse"
    assert "LODE ends 0.42 points below OneCycle" in report.headline(worse)
    assert "95 % interval −0.60 to −0.24, p < 0.001" in report.headline(worse)


@pytest.mark.parametrize("mean", [0.004, -0.004, 0.0])
def test_headline_does_not_claim_what_is_not_significant(evaluation, mean):
    level = with_pair(evaluation, mean=mean, low=mean - 0.01, high=mean + 0.01, p_value=0.4)
    sentence = report.headline(level)
    assert "cannot be told apart" in sentence and "p = 0.40" in sentence
    assert "above" not in sentence and "below" not in sentence


def test_headline_with_one_seed_or_none(evaluation):
    one = with_pair(evaluation, mean=0.01, low=None, high=None, p_value=None, n=1)
    assert "no interval, no p-value, n = 1" in report.headline(one)
    assert "cannot be told apart" in report.headline(one)
    none = with_pair(evaluation, mean=None, low=None, high=None, p_value=None, n=0)
    assert "no comparison" in report.headline(none)


def test_bold_only_where_the_paired_test_says_so(evaluation):
    assert report.best_schedulers(evaluation) == ["lode"]
    level = with_pair(evaluation, p_value=0.3)
    assert report.best_schedulers(level) == ["lode", "onecycle"]
    alike = copy.deepcopy(evaluation)
    for pair in alike["comparisons"]["lode"].values():
        pair["p_value"] = 0.5
    assert report.best_schedulers(alike) == []
    broken = copy.deepcopy(evaluation)
    broken["schedulers"]["lode"]["diverged"] = 2
    assert report.best_schedulers(broken) == []


def test_tables_show_every_scheduler_best_first(evaluation):
    rows = report.table_rows(evaluation)
    assert [row["Scheduler"] for row in rows] == [
        "LODE",
        "OneCycle",
        "Cosine",
        "Exp. decay",
        "Constant",
    ]
    assert rows[0]["Peak lr"] == "–" and rows[1]["Peak lr"] == "0.05"
    assert rows[1]["Cost"] == "1.00×" and rows[0]["Cost"].startswith("1.2")
    comparisons = report.comparison_rows(evaluation)
    assert comparisons[0]["LODE minus"] == "OneCycle (best on validation)"
    assert len(comparisons) == 4


def test_no_sharpness_no_column(evaluation):
    for entry in evaluation["schedulers"].values():
        entry["sharpness"] = {"mean": None, "std": None, "n": 0}
    assert "Sharpness λₘₐₓ" not in report.table_rows(evaluation)[0]


def test_text_table_fits_a_terminal(evaluation):
    text = report.text_table(evaluation)
    assert max(map(len, text.splitlines())) <= 80
    header, rule, *rows = text.split("\n\n")[1].splitlines()
    assert header.startswith("Scheduler") and len(rows) == 5
    assert {len(line) for line in (header, rule, *rows)} == {len(header)}
    assert " ".join(text.split("\n\n")[0].split()) == report.headline(evaluation)


@pytest.mark.parametrize(
    "mean, std, text",
    [
        (1.2204, 0.4449, "1.22 ± 0.44"),
        (123.4, 5.6, "123 ± 6"),
        (0.06249, 0.00281, "0.0625 ± 0.0028"),
        (-0.5, 0.1, "-0.500 ± 0.100"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (2.0, None, "2.00"),
        (None, None, "–"),
    ],
)
def test_measured_values_have_three_digits(mean, std, text):
    assert report._measured({"mean": mean, "std": std}) == text


def test_ordinals():
    names = [report._place(rank) for rank in (1, 2, 3, 4, 11, 12, 21, 112, 103)]
    assert names == [
        "the best",
        "the 2nd best",
        "the 3rd best",
        "the 4th best",
        "the 11th best",
        "the 12th best",
        "the 21st best",
        "the 112th best",
        "the 103rd best",
    ]


def test_page_is_whole_and_self_contained(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.fetched == []
    assert "@import" not in page.read_text() and "<script" not in page.read_text()


def test_every_figure_has_a_text_alternative(page):
    text = page.read_text(encoding="utf-8")
    svgs = re.findall(r"<svg[^>]*>", text)
    assert len(svgs) == 10
    assert all('role="img"' in svg and re.search(r'aria-label="[^"]{30,}', svg) for svg in svgs)


def test_page_says_what_the_pilots_cost_and_brought(page):
    text = plain(page.read_text(encoding="utf-8"))
    assert "100 pilots tried schedules before the fit: 8 of the sweep's at peaks between" in text
    assert "13 of random shape, 2 × 12" in text
    assert "They took 4 min of training, the sweep" in text
    assert "the finalist gained +1.16 ± 0.20 points" in text and "and became the plan." in text
    assert "the plan" in text and "finalists" in text, "the figure's legend"


def test_pilots_that_found_nothing_or_were_not_asked_for(evaluation):
    refused = evaluation | {"pilots": evaluation["pilots"] | {"adopted": False}}
    assert (
        "too little to be trusted, so LODE's runs begin with OneCycle 0.05."
        in (report._pilots(refused)[1])
    )
    diverged = evaluation["pilots"] | {"gain": {"mean": None, "error": None, "n": 0}}
    assert (
        "so LODE's runs begin with OneCycle 0.05."
        in (report._pilots(evaluation | {"pilots": diverged})[1])
    )
    assert report._pilots(evaluation | {"pilots": None}) == []


def test_a_dot_marks_each_change_of_the_plan(page):
    svg = (page.parent / "figures" / "expectations.svg").read_text()
    assert len(re.findall(r"<use ", svg[svg.index("line2d") :])) >= 6, "one per LODE run"


def test_page_shows_table_a1_and_rank(page):
    text = plain(page.read_text(encoding="utf-8"))
    for expected in ("0.222 ± 0.010", "0.111 ± 0.010", "Validation accuracy (50 %)"):
        assert expected in text
    assert "first 5 % of each of 12 held-out runs, it picks the best" in text
    assert "each of 36 runs, fitted ones included, it picks the 3rd best" in text


def test_what_comes_from_files_is_escaped(evaluation, tmp_path):
    evaluation["notes"] = ["<script>alert(1)</script>"]
    evaluation["provenance"]["command"] = "make <b>"
    text = report.write_page(evaluation, tmp_path).read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;" in text and "make &lt;b&gt;" in text


def test_figures_of_a_former_evaluation_go(synthetic, folders):
    stale = folders["report_dir"] / "figures" / "old.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text("<svg></svg>")
    evaluate(synthetic.TASK, **folders, seeds=range(100, 106))
    assert not stale.exists()


@pytest.mark.slow
def test_page_in_a_real_browser(page, tmp_path, needs_system):
    browser = needs_system("chromium", "chromium")
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    # nothing resolves, so that whatever the page would fetch fails
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    done = subprocess.run(
        [
            browser,
            *quiet,
            offline,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            "--window-size=390,844",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rendered = Page(done.stdout[done.stdout.index("<html") :])
    assert rendered.fetched == []
    text = plain(done.stdout)
    assert "LODE ends" in text and "OneCycle (best on validation)" in text
    assert done.stdout.count("<svg") == 10
    assert done.stdout.count('<tr class="lode">') == 1
