"""What one licence text means: the licence cell of a source, as a person or a site wrote it, to an SPDX expression and a class.

Every word of the text has to be understood; a text that is understood in part is unknown, and unknown is never free.
Creative Commons URL forms: creativecommons.org/licenses/list. Flickr's ids: flickr.photos.licenses.getInfo. Slugs: Openverse's API.
Categories of all other licences come from ScanCode's LicenseDB, which license-expression carries.
"""

import re
import threading
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import license_expression

NOASSERTION: Final = "NOASSERTION"
# From free to strict. Of several licences the strictest wins.
CLASSES: Final = ("public-domain", "attribution", "share-alike", "no-derivatives", "non-commercial", "proprietary", "unknown")
OBLIGATIONS: Final = ("attribution", "share-alike", "no-derivatives", "non-commercial", "notice")


@dataclass(frozen=True)
class Terms:
    """spdx: an SPDX expression or NOASSERTION. class_: one of CLASSES. obligations: of OBLIGATIONS, in that order."""

    spdx: str
    class_: str
    obligations: tuple[str, ...] = ()


UNKNOWN: Final = Terms(NOASSERTION, "unknown")
RESERVED: Final = Terms("LicenseRef-all-rights-reserved", "proprietary")


@lru_cache(maxsize=1 << 16)
def terms_of(text: str | None) -> Terms | None:
    """The terms that a licence name, expression, id or URL states; UNKNOWN if it is not understood, None if it says nothing at all."""
    if text is None:
        return None
    text = unicodedata.normalize("NFKC", text).strip().strip("\"'").strip()
    if text.lower() in _SILENT:
        return None
    urls = _URL.findall(text)
    rest = re.sub(r"</?a\b[^>]*>", " ", _URL.sub(" ", text), flags=re.I)
    if not urls and _BARE_URL.match(text):
        urls, rest = [text], ""
    found = [_of_url(url) for url in urls]
    if re.search(r"\w", rest) and not (found and rest.lower().strip(" ()<>[]:;,.-") in _NO_MORE_THAN_THE_URL):
        found.append(_of_name(rest))
    return strictest(found) if found else None


def strictest(found: list[Terms]) -> Terms:
    """The terms that satisfy all of `found`: the strictest class, joined with AND where one does not cover the other."""
    kept = list[Terms]()
    for terms in sorted(set(found), key=lambda terms: (-CLASSES.index(terms.class_), -len(terms.obligations), _vague(terms), terms.spdx)):
        if not any(_covers(stricter, terms) for stricter in kept):
            kept.append(terms)
    if len(kept) == 1:
        return kept[0]
    named = sorted(f"({terms.spdx})" if " " in terms.spdx else terms.spdx for terms in kept)
    asked = {duty for terms in kept for duty in terms.obligations}
    return Terms(" AND ".join(named), kept[0].class_, tuple(duty for duty in OBLIGATIONS if duty in asked))


def _covers(stricter: Terms, terms: Terms) -> bool:
    if stricter.class_ in ("unknown", "proprietary"):
        return True  # nothing is allowed, so nothing more can be asked
    if stricter.class_ == terms.class_ and not _vague(terms) and not stricter.spdx.startswith(terms.spdx):
        return False  # two licences of one kind, such as CC-BY-3.0 and CC-BY-4.0: both hold
    return set(terms.obligations) <= set(stricter.obligations)


def _vague(terms: Terms) -> bool:
    """Whether a licence is named without its text: `CC BY` beside `CC BY 4.0`, `public domain` beside CC0 add nothing."""
    versionless = terms.spdx.startswith("LicenseRef-CC-") and not any(letter.isdigit() for letter in terms.spdx)
    return versionless or terms.spdx == "LicenseRef-scancode-public-domain"


# ---- Creative Commons

_CC_CLASSES: Final = (("nc", "non-commercial"), ("nd", "no-derivatives"), ("sa", "share-alike"), ("by", "attribution"))
_CC_VERSIONS: Final = (None, "1.0", "2.0", "2.1", "2.5", "3.0", "4.0")
_CC_DUTIES: Final = {"by": "attribution", "sa": "share-alike", "nd": "no-derivatives", "nc": "non-commercial"}


def creative_commons(elements: set[str], version: str | None, jurisdiction: str | None = None) -> Terms:
    """elements: of by, nc, nd, sa. A port or an unnamed version that SPDX has no id for becomes a LicenseRef."""
    if not elements or {"nd", "sa"} <= elements or version not in _CC_VERSIONS:
        return UNKNOWN
    parts = ["CC", *(element.upper() for element in ("by", "nc", "nd", "sa") if element in elements)]
    name = "-".join([*parts, *([version] if version else []), *([jurisdiction.upper()] if version and jurisdiction else [])])
    duties = {_CC_DUTIES[element] for element in elements} | {"notice"}
    class_ = next(class_ for element, class_ in _CC_CLASSES if element in elements)
    return Terms(name if name in _categories() else f"LicenseRef-{name}", class_, tuple(duty for duty in OBLIGATIONS if duty in duties))


_PUBLIC_DOMAIN: Final = Terms("LicenseRef-scancode-public-domain", "public-domain")
_CC0: Final = Terms("CC0-1.0", "public-domain")
_PDM: Final = Terms("CC-PDM-1.0", "public-domain")
_PDDC: Final = Terms("CC-PDDC", "public-domain")
_US_GOVERNMENT: Final = Terms("LicenseRef-scancode-us-govt-public-domain", "public-domain")
_UNSPLASH: Final = Terms("LicenseRef-scancode-unsplash", "proprietary")
_PIXABAY: Final = Terms("LicenseRef-scancode-pixabay-content", "proprietary")
_PEXELS: Final = Terms("LicenseRef-pexels", "proprietary")

# ---- URLs

_URL: Final = re.compile(r"https?://[^\s<>\"'|;,)\]]+", re.I)
_BARE_URL: Final = re.compile(r"(?://)?(?:www\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:org|com|gov|net|uk|io)/\S*$", re.I)
_NO_MORE_THAN_THE_URL: Final = ("", "see", "license", "licence", "url")
_CC_LICENSE: Final = re.compile(
    r"creativecommons\.org/licenses/(?P<code>(?:by|nc|nd|sa)(?:-(?:by|nc|nd|sa))*)"
    r"(?:/(?P<version>\d\.\d)(?:/(?!deed|legal|rdf)(?P<port>[a-z]{2,8}))?)?(?:/(?:deed|legalcode|rdf)[\w.-]*)?/?$"
)
_URL_RULES: Final = tuple(
    (re.compile(pattern), terms)
    for pattern, terms in (
        (r"creativecommons\.org/(?:publicdomain/zero|licenses/(?:zero|cc0))(?:/1\.0.*)?/?$", _CC0),
        (r"creativecommons\.org/(?:publicdomain/mark|licenses/mark)(?:/1\.0.*)?/?$", _PDM),
        (r"(?:creativecommons\.org/licenses/publicdomain|web\.resource\.org/cc/publicdomain)(?:/.*)?$", _PDDC),
        (r"creativecommons\.org/publicdomain/?$", _PUBLIC_DOMAIN),
        (r"(?:flickr\.com/)?usa\.gov/(?:copyright\.shtml|government-(?:works|copyright))/?$", _US_GOVERNMENT),
        (r"rightsstatements\.org/(?:vocab|page)/inc(?:-.*)?/", RESERVED),
        (r"unsplash\.com/license", _UNSPLASH),
        (r"pexels\.com/(?:photo-)?license", _PEXELS),
        (r"pixabay\.com/(?:service/)?(?:license|terms)", _PIXABAY),
    )
)
# Where well-known licence texts live: URL to SPDX id.
_SPDX_URLS: Final = tuple(
    (re.compile(pattern), spdx)
    for pattern, spdx in (
        (r"(?:opensource\.org|spdx\.org)/licenses?/(?P<id>[\w.+-]+?)(?:\.html|\.php|\.txt|/)?$", r"\g<id>"),
        (r"apache\.org/licenses/license-(?P<v>[12]\.[01])(?:\.txt|\.html)?$", r"Apache-\g<v>"),
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?(?P<id>l?gpl|fdl|agpl)-(?P<v>\d\.\d)(?:[.-].*)?$", r"\g<id>-\g<v>"),
        (r"(?:scripts\.sil\.org/(?:cms/scripts/page\.php\?.*id=)?ofl(?:_web)?|openfontlicense\.org).*$", "OFL-1.1"),
        (r"unicode\.org/(?:license(?:\.txt|s/?)?|copyright\.html)$", "Unicode-3.0"),
        (r"artlibre\.org/licence/lal.*$", "LAL-1.3"),
        (r"nationalarchives\.gov\.uk/doc/open-government-licence/version/(?P<v>\d)/?$", r"OGL-UK-\g<v>.0"),
        (r"opendatacommons\.org/licenses/(?P<id>odbl|by|pddl)(?:/1-0|/1\.0)?/?$", r"odc-\g<id>"),
        (r"creativecommons\.org/licenses/(?P<id>l?gpl)/(?P<v>\d\.\d)/?$", r"\g<id>-\g<v>"),
        (r"(?:unlicense\.org)/?$", "Unlicense"),
    )
)
_OTHER_IDS: Final = {"odc-odbl": "ODbL-1.0", "odc-by": "ODC-By-1.0", "odc-pddl": "PDDL-1.0"} | {
    f"{kind}-{version}": f"{name}-{version}-only"
    for kind, name in (("gpl", "GPL"), ("lgpl", "LGPL"), ("agpl", "AGPL"), ("fdl", "GFDL"))
    for version in ("1.1", "1.2", "1.3", "2.0", "2.1", "3.0")
}


def _of_url(url: str) -> Terms:
    place = re.sub(r"^https?://|^//", "", url.lower()).removeprefix("www.").rstrip(".")
    place = re.sub(r"(?:#.*|\?(?!.*id=ofl).*)$", "", place)
    if match := _CC_LICENSE.match(place):
        return creative_commons(set(match["code"].split("-")), match["version"], match["port"])
    for pattern, terms in _URL_RULES:
        if pattern.match(place):
            return terms
    for pattern, spdx in _SPDX_URLS:
        if match := pattern.match(place):
            name = match.expand(spdx)
            return _of_expression(_OTHER_IDS.get(name, name))
    return UNKNOWN


# ---- names

_SILENT: Final = frozenset({"", "-", "n/a", "na", "none", "null", "nan", "unknown", "noassertion", "undefined", "not specified"})
_FLICKR: Final = {  # flickr.photos.licenses.getInfo; 7 is "No known copyright restrictions", which asserts nothing
    "0": RESERVED,
    **{str(number): ("by-nc-sa", "by-nc", "by-nc-nd", "by", "by-sa", "by-nd")[number - 1] for number in range(1, 7)},
    "7": UNKNOWN,
    "8": _US_GOVERNMENT,
    "9": _CC0,
    "10": _PDM,
}
_NAMES: Final = {
    **dict.fromkeys(("public domain", "publicdomain", "pd", "pd self", "pd old"), _PUBLIC_DOMAIN),
    **dict.fromkeys(("cc0", "cc 0", "cc zero", "zero", "cc0 1 0", "cc 0 1 0", "cc zero 1 0", "public domain cc0"), _CC0),
    **dict.fromkeys(("public domain dedication", "public domain dedication cc0"), _CC0),
    **dict.fromkeys(("pdm", "cc pdm", "pdm 1 0", "cc pdm 1 0", "public domain mark", "public domain mark 1 0"), _PDM),
    "cc pd": _PDDC,
    **dict.fromkeys(("united states government", "us government", "pd usgov"), _US_GOVERNMENT),
    **dict.fromkeys(("all rights reserved", "copyright", "copyrighted", "in copyright", "proprietary", "commercial"), RESERVED),
    **dict.fromkeys(("rights managed", "royalty free", "editorial use only", "fair use"), RESERVED),
    "unsplash": _UNSPLASH,
    "pexels": _PEXELS,
    "pixabay": _PIXABAY,
}
_SPDX_NAMES: Final = {
    **dict.fromkeys(("apache", "apache 2", "apache 2 0", "apache version 2 0", "asl 2 0"), "Apache-2.0"),
    **dict.fromkeys(("ofl", "sil ofl", "ofl 1 1", "sil ofl 1 1", "sil open font", "open font", "sil open font 1 1"), "OFL-1.1"),
    **dict.fromkeys(("gfdl", "gnu free documentation"), "GFDL-1.1-or-later"),
    **dict.fromkeys(("fal", "free art"), "LAL-1.3"),
    **dict.fromkeys(("gplv2", "gpl 2", "gpl 2 0", "gpl v2"), "GPL-2.0-only"),
    **dict.fromkeys(("gplv3", "gpl 3", "gpl 3 0", "gpl v3"), "GPL-3.0-only"),
    **dict.fromkeys(("unicode 3 0", "unicode v3"), "Unicode-3.0"),
    "gpl": "GPL-1.0-or-later",
    **dict.fromkeys(("mit", "expat"), "MIT"),
    "bsd 3 clause": "BSD-3-Clause",
    "bsd 2 clause": "BSD-2-Clause",
    "odbl": "ODbL-1.0",
    "ogl uk 3 0": "OGL-UK-3.0",
}
_WORDS_OF_NO_MEANING: Final = re.compile(
    r"\b(?:this|work|image|photo|file|is|are|was|licensed|released|available|under|the|terms|of|an?|in|international|unported|generic|universal|"
    r"licen[cs]es?|public\s+licen[cs]e|deed|flickr|openverse)\b"
)
_ELEMENTS: Final = {"attribution": "by", "by": "by", "sharealike": "sa", "sa": "sa", "noncommercial": "nc", "nc": "nc", "nd": "nd",
                    "noderivs": "nd", "noderivatives": "nd", "noderivative": "nd"}  # fmt: skip


def _of_name(name: str) -> Terms:
    """Terms of an SPDX expression, of one name, or of several names with commas, slashes, brackets or words between them."""
    for reading in (_of_expression(name.strip(" ()<>[]:;,.")), _of_one_name(name)):
        if reading is not UNKNOWN:
            return reading
    parts = [part for part in re.split(r"\s*(?:[;|&()\n]|,|\s/\s|\bAND\b|\bOR\b|\band\b|\bor\b)\s*", name) if re.search(r"\w", part)]
    return strictest([_of_one_name(part) for part in parts]) if parts else UNKNOWN


def _of_one_name(name: str) -> Terms:
    lowered = name.lower()
    if "©" in name or re.search(r"\(c\)|\bcopyright\b.*\d{4}|all rights reserved", lowered):
        return RESERVED
    lowered = re.sub(r"creative\s*commons", "cc", lowered)
    lowered = re.sub(r"\b(non|no|share)[\s-]*(commercial|derivs|derivatives?|alike)\b(?:\s+works?\b)?", r"\1\2", lowered)
    words = re.sub(r"[\W_]+", " ", _WORDS_OF_NO_MEANING.sub(" ", lowered)).split()
    if words[:1] == ["cc"] and words[1:2] and words[1] in ("cc0", "cc"):
        words = words[1:]
    key = " ".join(words)
    if key in _FLICKR:
        found = _FLICKR[key]
        return creative_commons(set(found.split("-")), "2.0") if isinstance(found, str) else found
    if key in _NAMES or key.removeprefix("cc ") in _NAMES:
        return _NAMES.get(key) or _NAMES[key.removeprefix("cc ")]
    if key in _SPDX_NAMES:
        return _of_expression(_SPDX_NAMES[key])
    if words[:1] == ["cc0"] and set(words[1:]) <= {"1", "0", "public", "domain", "dedication", "cc0"}:
        return _CC0
    return _of_elements(words)


def _of_elements(words: list[str]) -> Terms:
    """`cc by sa 3 0 de`: elements, then a version, then a port, each word understood; else UNKNOWN."""
    match = re.fullmatch(
        r"(?:cc )?(?P<elements>[a-z]+(?: [a-z]+)*?)(?: v?(?P<major>\d)(?: (?P<minor>\d))?(?: (?P<port>[a-z]{2,3}))?)?", " ".join(words)
    )
    if match is None:
        return UNKNOWN
    elements = [_ELEMENTS.get(word) for word in match["elements"].split()]
    if None in elements:
        return UNKNOWN
    version = f"{match['major']}.{match['minor'] or 0}" if match["major"] else None
    return creative_commons({element for element in elements if element}, version, match["port"])


# ---- SPDX

# ScanCode's categories in our classes. What forbids a use and is no Creative Commons licence is proprietary.
_CATEGORY_CLASSES: Final = {
    "Public Domain": ("public-domain", ()),
    "Permissive": ("attribution", ("attribution", "notice")),
    "Copyleft Limited": ("share-alike", ("attribution", "share-alike", "notice")),
    "Copyleft": ("share-alike", ("attribution", "share-alike", "notice")),
}  # fmt: skip
_CC_ID: Final = re.compile(r"CC-((?:BY|NC|ND|SA)(?:-(?:NC|ND|SA))*)-(\d\.\d)(?:-(\w+))?", re.I)


@cache
def _categories() -> dict[str, str]:
    """SPDX id (and ScanCode's LicenseRef-scancode-*) to ScanCode's category."""
    found = dict[str, str]()
    for entry in license_expression.get_license_index():
        for key in (entry.get("spdx_license_key"), *entry.get("other_spdx_license_keys", ())):
            if key:
                found[key] = entry["category"]
    return found


_ONE_AT_A_TIME: Final = threading.Lock()


def _licensing() -> license_expression.Licensing:
    """Ready to parse: it builds its automaton at the first parse, and another thread that parses meanwhile finds half of it and fails."""
    with _ONE_AT_A_TIME:
        return _built_licensing()


@cache
def _built_licensing() -> license_expression.Licensing:
    licensing = license_expression.get_spdx_licensing()
    licensing.parse("MIT")
    return licensing


def _of_expression(text: str) -> Terms:
    """Terms of an SPDX expression whose every symbol is known, spelled as SPDX spells it; else UNKNOWN. OR counts like AND."""
    if not text or len(text) > 500 or text.replace(".", "").isdigit():
        return UNKNOWN
    try:
        parsed = _licensing().parse(text, validate=True, strict=True)
    except (license_expression.ExpressionError, license_expression.ParseError):
        return UNKNOWN
    expression = parsed.render()
    symbols = [symbol.key for symbol in _licensing().license_symbols(parsed, decompose=True) if not symbol.is_exception]
    worst = strictest([_of_symbol(symbol) for symbol in symbols])
    return UNKNOWN if worst is UNKNOWN else Terms(expression, worst.class_, worst.obligations)


def _of_symbol(symbol: str) -> Terms:
    if match := _CC_ID.fullmatch(symbol):
        return creative_commons(set(match[1].lower().split("-")), match[2], match[3])
    category = _categories().get(symbol)
    if category is None or category == "Unstated License":
        return UNKNOWN
    class_, duties = _CATEGORY_CLASSES.get(category, ("proprietary", ()))
    return Terms(symbol, class_, duties)
