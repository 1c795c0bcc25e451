"""The table of what the small web serves: one row for each row of the source list, made from the sample by hashing alone."""

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from PIL import Image

from schemas.reasons import reason_of_fetch
from tests.web import hosts
from tests.web.answers import Answer
from tests.web.faults import COPY, FAILING, MENDING, ODD, PLAIN, SLOW, Decodes, Fault
from tests.web.images import Picture

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
COLUMNS = ("url", "caption", "caption_ko", "license", "license_url", "creator", "title", "source_page", "lang", "source_id")
SLOW_SHARE = 0.05  # of the rows that have a URL of their own
COPY_SHARE = 0.1  # of the sample's pairs
_HOSTS = {"openclipart": "clips.pigment.test"}  # other collections: their own name below pigment.test

Pair = dict[str, str]


@dataclass(frozen=True)
class Row:
    """One row of the source list, what happens to it, and what a careful client notes.

    number: position in the list, from 0. file: the sample's image that it stems from. does: the server's behaviour, attempt by
    attempt. status, error: words of schemas.reasons; error is None for success. decodes: None where nothing is stored.
    sha256: of the bytes to be stored, hex. requests: how many of them this row sends to its URL; None is the client's choice, and so is
    whether rows with one URL share a request.
    copy_of: source_id of the row with the same bytes. pair: the row as the list has it; its source_id is unique in the list.
    """

    number: int
    url: str
    host: str
    file: str
    fault: str
    does: str
    status: str
    error: str | None
    decodes: Decodes | None
    sha256: str | None
    requests: int | None
    copy_of: str | None
    pair: Pair

    @property
    def source_id(self) -> str:
        return self.pair["source_id"]

    @property
    def reason(self) -> str:
        """`success`, or the reason that the ledger must give."""
        return "success" if self.error is None else reason_of_fetch(self.status, self.error)


@dataclass(frozen=True)
class Plan:
    """The table, and the answers behind it by (host, target) as `address` gives them."""

    rows: tuple[Row, ...]
    answers: dict[tuple[str, str], tuple[Answer, ...]]

    @property
    def serving(self) -> tuple[str, ...]:
        """Hosts that answer, sorted."""
        return tuple(sorted({host for host, _ in self.answers}))

    refusing = hosts.REFUSING
    silent = hosts.SILENT

    def write_pairs(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row.pair for row in self.rows)

    def text(self) -> str:
        """The table for people, aligned, in the order of the kinds."""
        head = ("row", "fault", "status", "error", "decodes", "requests", "url", "what the server does")
        lines = [
            (
                str(row.number),
                row.fault,
                row.status,
                row.error or "-",
                row.decodes or "-",
                _shown(row.requests),
                repr(row.url)[1:-1],
                row.does,
            )
            for row in sorted(self.rows, key=lambda row: (row.status != "success", row.status, row.fault, row.number))
        ]
        widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in [head, *lines])


def plan(sample: Path = SAMPLE, *, small: bool = False) -> Plan:
    """The plan for the sample in a folder (`metadata.csv` and the images it names): the same for the same files.

    small: one row of each kind and no more pairs than that takes, about 150 rows, for tests that have to be quick.
    Raises ValueError where the sample has too few pairs for the kinds.
    """
    with (sample / "metadata.csv").open(encoding="utf-8", newline="") as file:
        pairs = sorted(csv.DictReader(file), key=lambda pair: _hash(pair["file_name"]))
    builder = _Builder(sample, small)
    builder.add_all(pairs)
    ordered = sorted(builder.rows, key=lambda row: _hash(f"{row.source_id} {row.url}"))
    return Plan(tuple(replace(row, number=number) for number, row in enumerate(ordered)), builder.answers)


def address(url: str) -> tuple[str, str]:
    """(host, target) as they come over the wire: host in lower-case ASCII, target percent-encoded, no fragment."""
    parts = urlsplit(url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    return (parts.hostname or "").encode("idna").decode(), encoded(target)


def encoded(target: str) -> str:
    """Percent-encodes what must be and writes hex digits large, so that spellings of one target are equal."""
    return re.sub("%[0-9a-f]{2}", lambda code: code[0].upper(), quote(target, safe="/?%:@!$&'()*+,;=~"))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _shown(number: int | None) -> str:
    return "1+" if number is None else str(number)


class _Builder:
    """Deals the sample's pairs to the kinds and collects rows and answers."""

    def __init__(self, sample: Path, small: bool) -> None:
        self.sample = sample
        self.small = small
        self.rows: list[Row] = []
        self.answers: dict[tuple[str, str], tuple[Answer, ...]] = {}

    def add_all(self, pairs: Sequence[Pair]) -> None:
        mending = [kind for kind in MENDING for _ in range(self._rows(kind.rows))]
        extra = [kind for kind in ODD + FAILING for _ in range(self._rows(kind.rows))]
        if self.small:
            pairs = pairs[: len(mending) + 24]
        copies = 2 if self.small else round(COPY_SHARE * len(pairs))
        slow = 1 if self.small else round(SLOW_SHARE * (len(pairs) + copies + len(extra)))
        if len(pairs) < len(mending) + slow + max(16, copies):
            raise ValueError(f"{self.sample} has {len(pairs)} pairs; the kinds take {len(mending) + slow + max(16, copies)}")

        own = mending + [SLOW] * slow
        own += [PLAIN] * (len(pairs) - len(own))
        for number, (pair, kind) in enumerate(zip(pairs, own, strict=True)):
            self._add(kind, pair, number, folder="")
        plain = [pair for pair, kind in zip(pairs, own, strict=True) if kind is PLAIN]
        for number, kind in enumerate(extra):
            self._add(kind, plain[number % len(plain)], number, folder=f"{kind.word}-{number}/")
        for number, pair in enumerate(plain[:copies]):
            self._add(COPY, pair, number, folder="copies/", copy_of=pair["source_id"])
        self._add_repeats(plain)
        for word, url, pair, fault in _bad_rows(plain[0], self._url(plain[0], PLAIN, 0, "")):
            self._append(fault, pair | {"source_id": f"{pair['source_id']}/{word}"}, url, None)

    def _rows(self, wanted: int) -> int:
        return 1 if self.small else wanted

    def _add_repeats(self, plain: Sequence[Pair]) -> None:
        """Rows on the URL of another row: the same pair again, and the same image under another caption."""
        repeats = [
            ("pair_again", 8, "a row of the list a second time", lambda caption: caption),
            ("other_caption", 8, "the URL of another row under another caption", lambda caption: f"A picture: {caption}"),
            (
                "caption_lines",
                2,
                "the same, the caption has quotes, a comma and a line break",
                lambda caption: f'"{caption}", a picture,\nas found',
            ),
        ]
        for word, wanted, does, change in repeats:
            kind = Fault(word, wanted, does)
            for number, pair in enumerate(plain[-self._rows(wanted) :]):
                changed = pair | {"source_id": f"{pair['source_id']}/{word}", "caption": change(pair["caption"])}
                url = self._url(pair, PLAIN, number, "")
                self._append(kind, changed, url, self._picture(pair), copy_of=pair["source_id"])

    def _add(self, kind: Fault, pair: Pair, number: int, *, folder: str, copy_of: str | None = None) -> None:
        picture = self._picture(pair)
        if kind.make is not None:
            picture = kind.make(picture)
        listed = self._url(pair, kind, number, folder, name=picture.name)
        for url, answers in kind.serve(listed, picture).items():
            if self.answers.setdefault(address(url), answers) != answers:
                raise AssertionError(f"two kinds serve {url}")
        if folder:
            pair = pair | {"source_id": f"{pair['source_id']}/{kind.word}"}
        self._append(kind, pair, listed, picture if kind.status == "success" else None, copy_of=copy_of)

    def _append(self, kind: Fault, pair: Pair, url: str, picture: Picture | None, *, copy_of: str | None = None) -> None:
        listed = {column: pair.get(column, "") for column in COLUMNS} | {"url": url}
        stored = None if picture is None else hashlib.sha256(picture.data).hexdigest()
        host = "" if kind.status == "invalid" else urlsplit(url).hostname or ""
        self.rows.append(
            Row(
                0,
                url,
                host,
                pair["file_name"],
                kind.word,
                kind.does,
                kind.status,
                kind.error,
                kind.decodes,
                stored,
                kind.requests,
                copy_of,
                listed,
            )
        )

    def _url(self, pair: Pair, kind: Fault, number: int, folder: str, *, name: str = "") -> str:
        collection = re.sub("[^a-z0-9]+", "-", pair["collection"].lower())
        names = kind.host or (_HOSTS.get(collection, f"{collection}.pigment.test"),)
        path = Path(pair["file_name"])
        return kind.url(f"http://{names[number % len(names)]}/{folder}{quote(str(path.with_name(name or path.name)))}")

    def _picture(self, pair: Pair) -> Picture:
        path = self.sample / pair["file_name"]
        with Image.open(path) as image:
            return Picture(path.name, path.read_bytes(), Image.MIME[image.format or ""])


def _bad_rows(pair: Pair, url: str) -> Iterator[tuple[str, str, Pair, Fault]]:
    """(word, url, pair, kind) of the rows that are refused before a request: no pairs, or addresses that are not public."""

    def kind(word: str, does: str, error: str, status: str = "invalid") -> Fault:
        return Fault(word, 1, does, status=status, error=error, decodes=None, requests=0)

    for number, blank in enumerate(("", "   ", "\t")):
        yield f"no_url-{number}", blank, pair, kind("no_url", "no request: the URL is blank", "no_url")
    for number, blank in enumerate(("", "   ", "\u00a0\t")):
        # A query keeps the row apart from the pair's own.
        yield (
            f"no_caption-{number}",
            f"{url}?{number}",
            pair | {"caption": blank},
            kind("no_caption", "no request: the caption is blank", "no_caption"),
        )
    bad = (
        "ftp://clips.pigment.test/cat.png",
        "not a url",
        "//clips.pigment.test/cat.png",
        "clips.pigment.test/cat.png",
        "http://",
        "http:///cat.png",
        "http://[clips/cat.png",
        "http://clips.pigment.test:port/cat.png",
        "http://clips.pigment.test:99999/cat.png",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    )
    for number, text in enumerate(bad):
        yield f"bad_url-{number}", text, pair, kind("bad_url", "no request: this is no URL of http or https", "bad_url")
    private = (
        "http://10.0.0.1/cat.png",
        "http://127.0.0.1/cat.png",
        "http://2130706433/cat.png",  # 127.0.0.1 as one number
        "http://localhost/cat.png",
        "http://[::1]/cat.png",
        "http://[::ffff:10.0.0.1]/cat.png",
        "http://169.254.169.254/latest/meta-data/",
    )
    for number, text in enumerate(private):
        yield f"private-{number}", text, pair, kind("private", "no request: the address is not public", "private_address", "refused")
