"""Documents of a release: whose works are named, what is said and what is not, and that none of it can do harm."""

import csv
import hashlib
import io
import json
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.publish import publish
from quality.block_lists import ENVIRONMENT
from quality.command import UsageError
from quality.documents import __main__ as documents
from quality.documents import attribution, read_about
from quality.documents.about import KEYS, NOT_STATED
from quality.documents.obligations import hub_license, url_of_license
from schemas.pool import Pool
from schemas.release import Release
from tests.block_lists import write_lists
from tests.releases import make_release
from tests.reporting import HOSTILE

LICENSES = (
    {"license": "CC BY 4.0", "creator": "Ann, “the one”", "title": "=1+1", "source_page": "https://pages.test/a"},
    {"license": "CC0", "creator": "Nobody asks", "title": "free"},
    {"license": "cc-by-sa-3.0", "creator": "<script>x</script>"},
    {"license": "MIT"},
    {"license": None},
    {"license": "All rights reserved", "creator": "an owner"},
)


def told(chunk: int, row: int) -> dict:
    return dict(LICENSES[row]) if row < len(LICENSES) else {}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    publish(*make_release(folder, told=told))
    return folder / "data"


@pytest.fixture
def published(once: Path, tmp_path: Path) -> tuple[Pool, Release]:
    pool = Pool(shutil.copytree(once, tmp_path / "data"))
    return pool, Release(pool.store, "one")


def write(pool: Pool, *flags: str) -> int:
    return documents.main(["--dataset", pool.store.root, *flags])


def text(release: Release, name: str) -> str:
    return release.store.read(f"{release.path}/{name}").decode()


def lines(release: Release, name: str = "ATTRIBUTION.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text(release, name))))


def test_every_pair_whose_licence_asks_for_it_is_attributed_and_no_other(published):
    pool, release = published
    assert write(pool) == 0
    found = {line["uid"]: line for line in lines(release)}
    kept = [row for shard in release.shards() for row in release.read_index(shard.shard).to_pylist()]
    assert set(found) == {row["uid"] for row in kept if row["license"] in ("CC BY 4.0", "cc-by-sa-3.0", "MIT")} and len(found) == 9
    for row in kept:
        if row["uid"] in found:
            line = found[row["uid"]]
            assert line["author"] == (row["creator"] or "unknown") and line["license"] == row["license"]
            assert line["source"] == (row["source_page"] or row["url"])
            assert line["title"] == {"=1+1": "'=1+1", None: "unknown"}[row["title"]], "a spreadsheet would run a formula"
            assert (
                line["shard"]
                == f"shards/{next(s.shard for s in release.shards() if row in release.read_index(s.shard).to_pylist()):06d}.tar"
            )
    assert {line["license_spdx"]: line["license_url"] for line in found.values()} == {
        "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
        "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
        "MIT": "https://spdx.org/licenses/MIT.html",
    }
    assert {line["obligations"] for line in found.values()} == {"attribution, notice", "attribution, share-alike, notice"}


class _Page(HTMLParser):
    """Elements and links of a page; whether anything in it could run or load."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.links, self.shown = Counter[str](), list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        assert not any(name.startswith("on") for name, _ in attrs), attrs
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.shown.append(data)


def test_a_page_shows_what_sources_say_and_runs_none_of_it(tmp_path):
    def hostile(chunk: int, row: int) -> dict:
        text = HOSTILE[(6 * chunk + row) % len(HOSTILE)]
        return {"license": "CC BY 4.0", "creator": text, "title": text, "source_page": f"javascript:{text}"}

    pool, release = make_release(tmp_path, told=hostile)
    publish(pool, release)
    assert write(pool) == 0
    page = text(release, "ATTRIBUTION.html")
    parsed = _Page(page)
    assert not {"script", "img", "svg", "iframe", "link", "object"} & parsed.tags.keys() and len(page) < 200_000
    links = {"ATTRIBUTION.csv", "https://creativecommons.org/licenses/by/4.0/"}
    assert set(parsed.links) == links, "nothing that is no http or https url is a link"
    assert "default-src 'none'" in page and parsed.tags["tr"] == 1 + 1 + 1 + 18  # two heads and the one licence
    assert HOSTILE[0] in "".join(parsed.shown) and not any(letter in page for letter in "\x00\x07\x1b")
    assert [line["author"] for line in lines(release)].count(HOSTILE[6]) >= 1, "the table has it whole"


def test_many_lines_are_cut_into_files_of_bounded_size(published, monkeypatch):
    pool, release = published
    monkeypatch.setattr(attribution, "LINES", 4)
    monkeypatch.setattr(attribution, "PAGE", 2)
    assert write(pool) == 0
    parts = ["ATTRIBUTION.csv", "attribution/0002.csv", "attribution/0003.csv"]
    assert [len(lines(release, part)) for part in parts] == [4, 4, 1]
    pages = ["ATTRIBUTION.html", *(f"attribution/{number:05d}.html" for number in range(2, 6))]
    uids = [line["uid"] for part in parts for line in lines(release, part)]
    assert [uid for page in pages for uid in uids if f'id="{uid}"' in text(release, page)] == uids
    assert (
        "../ATTRIBUTION.html" in _Page(text(release, pages[1])).links and "attribution/00005.html" in _Page(text(release, pages[0])).links
    )
    monkeypatch.undo()
    assert write(pool) == 0
    assert not [path for path, _ in pool.store.list(f"{release.path}/attribution")], "parts that are no more are removed"
    assert not [path for path in release.derived() if path.startswith("attribution/")]


def test_the_same_release_gives_the_same_bytes_and_every_file_its_digest(published):
    pool, release = published
    assert write(pool) == 0
    first = {path: pool.store.read(path) for path, _ in pool.store.list(release.path)}
    assert write(pool) == 0
    assert {path: pool.store.read(path) for path, _ in pool.store.list(release.path)} == first
    derived = release.derived()
    assert set(derived) == {
        "ATTRIBUTION.csv", "ATTRIBUTION.html", "NOTICE", "OBLIGATIONS.md", "README.md", "ai-act-summary.md", "croissant.json",
        "datasheet.md", "hosts.csv",
    }  # fmt: skip
    for path, digest in derived.items():
        assert hashlib.sha256(first[f"{release.path}/{path}"]).hexdigest() == digest


def test_what_nobody_stated_is_said_so_and_what_was_stated_is_kept(published, tmp_path):
    pool, release = published
    assert write(pool) == 0
    names = ("README.md", "datasheet.md", "ai-act-summary.md", "croissant.json")
    assert all(NOT_STATED in text(release, name) for name in names)
    about = tmp_path / "ours.toml"
    about.write_text("".join(f'{key} = "stated: {key}"\n' for key in KEYS if key != "published") + "published = 2026-05-01\n", "utf-8")
    assert write(pool, "--about", str(about)) == 0
    everything = "".join(text(release, name) for name in names)
    missing = [key for key in KEYS if key != "published" and f"stated: {key}" not in everything]
    assert not missing, "everything that can be stated has its place"
    assert "2026-05-01" in text(release, "croissant.json") and "not stated" not in text(release, "README.md")
    assert read_about(pool.store)["purpose"] == "stated: purpose", "kept for the releases to come"
    before = text(release, "README.md")
    assert write(pool) == 0 and text(release, "README.md") == before


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('purpos = "x"', "unknown key 'purpos'; known are name, description"),
        ("purpose = 7", "purpose must be a text"),
        ('purpose = ""', "purpose must be a text"),
        ("purpose = ", "not TOML"),
        ('published = "in spring"', "published must be a date"),
    ],
)
def test_an_about_that_cannot_be_used_is_told_and_nothing_is_written(published, tmp_path, said, message):
    pool, release = published
    (tmp_path / "about.toml").write_text(said, "utf-8")
    with pytest.raises(UsageError, match=message):
        write(pool, "--about", str(tmp_path / "about.toml"))
    assert not release.derived() and not pool.store.exists("about.toml")
    with pytest.raises(UsageError, match="No such file"):
        write(pool, "--about", str(tmp_path / "none.toml"))


def test_counts_are_those_of_the_index(published):
    pool, release = published
    assert write(pool) == 0
    card = text(release, "README.md")
    head = yaml.safe_load(card.split("---")[1])
    assert head["size_categories"] == ["n<1K"] and set(head["license"]) == {
        "cc-by-4.0",
        "cc0-1.0",
        "cc-by-sa-3.0",
        "mit",
        "unknown",
        "other",
    }
    assert head["license_name"] == "by-pair" and head["configs"][0]["data_files"] == [{"split": "train", "path": "shards/*.tar"}]
    assert "| `CC-BY-4.0` | attribution | attribution, notice | 3 (16.7 %) |" in card
    assert "Of 36 rows of the source: 18 kept, 3 for review, 15 dropped." in card
    assert list(csv.DictReader(io.StringIO(text(release, "hosts.csv")))) == [
        {
            "host": "host.test",
            "images": "18",
            "bytes": str(sum(size for s in release.shards() for size in release.read_index(s.shard)["size"].to_pylist())),
        }
    ]
    assert "**For what purpose was the dataset created?**\n\nnot stated" in text(release, "datasheet.md")
    summary = text(release, "ai-act-summary.md")
    for section in ("1.1. Provider", "1.3. Modalities", "2.1. Publicly", "2.3. Data crawled", "2.6. Other", "3.1. Respect", "3.2. Removal"):
        assert f"### {section}" in summary
    assert "| `host.test` | 18 |" in summary and "Less than 1 million images (18)" in summary
    croissant = json.loads(text(release, "croissant.json"))
    tars = [one for one in croissant["distribution"] if one.get("encodingFormat") == "application/x-tar"]
    assert [(one["sha256"], one["contentSize"]) for one in tars] == [(s.sha256, f"{s.bytes} B") for s in release.shards()]
    for one in croissant["distribution"]:
        if one["@type"] == "cr:FileObject":
            data = pool.store.read(f"{release.path}/{one['contentUrl']}")
            assert (hashlib.sha256(data).hexdigest(), f"{len(data)} B") == (one["sha256"], one["contentSize"])


@pytest.mark.parametrize("kind", ["urls", "md5", "domains"])
def test_pairs_on_a_list_are_in_no_document(published, tmp_path, monkeypatch, capsys, kind):
    pool, release = published
    row = next(row for s in release.shards() for row in release.read_index(s.shard).to_pylist() if row["license"] == "MIT")
    entry = {"urls": row["url"], "md5": None, "domains": "host.test"}[kind]
    if entry is None:
        raw = pool.read_raw(row["unit"]).to_pylist()[row["row"]]
        [data] = pool.read_bytes(row["unit"], [raw["offset"]], [raw["size"]])
        entry = hashlib.md5(data, usedforsecurity=False).hexdigest()
    monkeypatch.setenv(ENVIRONMENT, str(write_lists(tmp_path / "lists", {kind: [entry]})))
    assert write(pool) == 0
    gone = 18 if kind == "domains" else 1
    assert f"{gone} on a block list now are left out" in capsys.readouterr().out
    assert len(lines(release)) == (0 if kind == "domains" else 8)
    for path in release.derived():
        found = text(release, path)
        assert row["uid"] not in found and row["url"] not in found and (kind != "domains" or "host.test" not in found), path


def test_a_column_that_an_older_index_lacks_is_null(published):
    pool, release = published
    place = Path(pool.store.path_of(release.shard_path(0, "parquet")))
    table = pq.read_table(place)
    pq.write_table(table.drop_columns(["optout", "clip.similarity"]), place)
    assert write(pool) == 0
    assert "of 18 neither site nor file said anything" in text(release, "README.md") and len(lines(release)) == 9


def test_only_a_published_release_has_documents(tmp_path):
    pool, release = make_release(tmp_path)
    with pytest.raises(UsageError, match="no published release"):
        write(pool)
    publish(pool, release)
    with pytest.raises(UsageError, match=r"no published release two; there is one"):
        write(pool, "--release", "two")


def test_where_a_licence_stands():
    for spdx, url in {
        "CC-BY-NC-SA-2.0": "https://creativecommons.org/licenses/by-nc-sa/2.0/",
        "CC-BY-3.0-DE": "https://creativecommons.org/licenses/by/3.0/de/",
        "LicenseRef-CC-BY-2.1-JP": "https://creativecommons.org/licenses/by/2.1/jp/",
        "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
        "Apache-2.0": "https://spdx.org/licenses/Apache-2.0.html",
        "CC-BY-3.0 AND MIT": None, "NOASSERTION": None, "LicenseRef-all-rights-reserved": None,
    }.items():  # fmt: skip
        assert url_of_license(spdx) == url
    assert [hub_license(spdx) for spdx in ("CC-BY-4.0", "NOASSERTION", "CC-PDDC")] == ["cc-by-4.0", "unknown", "other"]
