"""Great Expectations' Data Docs, made to open without the network.

Its pages load Bootstrap, jQuery, icons and a logo from CDNs, and its index is drawn by a script.
Here every external reference is taken out, a small style sheet takes their place, and the index
is a page of ours: what was accepted, what was quarantined and why, links to the detailed pages.
"""

from __future__ import annotations

import re
import shutil
import uuid
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from components.validation.errors import ValidationError

if TYPE_CHECKING:
    from components.validation.checks import Checker
    from components.validation.verdict import ValidationResult

_SCRIPTS = re.compile(r"<script\b.*?</script>", re.DOTALL)
_EXTERNAL_STYLES = re.compile(r'<link\b[^>]*href="https?://[^>]*>')
_LOGO = re.compile(r"<img\b[^>]*great-expectations-web-assets[^>]*>")
_EXTERNAL_URL = re.compile(r"url\('https?://[^)]*\)")
_FOOTERS = re.compile(r"<footer\b.*?</footer>", re.DOTALL)
_FILTER = re.compile(
    r'<div class="card mb-3">\s*<div class="card-header p-2">\s*<strong>Actions.*?'
    r"(?=<div class=\"card d-md-block)",
    re.DOTALL,
)
_PAGE_INDEX = re.compile(r'href="(?:\.\./)+index\.html"')


def write(checker: Checker, result: ValidationResult, folder: Path) -> Path:
    """Write `<folder>/index.html` and Great Expectations' pages; replaces the folder's content.

    Raises:
        ValidationError: they cannot be written, e.g. as the disk is full; those of before stay.
    """
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        checker.write_docs(fresh)
        shutil.rmtree(fresh / "static", ignore_errors=True)  # fonts and walkthrough pictures
        pages = _flatten(fresh)
        _check_whole(pages, result)
        style = resources.files(__package__).joinpath("docs.css").read_text(encoding="utf-8")
        for page in pages.values():
            page.write_text(offline(page.read_text(encoding="utf-8"), style), encoding="utf-8")
        (fresh / "index.html").write_text(_index(result, pages, style), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as error:
        raise ValidationError(
            f"{folder}: the pages cannot be written ({error.strerror or error}); make room, or "
            "the folder writable, and run `lode validate` again"
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder / "index.html"


def offline(html: str, style: str) -> str:
    """A Great Expectations page without scripts and external references, styled by `style`."""
    for pattern in (_FILTER, _SCRIPTS, _EXTERNAL_STYLES, _FOOTERS):
        html = pattern.sub("", html)
    html = _LOGO.sub("Data Docs", html)
    html = _EXTERNAL_URL.sub("none", html)
    html = re.sub(r'<link rel="shortcut icon"[^>]*>', "", html)
    html = _PAGE_INDEX.sub('href="index.html"', html)
    html = re.sub(r'href="(?:\.\./)+expectations/(\w+)\.html"', r'href="suite-\1.html"', html)
    return html.replace("</head>", f"<style>{style}</style></head>", 1)


def _check_whole(pages: dict[str, Path], result: ValidationResult) -> None:
    """Great Expectations logs what it could not write, and goes on.

    Raises:
        OSError: a page is missing.
    """
    tables = {outcome.table for outcome in result.outcomes}
    missing = {*tables, *(f"suite-{table}" for table in tables)} - pages.keys()
    if missing:
        raise OSError(f"{len(missing)} of them are missing: {', '.join(sorted(missing))}")


def _flatten(site: Path) -> dict[str, Path]:
    """`<table>.html` and `suite-<table>.html` beside the index, instead of a path of run times."""
    pages: dict[str, Path] = {}
    for page in sorted((site / "expectations").glob("*.html")):
        page.rename(site / f"suite-{page.stem}.html")
        pages[f"suite-{page.stem}"] = site / f"suite-{page.stem}.html"
    for page in sorted((site / "validations").rglob("*.html")):
        table = page.relative_to(site / "validations").parts[0]
        page.rename(site / f"{table}.html")
        pages[table] = site / f"{table}.html"
    for leftover in ("expectations", "validations"):
        shutil.rmtree(site / leftover, ignore_errors=True)
    return pages


def _index(result: ValidationResult, pages: dict[str, Path], style: str) -> str:
    source = resources.files(__package__).joinpath("index.html").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    tables = dict.fromkeys(outcome.table for outcome in result.outcomes)
    return template.from_string(source).render(
        result=result,
        style=style,
        tables={t: [o for o in result.outcomes if o.table == t] for t in tables},
        pages=pages,
    )
