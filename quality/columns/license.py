"""Licences as data: an SPDX expression, a class and obligations, from what the source says. Unknown is NOASSERTION, never free."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.columns.license_terms import CLASSES, UNKNOWN, Terms, strictest, terms_of
from schemas.columns import field


class License:
    """`license.*` from the columns `license` and `license_url`. Where both speak and disagree, the strictest wins.

    Only distinct pairs of values are parsed, so 10 M rows with a few thousand licence spellings cost what encoding them costs.
    """

    name, version = "license", "2"
    needs: tuple[str, ...] = ("license", "license_url")
    fields: Final = pa.schema(
        [
            field("license.spdx", pa.string(), meaning="SPDX expression; LicenseRef-* where SPDX has no id; NOASSERTION when unknown"),
            field("license.class", pa.string(), meaning="of the strictest licence stated: " + ", ".join(CLASSES)),
            field(
                "license.obligations", pa.string(), meaning="attribution|share-alike|no-derivatives|non-commercial|notice; empty for none"
            ),
            field(
                "license.evidence",
                pa.string(),
                meaning="which column says so: name (`license`), url (`license_url`), name|url; empty: neither",
            ),
        ]
    )

    def compute(self, table: pa.Table, fields: Sequence[str] | None = None) -> pa.Table:
        """One row per row of `table`, the columns `fields` (all if None); never null. A column that the table lacks says nothing."""
        wanted = self.fields.names if fields is None else list(fields)
        codes, terms = _codes(table)
        read = {
            "license.spdx": lambda one: one[0].spdx,
            "license.class": lambda one: one[0].class_,
            "license.obligations": lambda one: "|".join(one[0].obligations),
            "license.evidence": lambda one: "|".join(one[1]),
        }
        columns = {name: pa.array([read[name](one) for one in terms], pa.string()).take(codes) for name in wanted}
        return pa.table(columns, schema=pa.schema([self.fields.field(name) for name in wanted]))


def combined(name: str | None, url: str | None) -> tuple[Terms, tuple[str, ...]]:
    """The terms that a licence name and a licence URL state together, and which of "name" and "url" they rest on.

    They rest on what states them, and on what they would be others without.
    """
    stated = {said: terms for said, text in (("name", name), ("url", url)) if (terms := terms_of(text)) is not None}
    if not stated:
        return UNKNOWN, ()
    result = strictest(list(stated.values()))
    without = {said: [terms for other, terms in stated.items() if other != said] for said in stated}
    return result, tuple(said for said, terms in stated.items() if terms == result or strictest(without[said]) != result)


def _codes(table: pa.Table) -> tuple[pa.Array, list[tuple[Terms, tuple[str, ...]]]]:
    """For each row the index into a list of distinct terms and their evidence."""
    names, name_values = _encoded(table, "license")
    urls, url_values = _encoded(table, "license_url")
    pairs = names * len(url_values) + urls
    # Pairs are few when both columns repeat: marking them is ten times faster than sorting the rows.
    space = len(name_values) * len(url_values)
    if space <= max(1 << 16, 4 * len(pairs)):
        seen = np.zeros(space, bool)
        seen[pairs] = True
        distinct = np.flatnonzero(seen)
        place = np.zeros(space, np.int32)
        place[distinct] = np.arange(len(distinct), dtype=np.int32)
        codes = place[pairs]
    else:
        distinct, codes = np.unique(pairs, return_inverse=True)
    terms = [combined(name_values[pair // len(url_values)], url_values[pair % len(url_values)]) for pair in distinct.tolist()]
    return pa.array(codes.astype(np.int32, copy=False)), terms


def _encoded(table: pa.Table, column: str) -> tuple[np.ndarray, list[str | None]]:
    """Codes (int64, one a row) and the values they stand for; the last value is None."""
    if column not in table.column_names or table.num_rows == 0:
        return np.zeros(table.num_rows, np.int64), [None]
    values = table.column(column)
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    encoded = values.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    known = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(known)) if encoded.null_count else encoded.indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int64), [*known, None]
