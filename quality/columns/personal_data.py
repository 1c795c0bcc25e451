"""Personal data in captions: which kinds, and captions without them. What counts: quality.columns.identifiers."""

from collections.abc import Callable, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.identifiers import KINDS, SHAPES, plain, spans
from schemas.columns import field

# Columns of people's words about a picture. A creator's name stays: licences ask for it.
WORDS: Final = ("caption", "title", "caption.normalised")

# RE2. What has neither an address sign between letters or digits, nor seven digits close together, has no personal data of these kinds. This costs
# 0.1 s a million captions, all else 10 µs a caption that it lets through (measured: 1 s a million where 8 % have numbers, 1 % personal data).
_DIGIT: Final = "[0-9０-９]"
_WORTH_A_LOOK: Final = rf"[0-9A-Za-z_+-][@＠][0-9A-Za-z]|{_DIGIT}(?:[ .()/+．‐‑‒–—−－（）\x{{a0}}\x{{3000}}-]{{0,2}}{_DIGIT}){{6}}"


class PersonalData:
    """`caption.personal_data` from the column `caption`; null where the caption is null."""

    name, version = "caption.personal_data", "1"
    needs: tuple[str, ...] = ("caption",)
    fields: Final = pa.schema(
        [field("caption.personal_data", pa.string(), meaning=f"kinds of personal data in the caption, of {'|'.join(KINDS)}; empty: none")]
    )

    def compute(self, table: pa.Table, fields: Sequence[str] | None = None) -> pa.Table:
        """One row per row of `table`; null where the caption is null."""
        wanted = self.fields.names if fields is None else list(fields)
        captions = table.column("caption").cast(pa.string())
        found = pa.chunked_array([find(chunk) for chunk in captions.chunks], pa.string())
        return pa.table([found for _ in wanted], schema=pa.schema([self.fields.field(name) for name in wanted]))


def find(captions: pa.Array) -> pa.Array:
    """The kinds of personal data in each caption, joined by "|" in the order of KINDS, each once; "" for none, null for null. Strings."""
    return _replaced(captions, pc.if_else(pc.is_valid(captions), "", None), _kinds)


def redacted(captions: pa.Array) -> pa.Array:
    """The captions, each find replaced by its kind in brackets: "[e-mail]", "[phone]", "[card]", "[iban]", "[id]". Nulls stay."""
    return _replaced(captions, captions, _without)


def without_personal_data(table: pa.Table) -> pa.Table:
    """The table with its columns WORDS redacted; those that it lacks do not matter."""
    for name in WORDS:
        if name in table.column_names:
            column = table[name].cast(pa.string())
            chunks = pa.chunked_array([redacted(chunk) for chunk in column.chunks], pa.string())
            table = table.set_column(table.column_names.index(name), table.schema.field(name), chunks)
    return table


def _replaced(captions: pa.Array, otherwise: pa.Array, of_text: Callable[[str], str]) -> pa.Array:
    """`of_text` of the captions that are worth a look, `otherwise` in all other rows."""
    worth = pc.fill_null(pc.match_substring_regex(captions, _WORTH_A_LOOK), False)
    texts = captions.filter(worth)
    shaped = pc.match_substring_regex(pa.array([plain(text) for text in texts.to_pylist()], pa.string()), SHAPES)
    looked_at = pa.array([of_text(text) for text in texts.filter(shaped).to_pylist()], pa.string())
    return pc.replace_with_mask(otherwise, worth, pc.replace_with_mask(otherwise.filter(worth), shaped, looked_at))


def _kinds(text: str) -> str:
    there = {kind for _, _, kind in spans(plain(text))}
    return "|".join(kind for kind in KINDS if kind in there)


def _without(text: str) -> str:
    for start, end, kind in reversed(spans(plain(text))):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text
