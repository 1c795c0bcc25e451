"""What who publishes or trains must do, by duty and by licence class, and where the text of a licence stands.

The duties are those that quality/columns/license_terms.py reads from a licence. None of it is legal advice.
"""

import re
from typing import Final

from quality.columns.license_terms import CLASSES, OBLIGATIONS

NEEDS_ATTRIBUTION: Final = frozenset({"attribution", "notice"})  # the duties that a line of ATTRIBUTION.csv serves

# By duty: (who publishes the pairs, who trains on them). Creative Commons 4.0, section 3(a) and 3(b), and section 4 of Apache-2.0 are the
# models of the first two; what a model owes for what it was trained on, no court has settled.
DUTIES: Final = {
    "attribution": (
        "name title, author, source and licence of each work, as ATTRIBUTION.csv does, and hand that file on with the pairs",
        "keep ATTRIBUTION.csv with the model, or point to it from the model's card",
    ),
    "share-alike": (
        "put adapted pictures under the same licence, or one that it names as compatible",
        "whether a model, or only a picture that shows the work, is adapted material is not settled: the careful way is to share the model "
        "under these terms",
    ),
    "no-derivatives": ("do not share changed pictures; a resized or cropped one may be changed", "ask the owner before a model is shared"),
    "non-commercial": ("no commercial use", "no commercial use of the training, or, to be careful, of the model"),
    "notice": (
        "keep copyright and licence notices, give the licence's text or its address, and say that a picture was changed where it was",
        "as for attribution",
    ),
}  # fmt: skip
assert tuple(DUTIES) == OBLIGATIONS

CLASS_TEXT: Final = {
    "public-domain": "free of duties, as far as the source states it rightly",
    "attribution": "every use is allowed to who names the author",
    "share-alike": "every use is allowed to who names the author and shares alike",
    "no-derivatives": "unchanged copies may be shared by who names the author",
    "non-commercial": "no commercial use",
    "proprietary": "all rights are reserved: the owner's leave is needed, unless a law makes an exception",
    "unknown": "nobody has stated terms that are understood: nothing may be taken as allowed, unless a law makes an exception",
}  # fmt: skip
assert tuple(CLASS_TEXT) == CLASSES

_CC: Final = re.compile(r"(?:LicenseRef-)?CC-((?:BY|NC|ND|SA)(?:-(?:NC|ND|SA))*)-(\d\.\d)(?:-([A-Z]+))?")
_FIXED: Final = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-PDM-1.0": "https://creativecommons.org/publicdomain/mark/1.0/",
}
_PLAIN: Final = re.compile(r"[A-Za-z0-9.+-]+")


def url_of_license(spdx: str) -> str | None:
    """Where a licence's text stands, from its SPDX id: Creative Commons' own address, else SPDX's page; None for what has none."""
    if spdx in _FIXED:
        return _FIXED[spdx]
    if match := _CC.fullmatch(spdx):
        port = f"{match[3].lower()}/" if match[3] else ""
        return f"https://creativecommons.org/licenses/{match[1].lower()}/{match[2]}/{port}"
    if spdx.startswith("LicenseRef-") or spdx in ("NOASSERTION", "NONE") or not _PLAIN.fullmatch(spdx):
        return None
    return f"https://spdx.org/licenses/{spdx}.html"


# The identifiers of Hugging Face's dataset cards that are an SPDX id in lower case (hub docs, "Licenses"); all others are "other" there.
_HUB: Final = frozenset((
    "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0",
    "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "bsd-2-clause", "bsd-3-clause", "ofl-1.1", "unlicense", "isc", "mpl-2.0", "zlib", "wtfpl",
))  # fmt: skip


def hub_license(spdx: str) -> str:
    """The word of Hugging Face's dataset card for an SPDX id."""
    return "unknown" if spdx == "NOASSERTION" else spdx.lower() if spdx.lower() in _HUB else "other"
