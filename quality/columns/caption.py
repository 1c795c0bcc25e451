"""What a caption is like, by its characters alone: length, repetition, script, and whether a machine wrote it."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import field

# ISO 15924 codes, by the Unicode blocks that hold a script's letters (inclusive). Letters outside them, in Latin blocks, are Latn.
_SCRIPTS: Final = {
    "Zyyy": (),
    "Latn": ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0x24F), (0x250, 0x2AF), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A)),
    "Grek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Cyrl": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Armn": ((0x530, 0x58F),),
    "Hebr": ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    "Arab": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    "Deva": ((0x900, 0x97F),),
    "Beng": ((0x980, 0x9FF),),
    "Guru": ((0xA00, 0xA7F),),
    "Gujr": ((0xA80, 0xAFF),),
    "Taml": ((0xB80, 0xBFF),),
    "Telu": ((0xC00, 0xC7F),),
    "Knda": ((0xC80, 0xCFF),),
    "Mlym": ((0xD00, 0xD7F),),
    "Sinh": ((0xD80, 0xDFF),),
    "Thai": ((0xE00, 0xE7F),),
    "Laoo": ((0xE80, 0xEFF),),
    "Tibt": ((0xF00, 0xFFF),),
    "Mymr": ((0x1000, 0x109F),),
    "Geor": ((0x10A0, 0x10FF), (0x2D00, 0x2D2F)),
    "Ethi": ((0x1200, 0x139F),),
    "Khmr": ((0x1780, 0x17FF),),
    "Hang": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),
    "Kana": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "Hani": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
}  # fmt: skip
_CODES: Final = tuple(_SCRIPTS)
_KANA, _HANI = _CODES.index("Kana"), _CODES.index("Hani")
_BLOCK: Final = 8_192  # captions at a time: what numpy makes of them then stays in the cache

# A whole caption that no person wrote about the image. RE2 syntax, case-insensitive.
_BOILERPLATE: Final = "(?i)" + "|".join(
    (
        r"^\s*\S{0,200}[\w\-. ()%+]*\.(?:jpe?g|png|gif|webp|bmp|tiff?|svgz?|heic|avif|ico|psd|eps|raw|cr2|nef)\s*$",  # a file name
        r"^\s*(?:img|dsc[nf]?|_mg|pict?|p|mvc|sam|gopr|cimg|pxl|vid|wp|screen ?shot|screenshot|scan|photo|image|picture|untitled)"
        r"[ _-]?\(?\d[\d _.:()-]*\s*$",  # a camera's or a program's numbering
        r"^\s*(?:https?://|www\.)\S+\s*$",  # a bare link
        # what C's ctime prints, at the end
        r"\((?:mon|tue|wed|thu|fri|sat|sun) (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) +\d+ [\d:]{8}(?: [a-z]+)? \d{4}\)\s*$",
        r"^\s*part of the .{1,80} collection\.?\s*$",  # Open Clip Art's bulk uploads
        r"^[\s\d[:punct:]]*$",  # digits and punctuation: dates, numbers, nothing
        r"^\s*(?:[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$",  # a digest or a UUID
        r"^\s*(?:untitled|no title|no caption|no description|unnamed|unknown|n/a|none|null|undefined|default|placeholder|thumbnail|image|"
        r"photo|picture|icon|clip ?art|무제|제목 ?없음|이미지|사진|無題|无标题)[.!]?\s*$",
    )
)


class Caption:
    """`caption.*` from the column `caption`; all null where the caption is null."""

    name, version = "caption", "1"
    needs: tuple[str, ...] = ("caption",)
    fields: Final = pa.schema(
        [
            field("caption.words", pa.int32(), range=(0, None), meaning="between white space; each Han or kana character is a word"),
            field("caption.characters", pa.int32(), range=(0, None), meaning="Unicode code points"),
            field(
                "caption.repeat_share",
                pa.float32(),
                range=(0, 1),
                better="lower",
                meaning="of the words, the one repeated most; 0: none is",
            ),
            field("caption.boilerplate", pa.bool_(), meaning="a file name, link, date, number or placeholder in the place of a caption"),
            field(
                "caption.normalised",
                pa.string(),
                meaning="NFKC, case-folded, white space collapsed: captions that count as equal are equal",
            ),
            field(
                "caption.script", pa.string(), meaning="of most letters, ISO 15924: Latn Hang Hani Kana (with Han) ...; Zyyy: no letters"
            ),
        ]
    )

    def compute(self, table: pa.Table, fields: Sequence[str] | None = None) -> pa.Table:
        """One row per row of `table`, the columns `fields` (all if None)."""
        wanted = self.fields.names if fields is None else list(fields)
        schema = pa.schema([self.fields.field(name) for name in wanted])
        captions = table.column("caption").cast(pa.string())
        parts = [_columns(chunk.slice(at, _BLOCK), wanted, schema) for chunk in captions.chunks for at in range(0, len(chunk), _BLOCK)]
        return pa.Table.from_batches(parts, schema)


def normalised_caption(captions: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Captions that count as equal are equal: NFKC, case-folded, white space collapsed and trimmed. Nulls stay null."""
    if isinstance(captions, pa.ChunkedArray):
        return pa.chunked_array([normalised_caption(chunk) for chunk in captions.chunks], pa.string())
    captions = captions.cast(pa.string())
    plain = pc.string_is_ascii(captions)
    # For ASCII, NFKC does nothing and case folding is lower case; white space of one blank between words needs no collapsing.
    untidy = pc.match_substring_regex(captions, r"[\t-\r\x1c-\x1f]|  |^ | $")
    lowered = pc.ascii_lower(captions)
    rare = pc.fill_null(pc.or_(pc.invert(plain), untidy), False)
    if not pc.any(rare).as_py():
        return lowered
    tidy = pa.array([_normalised(caption) for caption in captions.filter(rare).to_pylist()], pa.string())
    return pc.replace_with_mask(lowered, rare, tidy)


def _normalised(caption: str) -> str:
    folded = unicodedata.normalize("NFKC", caption).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _columns(captions: pa.Array, wanted: Sequence[str], schema: pa.Schema) -> pa.RecordBatch:
    made = dict[str, pa.Array]()
    if "caption.words" in wanted or "caption.script" in wanted:
        words, script = _words_and_script(captions, with_script="caption.script" in wanted)
        nulls = np.asarray(pc.is_null(captions))
        made["caption.words"] = pa.array(words, pa.int32(), mask=nulls)
        if script is not None:
            made["caption.script"] = pa.array(_CODES, pa.string()).take(pa.array(script, pa.int32(), mask=nulls))
    if "caption.characters" in wanted:
        made["caption.characters"] = pc.utf8_length(captions)
    if "caption.repeat_share" in wanted:
        made["caption.repeat_share"] = _repeat_share(captions)
    if "caption.normalised" in wanted:
        made["caption.normalised"] = normalised_caption(captions)
    if "caption.boilerplate" in wanted:
        made["caption.boilerplate"] = pc.match_substring_regex(captions, _BOILERPLATE)
    return pa.record_batch([made[name] for name in wanted], schema=schema)


def _words_and_script(captions: pa.Array, *, with_script: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Number of words and index into _CODES of each caption, as int32; 0 for nulls."""
    words = np.zeros(len(captions), np.int32)
    script = np.zeros(len(captions), np.int32) if with_script else None
    ascii_ = np.asarray(pc.fill_null(pc.string_is_ascii(captions), True))
    for rows, plain in ((np.flatnonzero(ascii_), True), (np.flatnonzero(~ascii_), False)):
        if not len(rows):
            continue
        texts = captions if len(rows) == len(captions) else captions.take(pa.array(rows))
        words[rows], scripts = _of_ascii(texts, with_script) if plain else _of_unicode(texts, with_script)
        if script is not None:
            script[rows] = scripts
    return words, script


def _bytes_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 of all texts in one array, and where each begins and the last ends."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = texts.buffers()[2]
    letters = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.zeros(0, np.uint8)
    return letters, offsets - offsets[0]


def _code_points_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    encoded, offsets = _bytes_of(texts)
    firsts = (encoded & 0xC0) != 0x80
    ends = np.concatenate([[0], np.cumsum(firsts)])
    return np.frombuffer(encoded.tobytes().decode().encode("utf-32-le"), np.uint32), ends[offsets]


_SPACE: Final = 255


@cache
def _letter_kinds() -> np.ndarray:
    """For every code point its script's index into _CODES, or _SPACE. 1.1 MB."""
    kinds = np.zeros(0x110000, np.uint8)
    for index, blocks in enumerate(_SCRIPTS.values()):
        for first, last in blocks:
            kinds[first : last + 1] = index
    for sign in (0xD7, 0xF7):  # multiplication and division stand among the Latin letters
        kinds[sign] = 0
    kinds[[point for point in range(0x3001) if chr(point).isspace()]] = _SPACE
    return kinds


def _of_ascii(texts: pa.Array, with_script: bool) -> tuple[np.ndarray, np.ndarray | int]:
    """As below without tables: a few passes over bytes, four times as fast."""
    data, offsets = _bytes_of(texts)
    space = (data == 0x20) | (data - np.uint8(0x09) <= 4) | (data - np.uint8(0x1C) <= 3)  # unsigned: smaller ones wrap around
    starts = ~space
    starts[1:] &= space[:-1]
    _start_rows(starts, space, offsets)
    latin = _sums((data | np.uint8(0x20)) - np.uint8(0x61) < 26, offsets) > 0 if with_script else np.zeros(0, bool)
    return _sums(starts, offsets), latin.astype(np.int32) * _CODES.index("Latn") if with_script else 0


def _of_unicode(texts: pa.Array, with_script: bool) -> tuple[np.ndarray, np.ndarray | int]:
    """Words and script of each text. A word starts after white space, at a row's start, and at and after each Han or kana character."""
    letters, offsets = _code_points_of(texts)
    kinds = _letter_kinds()[letters]
    space = kinds == _SPACE
    alone = (kinds == _KANA) | (kinds == _HANI)
    starts = ~space
    starts[1:] &= space[:-1] | alone[:-1] | alone[1:]
    _start_rows(starts, space, offsets)
    return _sums(starts, offsets), _script(kinds, offsets) if with_script else 0


def _start_rows(starts: np.ndarray, space: np.ndarray, offsets: np.ndarray) -> None:
    begins = offsets[:-1][offsets[:-1] < offsets[1:]]
    starts[begins] = ~space[begins]


def _sums(marks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many marks are set between neighbouring offsets, as int32."""
    sums = np.zeros(len(offsets) - 1, np.int32)
    filled = offsets[:-1] < offsets[1:]
    if filled.any():
        sums[filled] = np.add.reduceat(marks.view(np.int8), offsets[:-1][filled], dtype=np.int32)
    return sums


def _script(kinds: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The script with the most letters (the first of equals in _CODES); Han counts as Kana in a row that has kana."""
    present = [index for index in range(1, len(_CODES)) if (kinds == index).any()]
    rows = len(offsets) - 1
    if not present:
        return np.zeros(rows, np.int32)
    counts = np.stack([_sums(kinds == index, offsets) for index in present])
    if _KANA in present and _HANI in present:
        kana, han = counts[present.index(_KANA)], counts[present.index(_HANI)]
        kana += np.where(kana > 0, han, 0)
        han[kana > 0] = 0
    best = np.asarray(present, np.int32)[counts.argmax(axis=0)]
    return np.where(counts.max(axis=0) > 0, best, 0).astype(np.int32)


def _repeat_share(captions: pa.Array) -> pa.Array:
    """Largest number of times that one word (case folded) occurs, over all words; 0 where no word occurs twice."""
    spread = pc.replace_substring_regex(normalised_caption(captions), r"([\p{Han}\p{Hiragana}\p{Katakana}])", r" \1 ")
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.fill_null(spread, "")))
    row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    word = pc.dictionary_encode(lists.flatten()).indices.to_numpy(zero_copy_only=False)
    total = np.bincount(row, minlength=len(captions))
    keys = np.sort((row << 32) | word)
    edges = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1], [True]])) if len(keys) else np.zeros(1, np.int64)
    most = np.zeros(len(captions), np.int64)
    np.maximum.at(most, keys[edges[:-1]] >> 32, np.diff(edges))
    share = np.where(most > 1, most / np.maximum(total, 1), 0).round(4)
    return pa.array(share, pa.float32(), mask=np.asarray(pc.is_null(captions)))
