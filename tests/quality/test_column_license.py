"""Licence texts as sources really write them, and what they mean."""

import license_expression
import numpy as np
import pyarrow as pa
import pytest

from quality.columns import COLUMN_FUNCTIONS
from quality.columns.license_terms import CLASSES, OBLIGATIONS, terms_of

CC = "https://creativecommons.org/licenses/"
RESERVED = ("LicenseRef-all-rights-reserved", "proprietary")
UNKNOWN = ("NOASSERTION", "unknown")

SPELLINGS = {
    # Creative Commons URLs
    "https://creativecommons.org/licenses/by/4.0/": ("CC-BY-4.0", "attribution"),
    "http://creativecommons.org/licenses/by/4.0": ("CC-BY-4.0", "attribution"),
    "https://creativecommons.org/licenses/by/4.0/deed.ko": ("CC-BY-4.0", "attribution"),
    "https://creativecommons.org/licenses/by/4.0/legalcode": ("CC-BY-4.0", "attribution"),
    "https://creativecommons.org/licenses/by/4.0/legalcode.en": ("CC-BY-4.0", "attribution"),
    "HTTPS://WWW.CreativeCommons.org/Licenses/BY/4.0/": ("CC-BY-4.0", "attribution"),
    "creativecommons.org/licenses/by-sa/3.0/": ("CC-BY-SA-3.0", "share-alike"),
    "//creativecommons.org/licenses/by-sa/3.0/": ("CC-BY-SA-3.0", "share-alike"),
    "https://creativecommons.org/licenses/by-sa/3.0/de/deed.de": ("CC-BY-SA-3.0-DE", "share-alike"),
    "http://creativecommons.org/licenses/by-sa/2.1/jp/": ("CC-BY-SA-2.1-JP", "share-alike"),
    "http://creativecommons.org/licenses/by/3.0/fr/": ("LicenseRef-CC-BY-3.0-FR", "attribution"),
    "https://creativecommons.org/licenses/by-nc-nd/3.0/igo/": ("CC-BY-NC-ND-3.0-IGO", "non-commercial"),
    "http://creativecommons.org/licenses/by-nd-nc/1.0/": ("CC-BY-NC-ND-1.0", "non-commercial"),
    "https://creativecommons.org/licenses/by-nc-sa/2.0/?ref=ccsearch&atype=rich": ("CC-BY-NC-SA-2.0", "non-commercial"),
    "https://creativecommons.org/licenses/by-nd/2.5/": ("CC-BY-ND-2.5", "no-derivatives"),
    "https://creativecommons.org/licenses/by-nc/4.0/": ("CC-BY-NC-4.0", "non-commercial"),
    "https://creativecommons.org/licenses/sa/1.0/": ("CC-SA-1.0", "share-alike"),
    "https://creativecommons.org/publicdomain/zero/1.0/": ("CC0-1.0", "public-domain"),
    "http://creativecommons.org/publicdomain/zero/1.0/deed.ko": ("CC0-1.0", "public-domain"),
    "http://creativecommons.org/publicdomain/mark/1.0/": ("CC-PDM-1.0", "public-domain"),
    "http://web.resource.org/cc/PublicDomain": ("CC-PDDC", "public-domain"),
    "http://creativecommons.org/licenses/publicdomain/": ("CC-PDDC", "public-domain"),
    "https://creativecommons.org/": UNKNOWN,
    "https://creativecommons.org/licenses/": UNKNOWN,
    "https://creativecommons.org.evil.example/licenses/by/4.0/": UNKNOWN,
    # names
    "CC BY 4.0": ("CC-BY-4.0", "attribution"),
    "CC-BY-SA-4.0": ("CC-BY-SA-4.0", "share-alike"),
    "cc-by-sa-3.0-de": ("CC-BY-SA-3.0-DE", "share-alike"),
    "cc_by_nc 2.0": ("CC-BY-NC-2.0", "non-commercial"),
    "CC BY-NC-ND": ("LicenseRef-CC-BY-NC-ND", "non-commercial"),
    "CC BY": ("LicenseRef-CC-BY", "attribution"),
    "Creative Commons Attribution 4.0 International": ("CC-BY-4.0", "attribution"),
    "Creative Commons Attribution-ShareAlike 3.0 Unported License": ("CC-BY-SA-3.0", "share-alike"),
    "Creative Commons Attribution-Share Alike 2.0 Generic": ("CC-BY-SA-2.0", "share-alike"),
    "Attribution-NonCommercial-ShareAlike License": ("LicenseRef-CC-BY-NC-SA", "non-commercial"),
    "Attribution-Non-Commercial-No Derivative Works 3.0": ("CC-BY-NC-ND-3.0", "non-commercial"),
    "This work is licensed under a Creative Commons Attribution 4.0 International License.": ("CC-BY-4.0", "attribution"),
    "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)": ("CC-BY-4.0", "attribution"),
    "CC0": ("CC0-1.0", "public-domain"),
    "CC0 1.0 Universal": ("CC0-1.0", "public-domain"),
    "CC0-1.0": ("CC0-1.0", "public-domain"),
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": ("CC0-1.0", "public-domain"),
    "Public Domain": ("LicenseRef-scancode-public-domain", "public-domain"),
    "Public Domain Mark 1.0": ("CC-PDM-1.0", "public-domain"),
    # Openverse slugs, Flickr ids
    "by": ("LicenseRef-CC-BY", "attribution"),
    "by-nc-nd": ("LicenseRef-CC-BY-NC-ND", "non-commercial"),
    "pdm": ("CC-PDM-1.0", "public-domain"),
    "cc0 1.0": ("CC0-1.0", "public-domain"),
    "0": RESERVED,
    "3": ("CC-BY-NC-ND-2.0", "non-commercial"),
    "4": ("CC-BY-2.0", "attribution"),
    "7": UNKNOWN,
    "9": ("CC0-1.0", "public-domain"),
    "No known copyright restrictions": UNKNOWN,
    "United States Government Work": ("LicenseRef-scancode-us-govt-public-domain", "public-domain"),
    # others
    "Apache-2.0": ("Apache-2.0", "attribution"),
    "Apache License, Version 2.0": ("Apache-2.0", "attribution"),
    "Apache 2.0": ("Apache-2.0", "attribution"),
    "https://www.apache.org/licenses/LICENSE-2.0": ("Apache-2.0", "attribution"),
    "https://opensource.org/licenses/MIT": ("MIT", "attribution"),
    "https://spdx.org/licenses/OFL-1.1.html": ("OFL-1.1", "share-alike"),
    '<a rel="license" href="http://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>': ("CC-BY-4.0", "attribution"),
    "CC BY-SA 4.0 DEED": ("CC-BY-SA-4.0", "share-alike"),
    "CC BY 4.0 International Public License": ("CC-BY-4.0", "attribution"),
    "Public domain (CC0)": ("CC0-1.0", "public-domain"),
    "MIT": ("MIT", "attribution"),
    "MIT License": ("MIT", "attribution"),
    "OFL-1.1": ("OFL-1.1", "share-alike"),
    "SIL Open Font License 1.1": ("OFL-1.1", "share-alike"),
    "Unicode-3.0": ("Unicode-3.0", "attribution"),
    "http://www.gnu.org/licenses/gpl-3.0.html": ("GPL-3.0-only", "share-alike"),
    "http://creativecommons.org/licenses/GPL/2.0/": ("GPL-2.0-only", "share-alike"),
    "GPL 2.0": ("GPL-2.0-only", "share-alike"),
    "http://artlibre.org/licence/lal/en/": ("LAL-1.3", "share-alike"),
    "Unsplash License": ("LicenseRef-scancode-unsplash", "proprietary"),
    "All Rights Reserved": RESERVED,
    "© 2019 Jane Doe": RESERVED,
    "Copyright 2011, Some Agency": RESERVED,
    "http://rightsstatements.org/vocab/InC/1.0/": RESERVED,
    "http://rightsstatements.org/vocab/NKC/1.0/": UNKNOWN,
    # several, and what nobody can read
    "MIT OR Apache-2.0": ("MIT OR Apache-2.0", "attribution"),
    "CC BY-SA 3.0; GFDL": ("CC-BY-SA-3.0 AND GFDL-1.1-or-later", "share-alike"),
    "CC BY 4.0 and CC BY-NC 4.0": ("CC-BY-NC-4.0", "non-commercial"),
    "CC BY 4.0, no use for training": UNKNOWN,
    "free": UNKNOWN,
    "Creative Commons": UNKNOWN,
    "other": UNKNOWN,
    "CC BY 9.9.9": UNKNOWN,
    "CC BY 5.0": UNKNOWN,
    "CC BY-ND-SA 4.0": UNKNOWN,
    "12345": UNKNOWN,
}


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
    ("name", "url", "spdx", "class_", "obligations"),
    [
        ("CC BY 4.0", CC + "by/4.0/", "CC-BY-4.0", "attribution", "attribution|notice"),
        ("CC BY", CC + "by/3.0/", "CC-BY-3.0", "attribution", "attribution|notice"),
        ("by-sa", None, "LicenseRef-CC-BY-SA", "share-alike", "attribution|share-alike|notice"),
        (None, CC + "by-nc-nd/2.0/", "CC-BY-NC-ND-2.0", "non-commercial", "attribution|no-derivatives|non-commercial|notice"),
        ("CC0", CC + "by/4.0/", "CC-BY-4.0", "attribution", "attribution|notice"),
        ("CC BY 3.0", CC + "by/4.0/", "CC-BY-3.0 AND CC-BY-4.0", "attribution", "attribution|notice"),
        (
            "CC BY-SA 4.0",
            CC + "by-nc/4.0/",
            "CC-BY-NC-4.0 AND CC-BY-SA-4.0",
            "non-commercial",
            "attribution|share-alike|non-commercial|notice",
        ),
        ("All rights reserved", CC + "by/4.0/", *RESERVED, ""),
        ("my own licence", CC + "by/4.0/", *UNKNOWN, ""),
        ("CC BY 4.0", "https://example.test/license", *UNKNOWN, ""),
        ("Public Domain", "http://web.resource.org/cc/PublicDomain", "CC-PDDC", "public-domain", ""),
        ("n/a", CC + "zero/1.0/", "CC0-1.0", "public-domain", ""),
        (None, None, *UNKNOWN, ""),
        ("", "  ", *UNKNOWN, ""),
    ],
)
def test_strictest_of_two_columns_wins(name, url, spdx, class_, obligations):
    table = pa.table({"license": pa.array([name], pa.string()), "license_url": pa.array([url], pa.string())})
    assert COLUMN_FUNCTIONS["license"].compute(table).to_pylist() == [
        {"license.spdx": spdx, "license.class": class_, "license.obligations": obligations}
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


def test_no_rows_and_no_columns():
    function = COLUMN_FUNCTIONS["license"]
    assert function.compute(pa.table({"license": pa.array([], pa.string()), "license_url": pa.array([], pa.string())})).num_rows == 0
    assert function.compute(pa.table({"caption": ["a", "b"]}))["license.spdx"].to_pylist() == ["NOASSERTION"] * 2
