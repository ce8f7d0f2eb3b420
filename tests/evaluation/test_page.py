"""The page: whole, self-contained, readable aloud."""

import base64
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from components.evaluation.downloads import write_downloads
from components.evaluation.drawing import INK, PALETTE, PAPER, RED
from components.evaluation.evaluate import evaluate, write_evaluation
from components.evaluation.figures import FIGURES, Drawn, figure_path
from components.evaluation.notation import unbroken
from components.evaluation.order import SHOWN
from components.evaluation.page import write_page
from components.evaluation.result_tables import text_table
from components.evaluation.rows import group_runs
from components.evaluation.sweep_figure import ON_DARK, ON_LIGHT

VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture
def page(finished):
    return finished[1] / "index.html"


class Page(HTMLParser):
    """Tags that are opened and not closed, ids, what the page would fetch, the files it holds."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.fetched, self.text, self.files = [], [], [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            self._refer(values.get(name), values.get("download"))

    def _refer(self, address, name):
        if not address or address.startswith("#"):
            return
        head, _, body = address.partition(";base64,")
        if name and head.startswith("data:"):
            self.files[name] = base64.b64decode(body)
        elif not head.startswith("data:image/png"):  # a panel of the latent space's dots
            self.fetched.append(address)

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
    assert len(svgs) == len(FIGURES)
    assert all('role="img"' in svg and re.search(r'aria-label="[^"]{30,}', svg) for svg in svgs)


def test_page_says_what_the_pilots_cost_and_brought(page):
    text = plain(page.read_text(encoding="utf-8"))
    assert "100 pilots (runs under schedules that nobody had tried): 8 of the sweep's at" in text
    assert "12 of random shape, 52 proposed by" in text
    assert "They took 4 min of training, the sweep" in text
    assert "the better finalist gained +1.16 ± 0.20 points" in text
    assert "and became the plan." in text
    assert "LODE's plan" in text and "finalists" in text, "the figure's names"


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
    html = write_page(evaluate(**given_finer), tmp_path).read_text(encoding="utf-8")
    text = plain(html)
    assert "at finer peaks and chose OneCycle 0.07." in text
    assert html.count('<th scope="row" role="rowheader">Finer search</th>') == 2, (
        "results and comparisons"
    )
    assert "OneCycle 0.07" in html


def test_what_can_be_taken_away_is_in_the_page(page):
    files = Page(page.read_text(encoding="utf-8")).files
    beside = {
        f"mnist1d-cnn-{path.name}": path.read_bytes()
        for folder in ("figures", "downloads")
        for path in (page.parent / folder).iterdir()
    }
    assert files == beside
    assert b"\x89PNG" in files["mnist1d-cnn-01-test.png"]
    assert files["mnist1d-cnn-plan.csv"].startswith(b"share_of_training,learning_rate\n")
    header, first, *_ = files["mnist1d-cnn-results.csv"].decode().splitlines()
    assert header.startswith("Scheduler,Test accuracy (%),Test accuracy (%) ±,Behind the best,")
    assert re.match(r"LODE,94\.\d\d,0\.\d\d,,", first)


def test_the_page_is_dark_where_the_screen_is(page):
    text = page.read_text(encoding="utf-8")
    assert "@media (prefers-color-scheme: dark)" in text
    inlined = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    used = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", inlined)) - {"none"}
    fixed = {color for color in used if not color.startswith("var(")}
    cells = {color for color in fixed if color not in (ON_DARK, ON_LIGHT)}
    # the sweep's cells are the same on both grounds, and so is the text on them
    assert not cells & set(PALETTE) and {f"var(--c{c[1:]})" for c in (RED, INK, PAPER)} <= used


def test_the_best_mean_is_bold_and_what_is_level_with_it_marked(finished, tmp_path):
    pairs = finished[0].comparisons["lode"]
    level = {**pairs, "onecycle": replace(pairs["onecycle"], p_adjusted=0.3)}
    found = replace(finished[0], comparisons={**finished[0].comparisons, "lode": level})
    text = write_page(found, tmp_path).read_text(encoding="utf-8")
    best = unbroken(found.shown.spread(found.schedulers["lode"].test))
    assert re.findall(r"<strong>([^<]*)", text) == [best]
    assert text.count(">≈") == 1


def test_names_with_markup_in_them_are_escaped_everywhere(given, tmp_path):
    name = '<img src=x onerror="alert(1)">'
    for history in (*given["sweep"], *given["runs"]):
        history.meta |= {"metric_name": name, "metric_percent": False, "device": name}
    found = evaluate(**given)
    write_evaluation(found, given["sweep"], given["runs"], given["trajectories"], tmp_path)
    for path in (tmp_path / "index.html", *(tmp_path / "figures").glob("*.svg")):
        assert "<img" not in path.read_text(encoding="utf-8"), path.name
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert Page(text).open == [] and "&lt;img src=x" in text


def test_sixty_schedulers_still_read(synthetic, given, tmp_path):
    names = [f"own-{i:02}" for i in range(55)]
    for i, name in enumerate(names):
        synthetic.LEVEL[name] = 0.94 - 0.002 * i
    many = [synthetic.history(n, 0.01, s) for n in names for s in range(100, 106)]
    swept = [synthetic.history(n, 0.01, s) for n in names for s in range(2)]
    given |= {"sweep": [*given["sweep"], *swept], "runs": [*given["runs"], *many]}
    given["chosen"] |= {name: (name, 0.01) for name in names}
    found = evaluate(**given)
    drawn = Drawn(found, group_runs(given["runs"], given["chosen"], given["seeds"]))
    for name in ("test", "val_metric"):
        path = figure_path(tmp_path / "figures", name)
        next(one for one in FIGURES if one.name == name).draw(drawn, path)
    write_downloads(found, {}, tmp_path / "downloads")
    text = write_page(found, tmp_path).read_text(encoding="utf-8")
    first, *_ = re.findall(
        r'<table role="table" class="results cards".*?</table>', text, flags=re.DOTALL
    )
    assert first.count('scope="row"') == SHOWN and "48 more" in plain(text)
    assert "Of 60 schedulers the best 12, and LODE" in plain(text)
    assert "Of 60 schedulers the best 6, and LODE" in plain(text)
    assert "and 48 schedulers more" in text_table(found)
    assert (tmp_path / "downloads" / "results.csv").read_text().count("\n") == 61


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
    assert "Use LODE" in text and "OneCycle (best on validation)" in text
    assert done.stdout.count("<svg") == len(FIGURES)
    assert done.stdout.count('<tr role="row" class="lode">') == 2, (
        "in the results and in sharpness over training; compared is with others"
    )
