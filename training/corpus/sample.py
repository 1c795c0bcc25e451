"""Takes the sample that lies in the repository out of a built corpus. See `python -m training.corpus.sample --help`.

The same corpus gives the same bytes, with the same Pillow: the choice follows hashes of the rows' own ids. Only pairs of the validation
and held-out splits are taken, so that what tests measure was never trained on. Formats are mixed as they are on the web: clip art mostly
as JPEG, some as WebP or as the PNG it came in; icons as true-colour PNG, palette PNG and WebP.
"""

import argparse
import csv
import hashlib
import io
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from training.corpus.clipart import COLLECTION_SIZE
from training.corpus.rows import SCHEMA

Row = dict[str, Any]  # a row of the corpus: str or None by column

LIMIT = 6_000_000  # bytes, all together
ICONS = {"noto": 100, "twemoji": 100, "openmoji": 100, "fluent-emoji-flat": 100, "game-icons": 100}
CLIPART = 175
# Poor pairs as they are in the library: under 64 pixels, one side more than three times the other, captioned with a collection's name.
TINY, LONG, NAMELESS = 12, 10, 14
TWINS = 6  # pictures that the library has twice, byte for byte
_TINY_SIDE, _LONG_RATIO = 64, 3.0
_PER_CONCEPT = 2  # pairs of one concept in one collection: skin tones would fill the sample
_SIDE = 384
_RUDE = frozenset({"1f595"})  # concepts that a test's data does without: the middle finger
# A licence has to be stated, and one that the repository may carry.
_LICENSES = frozenset({"Public Domain", "Apache 2.0", "MIT", "CC BY 3.0", "CC BY 4.0", "CC BY-SA 4.0"})


def choose(rows: list[Row], corpus: Path) -> list[Row]:
    """The rows of the sample, sorted by file name. `rows` are all rows of the corpus: how many share a title is counted in all of them."""
    sharing = Counter((row["collection"], row["title"]) for row in rows)
    candidates = sorted(filter(_is_candidate, rows), key=_by_hash)
    chosen: list[Row] = []
    for collection, count in ICONS.items():
        chosen += _few_per_concept((row for row in candidates if row["collection"] == collection), count)

    clipart = [row for row in candidates if row["collection"] == "openclipart"]
    sizes = {row["file_name"]: _size(corpus / row["file_name"]) for row in clipart}
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in clipart:
        shared = sharing[row["collection"], row["title"]] > COLLECTION_SIZE
        kinds[_kind(sizes[row["file_name"]], shared)].append(row)
    for kind, count in (("tiny", TINY), ("long", LONG), ("nameless", NAMELESS), ("plain", CLIPART)):
        chosen += _few_per_concept(kinds[kind], count)
    taken = {row["file_name"] for row in chosen}
    chosen += [row for pair in _twins(kinds["plain"], corpus)[:TWINS] for row in pair if row["file_name"] not in taken]
    return sorted(chosen, key=lambda row: row["file_name"])


def _is_candidate(row: Row) -> bool:
    held_out = row["split"] in ("validation", "heldout")
    return held_out and row["license"] in _LICENSES and row["license_url"] is not None and row["concept"] not in _RUDE


def _by_hash(row: Row) -> str:
    return hashlib.sha256(row["source_id"].encode()).hexdigest()


def _few_per_concept(rows: Iterable[Row], count: int) -> list[Row]:
    taken: list[Row] = []
    seen: Counter[str] = Counter()
    for row in rows:
        if len(taken) < count and seen[row["concept"]] < _PER_CONCEPT:
            seen[row["concept"]] += 1
            taken.append(row)
    return taken


def _kind(size: tuple[int, int], shared_title: bool) -> str:
    if max(size) < _TINY_SIDE:
        return "tiny"
    if max(size) > _LONG_RATIO * min(size):
        return "long"
    return "nameless" if shared_title else "plain"


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _twins(rows: list[Row], corpus: Path) -> list[list[Row]]:
    """Groups of two rows whose images have the same bytes, in the rows' order."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[hashlib.sha256((corpus / row["file_name"]).read_bytes()).hexdigest()].append(row)
    return [group for group in groups.values() if len(group) == 2]


def encode(row: Row, data: bytes) -> tuple[str, bytes]:
    """The image in the format that its row's image gets: (suffix, bytes). Equal images get equal bytes."""
    turn = int(hashlib.sha256(data).hexdigest()[:8], 16)
    with Image.open(io.BytesIO(data)) as image:
        if row["collection"] == "openclipart":
            if max(image.size) < 2 * _TINY_SIDE and turn % 2:
                return ".png", data
            small = image.convert("RGBA" if image.has_transparency_data else "RGB")
            small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            return (".webp", _saved(small, "WEBP", quality=85)) if turn % 8 == 0 else (".jpg", _saved(_on_white(small), "JPEG", quality=90))
        if row["collection"] == "game-icons":
            return ".png", data
        if turn % 6 == 0:
            return ".webp", _saved(image, "WEBP", quality=90)
        if turn % 6 < 3:
            return ".png", _saved(image.quantize(256, method=Image.Quantize.FASTOCTREE), "PNG", optimize=True)
        return ".png", data


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _saved(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def write(rows: list[Row], corpus: Path, out: Path) -> int:
    """Writes `out/images/` anew and `out/metadata.csv`; returns their bytes. Other files in `out` stay. Raises ValueError above LIMIT."""
    files = dict(_encoded(rows, corpus))
    lines = io.StringIO()
    table = csv.DictWriter(lines, SCHEMA.names, lineterminator="\n")
    table.writeheader()
    table.writerows({**row, "file_name": name} for row, name in zip(rows, files, strict=True))
    files["metadata.csv"] = lines.getvalue().encode()
    size = sum(map(len, files.values()))
    if size > LIMIT:
        raise ValueError(f"The sample would have {size:,} bytes, the repository takes {LIMIT:,}: take fewer pairs (ICONS, CLIPART).")
    shutil.rmtree(out / "images", ignore_errors=True)
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return size


def _encoded(rows: list[Row], corpus: Path) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        suffix, data = encode(row, (corpus / row["file_name"]).read_bytes())
        yield row["file_name"].removesuffix(".png") + suffix, data


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code, 0."""
    parser = argparse.ArgumentParser(
        prog="python -m training.corpus.sample",
        description="Takes the repository's sample (about 700 pairs, under 6 MB) out of a corpus built by `python -m training.corpus`.",
        epilog="example:\n  python -m training.corpus.sample --corpus pigment-corpus --out tests/data/sample\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpus", type=Path, default=Path("pigment-corpus"), help="folder of the corpus (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("tests/data/sample"), help="folder to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    metadata = options.corpus / "metadata.parquet"
    if not metadata.exists():
        parser.error(f"{metadata} does not exist; build the corpus first: python -m training.corpus --out {options.corpus}")
    rows = choose(pq.read_table(metadata).to_pylist(), options.corpus)
    size = write(rows, options.corpus, options.out)
    korean = sum(row["caption_ko"] is not None for row in rows)
    print(f"{len(rows):,} pairs, {korean:,} with a Korean caption, {size / 1e6:.2f} MB, in {options.out}.")
    for collection, count in sorted(Counter((row["collection"], row["license"]) for row in rows).items()):
        print(f"  {collection[0]:<20}{count:>5}   {collection[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
