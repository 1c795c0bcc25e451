"""Licence texts as sources really write them, and what they mean."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import license_expression
import numpy as np
import pyarrow as pa
import pytest

from quality.columns import COLUMN_FUNCTIONS, license_terms
from quality.columns.license_terms import CLASSES, OBLIGATIONS, terms_of

CC = "https://creativecommons.org/licenses/"
RESERVED = ("LicenseRef-all-rights-reserved", "proprietary")
UNKNOWN = ("NOASSERTION", "unknown")

# spelling, SPDX expression, class: written by hand from what each site and tool writes, a family a block.
SPELLINGS = {
    spelling: (spdx, class_)
    for spelling, spdx, class_ in (
        line.split("\t") for line in (Path(__file__).parent.parent / "data" / "licenses.tsv").read_text("utf-8").splitlines() if line
    )
}


def test_the_table_is_long_enough():
    assert len(SPELLINGS) >= 200


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spelling(spelling):
    terms = terms_of(spelling)
    assert terms is not None
    assert (terms.spdx, terms.class_) == SPELLINGS[spelling]


def test_every_expression_is_spdx_or_a_reference():
    licensing = license_expression.get_spdx_licensing()
    for spdx in {spdx for spdx, _ in SPELLINGS.values()} - {"NOASSERTION"}:
        for symbol in licensing.license_symbols(spdx):
            assert symbol.key in licensing.known_symbols or symbol.key.startswith("LicenseRef-"), spdx


@pytest.mark.parametrize(
    ("name", "url", "spdx", "class_", "obligations", "evidence"),
    [
        ("CC BY 4.0", CC + "by/4.0/", "CC-BY-4.0", "attribution", "attribution|notice", "name|url"),
        ("CC BY", CC + "by/3.0/", "CC-BY-3.0", "attribution", "attribution|notice", "url"),
        ("by-sa", None, "LicenseRef-CC-BY-SA", "share-alike", "attribution|share-alike|notice", "name"),
        (None, CC + "by-nc-nd/2.0/", "CC-BY-NC-ND-2.0", "non-commercial", "attribution|no-derivatives|non-commercial|notice", "url"),
        ("CC0", CC + "by/4.0/", "CC-BY-4.0", "attribution", "attribution|notice", "url"),
        ("CC BY 3.0", CC + "by/4.0/", "CC-BY-3.0 AND CC-BY-4.0", "attribution", "attribution|notice", "name|url"),
        (
            "CC BY-SA 4.0",
            CC + "by-nc/4.0/",
            "CC-BY-NC-4.0 AND CC-BY-SA-4.0",
            "non-commercial",
            "attribution|share-alike|non-commercial|notice",
            "name|url",
        ),
        ("All rights reserved", CC + "by/4.0/", *RESERVED, "", "name"),
        ("my own licence", CC + "by/4.0/", *UNKNOWN, "", "name"),
        ("CC BY 4.0", "https://example.test/license", *UNKNOWN, "", "url"),
        ("my own licence", "https://example.test/license", *UNKNOWN, "", "name|url"),
        ("Public Domain", "http://web.resource.org/cc/PublicDomain", "CC-PDDC", "public-domain", "", "url"),
        ("n/a", CC + "zero/1.0/", "CC0-1.0", "public-domain", "", "url"),
        (None, None, *UNKNOWN, "", ""),
        ("", "  ", *UNKNOWN, "", ""),
    ],
)
def test_strictest_of_two_columns_wins(name, url, spdx, class_, obligations, evidence):
    table = pa.table({"license": pa.array([name], pa.string()), "license_url": pa.array([url], pa.string())})
    assert COLUMN_FUNCTIONS["license"].compute(table).to_pylist() == [
        {"license.spdx": spdx, "license.class": class_, "license.obligations": obligations, "license.evidence": evidence}
    ]


def test_strictness_never_falls_when_a_second_licence_is_stated():
    spellings = list(SPELLINGS)
    names, urls = spellings * len(spellings), [one for one in spellings for _ in spellings]
    classes = COLUMN_FUNCTIONS["license"].compute(pa.table({"license": names, "license_url": urls}), ["license.class"])
    for name, url, class_ in zip(names, urls, classes.column(0).to_pylist(), strict=True):
        assert CLASSES.index(class_) == max(CLASSES.index(SPELLINGS[name][1]), CLASSES.index(SPELLINGS[url][1])), (name, url)


def test_whole_columns_any_chunking_only_what_is_asked():
    rng = np.random.default_rng(0)
    names = pa.array([*SPELLINGS, None]).take(pa.array(rng.integers(0, len(SPELLINGS) + 1, 5_000)))
    urls = pa.array([*SPELLINGS, None]).take(pa.array(rng.integers(0, len(SPELLINGS) + 1, 5_000)))
    table = pa.table({"license": names, "license_url": urls})
    function = COLUMN_FUNCTIONS["license"]
    whole = function.compute(table)
    pieces = pa.concat_tables([table.slice(at, 700) for at in range(0, 5_000, 700)])
    assert pieces.column("license").num_chunks == 8
    encoded = pa.table({"license": names.dictionary_encode(), "license_url": urls})
    assert function.compute(pieces).equals(whole) and function.compute(encoded).equals(whole)
    one_by_one = pa.concat_tables([function.compute(table.slice(at, 1)) for at in range(300)])
    assert one_by_one.combine_chunks().equals(whole.slice(0, 300).combine_chunks())
    assert whole.schema.equals(function.fields) and function.compute(table, ["license.class"]).column_names == ["license.class"]
    assert {duty for text in whole["license.obligations"].to_pylist() for duty in text.split("|") if duty} <= set(OBLIGATIONS)


def test_threads_that_begin_together():
    """Beam's threads open units at the same time, and the SPDX parser builds itself at its first use."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            license_terms._built_licensing.cache_clear()
            together = threading.Barrier(8)

            def parse(number: int, together: threading.Barrier = together) -> str:
                together.wait()
                return license_terms._of_expression(f"Apache-2.0 AND (MIT OR BSD-{2 + number % 2}-Clause)").class_

            with ThreadPoolExecutor(8) as threads:
                assert list(threads.map(parse, range(8))) == ["attribution"] * 8
    finally:
        sys.setswitchinterval(interval)


def test_no_rows_and_no_columns():
    function = COLUMN_FUNCTIONS["license"]
    assert function.compute(pa.table({"license": pa.array([], pa.string()), "license_url": pa.array([], pa.string())})).num_rows == 0
    assert function.compute(pa.table({"caption": ["a", "b"]}))["license.spdx"].to_pylist() == ["NOASSERTION"] * 2
