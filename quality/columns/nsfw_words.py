"""Words in captions that name nudity or sexual acts: a count, for a person or a policy to look at; no verdict.

A short list of plain words, English and Korean, ours: dictionaries' and encyclopedias' head words, no slang and no slurs. It misses most wordings
and knows no other language, and it also counts paintings ("nude study") and medicine ("genitals"). Toxicity is something else and is not measured.
"""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.caption import normalised_caption
from schemas.columns import field

ENGLISH: Final = (
    "nsfw", "nude", "nudes", "nudity", "naked", "topless", "undressed", "genital", "genitals", "genitalia", "porn", "porno", "pornography",
    "pornographic", "erotic", "erotica", "hentai", "sexually explicit", "sexual intercourse", "sexual act", "sexual acts", "oral sex", "xxx",
)  # fmt: skip
KOREAN: Final = ("누드", "나체", "알몸", "전라", "음란", "음란물", "포르노", "성인물", "성행위", "성관계", "성기", "에로물", "야동")
# Whole words. A Korean word may have particles behind it, and nothing before: 확성기, a megaphone, ends in 성기. 전라 is a province too: 전라도.
_WORDS: Final = (
    rf"\b(?:{'|'.join(ENGLISH)})\b|(?:^|[^가-힣])(?:{'|'.join(word for word in KOREAN if word != '전라')}|전라(?:[^가-힣]|의|로|$))"
)


class NsfwWords:
    """`caption.nsfw_words` from the column `caption`; null where the caption is null."""

    name, version = "caption.nsfw_words", "1"
    needs: tuple[str, ...] = ("caption",)
    fields: Final = pa.schema(
        [
            field(
                "caption.nsfw_words",
                pa.int32(),
                meaning="words that name nudity or sexual acts, English or Korean",
                range=(0, None),
                better="lower",
            )
        ]
    )

    def compute(self, table: pa.Table, fields: Sequence[str] | None = None) -> pa.Table:
        """One row per row of `table`; null where the caption is null."""
        wanted = self.fields.names if fields is None else list(fields)
        counts = pc.count_substring_regex(normalised_caption(table.column("caption").cast(pa.string())), _WORDS)
        return pa.table([counts.cast(pa.int32()) for _ in wanted], schema=pa.schema([self.fields.field(name) for name in wanted]))
