"""The page: whole, self-contained, readable aloud."""

import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from components.evaluation.evaluate import evaluate, write_evaluation
from components.evaluation.figures import figure_path
from components.evaluation.page import write_page

VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture
def page(finished):
    return finished[1] / "index.html"


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


def test_a_dot_marks_each_change_of_the_plan(page):
    svg = (figure_path(page.parent / "figures", "expectations")).read_text()
    assert len(re.findall(r"<use ", svg[svg.index("line2d") :])) >= 6, "one per LODE run"


def test_page_shows_table_a1_and_rank(page):
    text = plain(page.read_text(encoding="utf-8"))
    for expected in ("0.222 ± 0.010", "0.111 ± 0.010", "Validation accuracy (50 %)"):
        assert expected in text
    assert "first 5 % of each of 12 held-out runs, it picks the best" in text
    assert "each of 36 runs, fitted ones included, it picks the 3rd best" in text


def test_what_comes_from_files_is_escaped(finished, tmp_path):
    evaluation = replace(
        finished[0],
        notes=["<script>alert(1)</script>"],
        provenance=replace(finished[0].provenance, command="make <b>"),
    )
    text = write_page(evaluation, tmp_path).read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;" in text and "make &lt;b&gt;" in text


def test_the_finer_search_is_a_row_and_a_sentence(given_finer, tmp_path):
    found = evaluate(**given_finer)
    write_evaluation(found, given_finer["sweep"], given_finer["runs"], None, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    text = plain(html)
    assert "at finer peaks and chose OneCycle 0.07." in text
    assert html.count('<th scope="row">Finer search</th>') == 2, "results and comparisons"
    assert "OneCycle 0.07" in html


def test_a_page_without_fit_and_figures(finished, tmp_path):
    bare = replace(finished[0], lode=replace(finished[0].lode, fit=None), trajectories=None)
    text = write_page(bare, tmp_path).read_text(encoding="utf-8")
    assert "<svg" not in text and 'class="errors"' not in text and Page(text).open == []


def test_figures_of_a_former_evaluation_go(given, tmp_path):
    stale = tmp_path / "figures" / "old.svg"
    stale.parent.mkdir(parents=True)
    stale.write_text("<svg></svg>")
    write_evaluation(evaluate(**given), given["sweep"], given["runs"], None, tmp_path)
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
