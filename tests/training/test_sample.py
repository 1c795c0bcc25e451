"""The sample in the repository: complete, small, licensed, never trained on; and the code that takes it."""

import csv
import dataclasses
import hashlib
import io
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

from training.corpus.drawing import draw
from training.corpus.rows import SCHEMA, Drawing
from training.corpus.sample import LIMIT, encode, write
from training.corpus.sources import CLDR, SourceError, fetch, read_json
from training.splits import split_of

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
COLLECTIONS = {
    "openclipart": {"http://web.resource.org/cc/PublicDomain", "http://creativecommons.org/licenses/publicdomain/"},
    "noto": {"https://www.apache.org/licenses/LICENSE-2.0"},
    "twemoji": {"https://creativecommons.org/licenses/by/4.0/"},
    "openmoji": {"https://creativecommons.org/licenses/by-sa/4.0/"},
    "fluent-emoji-flat": {"https://opensource.org/license/mit"},
    "game-icons": {"https://creativecommons.org/licenses/by/3.0/"},
}


@pytest.fixture(scope="module")
def rows():
    with open(SAMPLE / "metadata.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_the_corpuss(rows):
    assert list(rows[0]) == SCHEMA.names


def test_every_file_has_one_row_and_every_row_a_file(rows):
    named = [row["file_name"] for row in rows]
    assert len(named) == len(set(named)) >= 600
    assert set(named) == {path.relative_to(SAMPLE).as_posix() for path in (SAMPLE / "images").rglob("*") if path.is_file()}


def test_every_image_decodes_and_is_what_its_name_says(rows):
    formats = Counter()
    for row in rows:
        with Image.open(SAMPLE / row["file_name"]) as image:
            image.load()
            assert {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}[image.format] == Path(row["file_name"]).suffix
            formats[image.format] += 1
    assert min(formats[name] for name in ("PNG", "JPEG", "WEBP")) >= 50


def test_all_together_is_at_most_six_megabytes():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) <= LIMIT == 6_000_000


def test_licences_are_those_of_the_collections(rows):
    found = defaultdict(set)
    for row in rows:
        assert row["license"] and row["creator"]
        found[row["collection"]].add(row["license_url"])
    assert found.keys() == COLLECTIONS.keys()
    assert all(urls <= COLLECTIONS[collection] for collection, urls in found.items())


def test_nothing_of_it_was_trained_on(rows):
    assert {row["split"] for row in rows} == {"validation", "heldout"}
    assert all(row["split"] == split_of(row["concept"]) for row in rows)


def test_one_emoji_is_one_concept_in_all_sets(rows):
    concepts, sets = defaultdict(set), defaultdict(set)
    for row in rows:
        if row["caption_ko"]:
            concepts[row["caption"]].add(row["concept"])
            sets[row["caption"]].add(row["collection"])
    assert sum(len(of) > 1 for of in sets.values()) >= 20  # enough that the next line says something
    assert {caption: of for caption, of in concepts.items() if len(of) > 1} == {}


def test_captions_in_english_everywhere_and_in_korean_often(rows):
    assert all(row["caption"].strip() for row in rows)
    korean = [row["caption_ko"] for row in rows if row["caption_ko"]]
    assert len(korean) >= 150
    assert all(any("가" <= letter <= "힣" for letter in caption) for caption in korean if not caption.isascii())
    assert sum(caption.isascii() for caption in korean) <= 5  # the Korean for "up! button" is in letters too


def test_poor_pairs_and_duplicates_are_in_it(rows):
    sizes, digests, nameless = [], Counter(), 0
    for row in rows:
        data = (SAMPLE / row["file_name"]).read_bytes()
        digests[hashlib.sha256(data).hexdigest()] += 1
        nameless += "Flat Icon Collection" in row["caption"]
        with Image.open(io.BytesIO(data)) as image:
            sizes.append(image.size)
    assert nameless >= 5
    assert sum(max(size) < 64 for size in sizes) >= 5
    assert sum(max(size) > 3 * min(size) for size in sizes) >= 5
    assert sum(count > 1 for count in digests.values()) >= 5


def test_the_notice_names_every_collections_licence(rows):
    notice = (SAMPLE / "NOTICE.md").read_text(encoding="utf-8")
    for row in rows:
        assert row["license_url"] in notice
        assert row["collection"] in notice


def test_taking_the_sample_twice_gives_the_same_bytes(tmp_path):
    corpus = tmp_path / "corpus"
    (corpus / "images" / "noto").mkdir(parents=True)
    empty = dict.fromkeys(SCHEMA.names)
    rows = []
    for shade in range(0, 240, 8):  # thirty drawings, enough for each of the three formats
        name = f"images/noto/shade-{shade}.png"
        dot = f'<circle cx="32" cy="32" r="30" fill="rgb({shade},90,0)"/>'
        circle = f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">{dot}</svg>'
        assert draw(Drawing(svg=circle), corpus / name) is None
        rows.append({**empty, "file_name": name, "collection": "noto", "caption": f"shade, {shade}"})
    sizes = [write(rows, corpus, tmp_path / out) for out in ("one", "two")]
    contents = [{path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.*")} for out in ("one", "two")]
    assert contents[0] == contents[1]
    assert sizes[0] == sizes[1] == sum(map(len, contents[0].values()))
    assert len(contents[0]) == 31
    assert {path.suffix for path in contents[0]} == {".png", ".webp", ".csv"}


def test_equal_clip_art_gets_equal_bytes_and_jpeg_lies_on_white(tmp_path):
    row = {**dict.fromkeys(SCHEMA.names), "collection": "openclipart"}
    suffixes = Counter()
    for red in range(100, 250, 10):
        path = tmp_path / f"{red}.png"
        half = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"><rect width="90" height="200" fill="rgb({red},0,0)"/></svg>'
        )
        assert draw(Drawing(svg=half), path) is None
        suffix, data = encode(row, path.read_bytes())
        assert (suffix, data) == encode({**row, "title": "another"}, path.read_bytes())
        suffixes[suffix] += 1
        with Image.open(io.BytesIO(data)) as image:
            assert image.getpixel((150, 100))[:3] == (255, 255, 255) or suffix == ".webp"
    assert suffixes[".jpg"] >= 5
    assert suffixes.keys() <= {".jpg", ".webp"}


def test_a_very_large_png_is_drawn_from_its_svg_instead(tmp_path):
    svg, png = tmp_path / "large.svg", tmp_path / "large.png"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20990 29700"><rect width="20990" height="29700" fill="red"/></svg>'
    )
    png.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (20990).to_bytes(4, "big") + (29700).to_bytes(4, "big"))
    assert draw(Drawing(png=str(png), svg_of_png=str(svg), side=512), tmp_path / "out.png") is None
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (362, 512)


@pytest.mark.parametrize("drawing", [Drawing(svg="<svg"), Drawing(png="short.png"), Drawing(png="absent.png")])
def test_what_cannot_be_drawn_is_said_and_not_written(tmp_path, monkeypatch, drawing):
    monkeypatch.chdir(tmp_path)
    Path("short.png").write_bytes(b"\x89PNG")
    assert draw(drawing, tmp_path / "out.png").startswith("cannot be ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short.png"]


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path):
    with tarfile.open(tmp_path / CLDR.file_name, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("package/empty"))
    with pytest.raises(SourceError, match=r"cldr-annotations-full 48\.2\.0: its SHA-256"):
        fetch(CLDR, tmp_path)


def test_a_package_is_read_without_being_unpacked(tmp_path):
    body = b'{"name": "noto"}'
    member = tarfile.TarInfo("package/info.json")
    member.size = len(body)
    with tarfile.open(tmp_path / CLDR.file_name, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(body))
    digest = hashlib.sha256((tmp_path / CLDR.file_name).read_bytes()).hexdigest()
    archive = fetch(dataclasses.replace(CLDR, sha256=digest), tmp_path)
    assert read_json(archive, "info.json") == {"name": "noto"}
    with pytest.raises(SourceError, match=r"has no file absent\.json"):
        read_json(archive, "absent.json")
    assert [path.name for path in tmp_path.iterdir()] == [CLDR.file_name]
