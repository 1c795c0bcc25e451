"""Columns of well-known lists, so that nobody has to look them up: `--preset NAME`. Everything that a preset does not name is carried.

laion       laion2B-en, -multi, laion1B-nolang, laion400m (URL, TEXT, LICENSE, LANGUAGE, SAMPLE_ID); Re-LAION has lower-case names
coyo        kakaobrain/coyo-700m (id, url, text)
datacomp    mlfoundations/datacomp_pools (uid, url, text, sha256): the digest of the bytes, verified when they come
cc12m       cc12m.tsv: url and caption, without a header
img2dataset Parquet files that img2dataset wrote, fetched again: their sha256 is of the bytes as they came, and verified

Read off the data sets' cards and img2dataset's examples for them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Preset:
    """columns: ours -> the names that files of this set have had; the first that a file has is read, and where it has none, ours.

    header: the columns of its text files, which have no header line and no quoting: a row is a line, and a quotation mark is text.
    """

    columns: Mapping[str, tuple[str, ...]]
    header: tuple[str, ...] | None = field(default=None)

    def mapping(self, there: Collection[str]) -> dict[str, str]:
        """ours -> the file's, of the columns that it has."""
        found = ((ours, next((name for name in theirs if name in there), None)) for ours, theirs in self.columns.items())
        return {ours: name for ours, name in found if name is not None}


PRESETS: Final = {
    "laion": Preset(
        {"url": ("URL",), "caption": ("TEXT",), "license": ("LICENSE",), "lang": ("LANGUAGE",), "source_id": ("SAMPLE_ID",)},
    ),
    "coyo": Preset({"caption": ("text",), "source_id": ("id",)}),
    "datacomp": Preset({"caption": ("text",), "source_id": ("uid",)}),
    "cc12m": Preset({}, header=("url", "caption")),
    "img2dataset": Preset({"source_id": ("key",)}),
}
