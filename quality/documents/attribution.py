"""ATTRIBUTION: title, author, source and licence (TASL) of every pair whose licence asks for them, as CSV and as pages of HTML.

A million lines are 250 MB of CSV and 400 MB of HTML: both are cut, so that no file grows without bound and one part is in memory at a time.
"""

import csv
import io
from collections.abc import Iterator
from html import escape
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa

from quality.columns.license import License
from quality.documents.facts import Facts
from quality.documents.obligations import NEEDS_ATTRIBUTION, url_of_license
from quality.report.render import clean

UNKNOWN: Final = "unknown"
COLUMNS: Final = ("uid", "title", "author", "source", "license", "license_spdx", "license_url", "obligations", "shard")
LINES: Final = 200_000  # of a CSV file: 50 MB
PAGE: Final = 2_000  # lines of a page: a megabyte, which a browser shows at once
_MOST: Final = 300  # letters of a cell on a page; the CSV has them all
_LONGEST_LINK: Final = 2_000  # letters: longer ones no browser has to open, and a page's size is bounded
_READ: Final = ("uid", "title", "creator", "source_page", "url", "license", "license_url")


class Line(NamedTuple):
    """A pair to be attributed. license: as the source says it. shard: path of its tar, below the release."""

    uid: str
    title: str
    author: str
    source: str
    license: str
    license_spdx: str
    license_url: str
    obligations: str
    shard: str


def lines_of(facts: Facts) -> Iterator[Line]:
    """In the order of shards and of the pairs in them. What the source does not say is "unknown"."""
    for shard, table in facts.kept.tables(_READ):
        read = License().compute(table, ["license.spdx", "license.obligations"])
        needs = pa.array(
            [bool(NEEDS_ATTRIBUTION & set(duties.split("|"))) for duties in read["license.obligations"].to_pylist()], pa.bool_()
        )
        columns = [*(table.filter(needs)[name].to_pylist() for name in _READ), *(one.to_pylist() for one in read.filter(needs).columns)]
        for uid, title, author, page, url, license_, license_url, spdx, duties in zip(*columns, strict=True):
            yield Line(
                uid, title or UNKNOWN, author or UNKNOWN, page or url or UNKNOWN, license_ or UNKNOWN, spdx,
                license_url or url_of_license(spdx) or UNKNOWN, duties.replace("|", ", "), shard["path"],
            )  # fmt: skip


def attribution(facts: Facts) -> Iterator[tuple[str, bytes]]:
    """(path below the release, bytes) of all files: ATTRIBUTION.csv and .html, and the parts that follow them where there are many lines."""
    csvs, pages = _Csv(), _Pages(facts)
    for line in lines_of(facts):
        for writer in (csvs, pages):
            if (done := writer.add(line)) is not None:
                yield done
    yield csvs.end()
    yield pages.end()


class _Csv:
    def __init__(self) -> None:
        self.part, self.lines = 1, 0
        self._begin()

    def _begin(self) -> None:
        self.text = io.StringIO()
        self.writer = csv.writer(self.text, lineterminator="\n")
        self.writer.writerow(COLUMNS)

    def add(self, line: Line) -> tuple[str, bytes] | None:
        done = None
        if self.lines == LINES:
            done = self.end()
            self.part, self.lines = self.part + 1, 0
            self._begin()
        self.writer.writerow([_no_formula(value) for value in line])
        self.lines += 1
        return done

    def end(self) -> tuple[str, bytes]:
        name = "ATTRIBUTION.csv" if self.part == 1 else f"attribution/{self.part:04d}.csv"
        return name, self.text.getvalue().encode("utf-8", "replace")


def _no_formula(value: str) -> str:
    """A spreadsheet would run what begins so; an apostrophe makes it text (OWASP, "CSV injection")."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:90rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid "
    "light-dark(#dedbd5,#333a43);overflow-wrap:anywhere}th{white-space:nowrap}nav{margin:1rem 0}nav a{margin-right:1rem}"
)
_HEAD: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
)


class _Pages:
    def __init__(self, facts: Facts):
        self.facts, self.pages = facts, max(1, -(-facts.attributed // PAGE))
        self.page, self.rows = 1, list[str]()

    def add(self, line: Line) -> tuple[str, bytes] | None:
        done = None
        if len(self.rows) == PAGE:
            done = self.end()
            self.page, self.rows = self.page + 1, []
        source, license_ = _linked(line.source, line.source), _linked(line.license_url, line.license)
        cells = (_bdi(line.title), _bdi(line.author), source, f"{license_}<br><small>{escape(line.license_spdx)}</small>")
        self.rows.append(f'<tr id="{escape(line.uid)}">{"".join(f"<td>{one}</td>" for one in cells)}</tr>')
        return done

    def end(self) -> tuple[str, bytes]:
        title = escape(clean(f"Attribution: {self.facts.name}", _MOST))
        body = [
            f"{_HEAD}<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
            f"<p>{self.facts.attributed:,} pairs stand under licences that ask for title, author, source and licence to be named. “{UNKNOWN}” is "
            "what the source does not say. Pictures in the shards may be smaller than their sources, and hold no metadata. The same as a table: "
            f'<a href="{self._up()}ATTRIBUTION.csv">ATTRIBUTION.csv</a>.</p>',
            *([] if self.page > 1 else [_summary(self.facts)]),
            self._navigation(),
            "<table>\n<thead><tr><th>Title</th><th>Author</th><th>Source</th><th>Licence</th></tr></thead>\n<tbody>",
            *self.rows,
            "</tbody>\n</table>",
            self._navigation(),
            "</body>\n</html>\n",
        ]
        return _page_name(self.page), "\n".join(one for one in body if one).encode("utf-8", "replace")

    def _up(self) -> str:
        return "" if self.page == 1 else "../"

    def _navigation(self) -> str:
        if self.pages == 1:
            return ""
        places = {"first": 1, "previous": self.page - 1, "next": self.page + 1, "last": self.pages}
        links = [
            f'<a href="{self._up()}{_page_name(page)}">{word}</a>'
            for word, page in places.items()
            if 1 <= page <= self.pages and page != self.page
        ]
        return f"<nav>Page {self.page:,} of {self.pages:,} {' '.join(links)}</nav>"


def _page_name(page: int) -> str:
    return "ATTRIBUTION.html" if page == 1 else f"attribution/{page:05d}.html"


def _summary(facts: Facts) -> str:
    rows = "".join(
        f"<tr><td>{escape(terms.spdx)}</td><td>{terms.pairs:,}</td><td>{escape(', '.join(terms.duties) or 'none stated')}</td></tr>"
        for terms in facts.terms
    )
    return f"<table>\n<thead><tr><th>Licence (SPDX)</th><th>Pairs</th><th>Obligations</th></tr></thead>\n<tbody>{rows}</tbody>\n</table>"


def _bdi(text: str) -> str:
    """A source's text, within its own direction."""
    return f"<bdi>{escape(clean(text, _MOST))}</bdi>"


def _linked(url: str, text: str) -> str:
    """A link where the url is one of http or https that a browser would take for such; else the text alone."""
    return f'<a rel="noreferrer nofollow" href="{escape(url)}">{_bdi(text)}</a>' if _is_web(url) else _bdi(text)


def _is_web(url: str) -> bool:
    try:
        parts: Any = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and url.isprintable() and " " not in url and len(url) <= _LONGEST_LINK
